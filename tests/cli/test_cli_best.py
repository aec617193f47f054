"""Training with a validation set: what ends it, and which weights are used and reported."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tinygrad_cnn.cli import app
from tinygrad_cnn.data import DataLoader, load
from tinygrad_cnn.train import History, RunFolder, evaluate, load_run

Call = Callable[..., Result]
OPTIONS = ["--model", "mlp", "--lr", "0.05", "--schedule", "constant", "--batch-size", "16"]


@pytest.fixture(scope="module")
def trained(few_file: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that ends early, and what it printed."""
    folder = tmp_path_factory.mktemp("early") / "run"
    arguments = ["train", "--data", few_file, *OPTIONS, "--epochs", "40", "--out", str(folder)]
    arguments += ["--val-split", "0.3", "--patience", "2", "--monitor", "f1"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def accuracy(folder: Path, weights: str, source: str) -> str:
    """Return the accuracy on the test images, measured here."""
    model, settings = load_run(folder, weights)
    loader = DataLoader(load(source).test, 50, transform=settings.data.normalize())
    return f"{evaluate(model, loader).accuracy * 100:.2f} % accuracy on 50 test images"


def test_a_run_says_why_it_ended_and_reports_the_best_weights(
    trained: tuple[Path, str], few_file: str
) -> None:
    folder, printed = trained
    history = History.from_csv(RunFolder(folder).history)
    values = history.column("validation_f1")
    best = 1 + values.index(max(values))
    assert len(history) == best + 2 < 40
    assert (
        f"Stopped after epoch {best + 2}: validation f1 has not improved for 2 epochs." in printed
    )
    head, result = printed.split(f"Best weights: epoch {best}, validation f1 {max(values):.4f}.")
    assert accuracy(folder, "best", few_file) in result
    assert "accuracy on" not in head
    assert re.search(
        r"^  best\.safetensors +the weights of the best epoch by the validation set$", result, re.M
    )
    assert re.search(r"^  weights\.safetensors +the weights of the last epoch$", result, re.M)


@pytest.mark.parametrize(("options", "weights"), [([], "best"), (["--weights", "last"], "last")])
def test_evaluate_and_predict_use_the_best_weights_or_the_last(
    call: Call, trained: tuple[Path, str], few_file: str, options: list[str], weights: str
) -> None:
    folder = trained[0]
    evaluated = call("evaluate", folder, *options)
    assert accuracy(folder, weights, few_file) in evaluated.stdout
    image = load(few_file).test.images[0]
    Image.fromarray(image[0]).save("digit.png")
    run = load_run(folder, weights)
    shares = run.probabilities(image[None])[0] * 100
    printed = call("predict", folder, "digit.png", "--as-mnist", *options).stdout
    found = [float(share) for share in re.findall(r"(\d+\.\d\d) %$", printed, re.M)]
    assert len(found) == 11
    first = call("predict", folder, "digit.png", *options).stdout
    assert first.splitlines()[0].startswith("digit.png: ")
    assert shares.argmax() in range(10)


def test_a_complete_run_that_is_resumed_trains_nothing_and_says_the_same(
    call: Call, trained: tuple[Path, str]
) -> None:
    folder, printed = trained
    result = call("train", "--resume", folder)
    assert result.exit_code == 0, result.output
    before = RunFolder(folder).history.read_bytes()
    for line in ("Stopped after", "Best weights: "):
        (said,) = re.findall(f"^{line}.*$", printed, re.M)
        assert said in result.stdout
    assert RunFolder(folder).history.read_bytes() == before


@pytest.mark.parametrize("option", [("--patience", "3"), ("--monitor", "accuracy")])
def test_without_a_validation_set_the_way_out_is_named(
    call: Call, few_file: str, option: tuple[str, str]
) -> None:
    result = call("train", "--data", few_file, *option)
    assert result.exit_code == 2
    assert "there is no validation set" in result.stderr
    assert "--val-split 0.1" in result.stderr
    assert not Path("runs").exists()


def test_a_run_without_a_validation_set_cannot_get_a_patience(call: Call, run: Path) -> None:
    for further in ([], ["--print-config"]):
        result = call("train", "--resume", run, "--patience", "2", *further)
        assert result.exit_code == 2
        assert result.stderr == (
            "error: resume: patience is 2, but the run has no validation set, and cannot get one: "
            "leave it out, or train a new run with val_split=0.1 (--val-split 0.1)\n"
        )
    result = call("train", "--resume", run, "--lr", "1")
    assert "and takes --quiet and --distributed; leave out --lr\n" in result.stderr


def test_the_list_of_files_has_all_of_the_run(call: Call, few_file: str) -> None:
    pytest.importorskip("tensorboardX")
    options = ["--data", few_file, "--model", "mlp", "--epochs", "1", "--out", "r"]
    shown = call("train", *options, "--log", "tensorboard", "--log-every", "1").output
    lines = shown.partition("In r:\n")[2].partition("\n\n")[0].splitlines()
    meanings = {name: rest for name, _, rest in (line.strip().partition("  ") for line in lines)}
    hidden = {path.name for path in Path("r").iterdir() if not path.name.startswith(".")}
    assert set(meanings) <= hidden
    assert {name for name in hidden if "tfevents" in name} | {"batches"} <= set(meanings)
    assert all(meanings.values()), shown
