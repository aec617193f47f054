"""``tinygrad-cnn evaluate`` and ``predict``: a trained model on images."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from support.cli_results import ok, refused
from typer.testing import Result

from tinygrad_cnn.data import as_mnist, digits
from tinygrad_cnn.train import History, load_run

Call = Callable[..., Result]
TEST = digits().test


def test_evaluate_measures_what_training_measured(call: Call, run: Path) -> None:
    history = History.from_csv(run / "history.csv")
    out = ok(call("evaluate", run))
    assert f"{history[-1].validation_accuracy * 100:.2f} % accuracy on 2,000 test images" in out
    assert f"loss {history[-1].validation_loss:.4f}" in out
    assert re.search(r"\d → \d +\d+ times", out)


def test_evaluate_takes_other_data_of_the_same_kind(call: Call, run: Path, few_file: str) -> None:
    assert "accuracy on 50 test images" in ok(call("evaluate", run, "--data", few_file))


def test_evaluate_notices_that_the_test_images_of_a_run_are_others(
    call: Call, few_file: str
) -> None:
    with np.load(few_file) as file:
        arrays = dict(file)
    np.savez("own.npz", **arrays)
    ok(call("train", "--data", "own.npz", "--epochs", "1", "--model", "mlp", "--out", "run"))
    np.savez("own.npz", **{**arrays, "x_test": arrays["x_test"] * 0})
    message = refused(call("evaluate", "run"))
    assert "own: the test images or labels have changed: their SHA-256 is" in message
    assert "to evaluate on the current ones: --data " in message
    assert "accuracy on 50 test images" in ok(call("evaluate", "run", "--data", "own.npz"))


def clear_digits(run: Path, count: int) -> list[int]:
    """Return test images that the run is sure of and right about, one a class."""
    probabilities = load_run(run).probabilities(TEST.images)
    sure = probabilities[np.arange(len(TEST)), TEST.labels]
    return [int(np.argmax(np.where(TEST.labels == k, sure, 0.0))) for k in range(count)]


def test_a_digit_enlarged_and_inverted_is_still_that_digit(call: Call, run: Path) -> None:
    chosen = clear_digits(run, 10)
    for k, index in enumerate(chosen):
        digit = Image.fromarray(TEST.images[index, 0]).resize((180, 180))
        page = Image.new("L", (200, 300), 255)
        page.paste(Image.eval(digit, lambda v: 255 - v), (10, 100))
        page.save(f"{k}.png")
        Image.fromarray(TEST.images[index, 0]).resize((200, 300)).save(f"{k}.jpg")
    out = ok(call("predict", run, *(f"{k}.png" for k in range(10))))
    assert re.findall(r"^(\d)\.png: (\d)", out, re.M) == [(str(k), str(k)) for k in range(10)]
    out = ok(call("predict", run, *(f"{k}.jpg" for k in range(10))))
    same = [a == b for a, b in re.findall(r"^(\d)\.jpg: (\d)", out, re.M)]
    assert sum(same) >= 9  # stretched to 2 : 3, which may make a digit another


def test_predict_prints_every_probability_with_a_bar(call: Call, run: Path) -> None:
    index = clear_digits(run, 4)[3]
    Image.fromarray(TEST.images[index, 0]).save("three.png")
    head, *rows = ok(call("predict", run, "three.png")).splitlines()
    assert re.fullmatch(r"three\.png: 3  \d\d\.\d\d %", head)
    shares = [float(re.search(r"(\d+\.\d\d) %$", row).group(1)) for row in rows]
    assert [row.split()[0] for row in rows] == list("0123456789")
    assert sum(shares) == pytest.approx(100.0, abs=0.2)
    longest = max(rows, key=lambda row: row.count("█"))
    assert longest.split()[0] == "3"


def test_on_a_terminal_predict_shows_what_the_model_sees(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Image.fromarray(TEST.images[0, 0]).save("digit.png")
    assert ok(call("predict", run, "digit.png")).count("▀") == 28 * 14


@pytest.mark.parametrize("ink", ["black on white", "black on nothing"])
def test_predict_is_as_good_on_the_files_of_a_folder_as_evaluate_on_the_folder(
    call: Call, few_file: str, ink: str
) -> None:
    files = []
    with np.load(few_file) as few:
        for part in ("train", "test"):
            pairs = zip(few[f"x_{part}"][:, 0], few[f"y_{part}"], strict=True)
            for i, (digit, label) in enumerate(pairs):
                path = Path("own", part, str(label), f"{i}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(255 - digit)
                if ink == "black on nothing":
                    picture = Image.merge("LA", (Image.new("L", (28, 28)), Image.fromarray(digit)))
                picture.save(path)
                files.append(path)
    ok(call("train", "--data", "own", "--epochs", 8, "--model", "mlp", "--out", "run"))
    tested = [path for path in files if path.parts[1] == "test"]
    answers = re.findall(r"^(.*\.png): (\d) ", ok(call("predict", "run", *tested)), re.M)
    assert [name for name, _ in answers] == [str(path) for path in tested]
    right = sum(Path(name).parent.name == taken for name, taken in answers)
    assert f"accuracy on 50 test images, {50 - right} wrong" in ok(call("evaluate", "run"))
    assert right > 25


def test_a_folder_of_images_of_many_sizes_is_trained_on(call: Call, tmp_path: Path) -> None:
    for label, color in enumerate(("red", "blue")):
        (tmp_path / "pets" / color).mkdir(parents=True)
        for i in range(10):
            picture = Image.new("RGB", (12 + i, 9 + label), color)
            picture.save(tmp_path / "pets" / color / f"{i}.png")
    train = ["train", "--data", str(tmp_path / "pets"), "--model", "mlp", "--epochs", "1"]
    assert "--size HxW on the command line" in refused(call(*train))
    options = ["--size", "8x10", "--grayscale", "--val-split", "0.25", "--out", "out"]
    options += ["--metrics", "top5,f1"]
    text = ok(call(*train, *options))
    assert "12 training images, 4 validation images, 4 test images, 1 × 8 × 10" in text
    assert "val loss   val accuracy" in text
    assert re.search(r"\ntop5 1\.0000  f1 [01]\.", text)
    settings = json.loads(Path("out", "settings.json").read_text(encoding="utf-8"))
    assert (settings["data"]["size"], settings["data"]["grayscale"]) == ([8, 10], True)
    measured = ok(call("evaluate", "out"))
    assert measured.strip() in text
    assert "accuracy on 4 test images" in measured
    ok(call("predict", "out", str(tmp_path / "pets" / "red" / "0.png")))
    message = refused(call("train", "--resume", "out", "--size", "8", "--color"))
    assert message.endswith("leave out --size, --grayscale\n")
    assert "expected 32x32; only" in refused(call("train", "--size", "32"))


def test_predict_prepares_as_mnist_when_asked(call: Call, few_file: str) -> None:
    ok(call("train", "--data", few_file, "--epochs", 8, "--model", "mlp", "--out", "run"))
    picture = Image.fromarray(255 - TEST.images[0, 0]).resize((90, 90))
    picture.save("a.png")
    Image.fromarray(as_mnist(np.asarray(picture) / 255, "a")).save("b.png")
    asked = ok(call("predict", "run", "a.png", "--as-mnist"))
    assert asked == ok(call("predict", "run", "b.png")).replace("b.png", "a.png")
    assert asked != ok(call("predict", "run", "a.png"))


def test_a_model_that_gives_nan_is_said_to(call: Call, run: Path) -> None:
    shutil.copytree(run, "copy")
    arrays = {name: np.full_like(array, np.nan) for name, array in load_file(
        "copy/weights.safetensors").items()}  # fmt: skip
    save_file(arrays, "copy/weights.safetensors")
    Image.fromarray(TEST.images[0, 0]).save("digit.png")
    for arguments, what in (
        (("evaluate", "copy"), "images of digits"),
        (("predict", "copy", "digit.png"), "digit.png"),
    ):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"error: copy: the model returns NaN for {what}\n"


def test_a_warning_is_one_line(call: Call) -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8), dtype=np.uint8)
    np.savez("one.npz", images=images, labels=np.arange(20) % 2 + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = call("train", "--data", "one.npz", "--epochs", 1, "--model", "mlp")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: one.npz: no training image has the label 0: 1 of the")
    assert result.stderr.count("\n") == 1
