"""Wrong calls of the command line: one line on stderr, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli_results import NET, refused
from typer.testing import Result

from tinygrad_cnn.data import digits

Call = Callable[..., Result]
TEST = digits().test


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("trian", "No such command 'trian'"),
        ("train --epoch 3", "No such option: --epoch"),
        ("train --epochs three", "'--epochs': 'three', expected an integer >= 1"),
        ("train --epochs 0", "'--epochs': '0', expected an integer >= 1"),
        ("train --batch-size some", "'some', expected an integer >= 0, or all"),
        ("train --batch-size -2", "'-2', expected an integer >= 0, or all"),
        ("train --optimizer adamm", "'adamm', expected one of sgd, momentum, nesterov"),
        ("train --lr 0", "'--lr': '0', expected a finite number > 0"),
        ("train --lr nan", "'--lr': 'nan', expected a finite number > 0"),
        ("train --schedule x", "'x', expected one of constant, step, cosine"),
        ("train --augment x", "'x', expected one of none, shift, rotate"),
        ("train --option lr=1", "'lr=1', expected PART.NAME=VALUE with a PART of model, opt"),
        (
            "train --option optimizer.beta=1",
            "adamw has no option 'beta'; it has betas=(0.9, 0.999)",
        ),
        ("train --option optimizer.betas=0,1", "AdamW: betas[1] is 1, expected a finite number"),
        ("train --option optimizer.lr=1", "adamw has no option 'lr'; it has betas"),
        ("train --option schedule.gamma=1", "onecycle has no option 'gamma'; it has total_steps,"),
        ("train --option model.depth=1", "lenet5 has no option 'depth'; it has activation=relu"),
        ("train --resume RUN --option model.a=1", "leave out --option"),
        ("train --seed -1", "'--seed': '-1', expected an integer >= 0"),
        ("train --threads 0", "'--threads': '0', expected an integer >= 1"),
        (
            "train --data nowhere",
            "'nowhere' is not a known name or an existing path; expected 'digits'",
        ),
        ("train --data bad.npz", "bad.npz: cannot be read as a .npz archive"),
        ("train --model resnet", "model is 'resnet', expected mlp, lenet5, vgg, resnet20, "),
        ("train --model net.py:Net", "net.py: cannot be read: No such file or directory"),
        ("train --model empty.py:Net", "empty.py: has no class 'Net'; it has none"),
        ("train --out full", "full: is not empty; expected a new folder, or --resume full"),
        ("train --out empty.py", "empty.py: is a file; expected a new folder"),
        ("train --resume nowhere", "nowhere: there is no such folder; expected a run folder"),
        ("train --resume RUN --lr 1 --seed 2", "leave out --lr, --seed"),
        ("evaluate", "Missing argument 'RUN'"),
        ("evaluate nowhere", "nowhere: there is no such folder; expected a run folder"),
        ("draw runs/nowhere", "runs/nowhere: there is no such folder; expected a run folder"),
        ("derive a/b --wrt w", "a/b: there is no such folder; expected a run folder"),
        ("evaluate full", "full: is not a run folder: it has no settings.json"),
        ("evaluate RUN --data small.npz", "has images of shape (1, 8, 8); the model was trained"),
        ("evaluate RUN --data two.npz", "has the classes 0, 1; the model was trained with 0, 1, 2"),
        ("predict RUN", "Missing argument"),
        ("predict RUN nowhere.png", "nowhere.png: there is no such file"),
        ("predict RUN bad.npz", "bad.npz: cannot be read as an image"),
        ("predict RUN good.png blank.png", "blank.png: is blank"),
    ],
)
def test_bad_calls_are_refused_in_one_line_and_nothing_is_written(
    call: Call, run: Path, arguments: str, says: str
) -> None:
    Path("bad.npz").write_text("no archive")
    Path("empty.py").touch()
    Path("full").mkdir()
    Path("full/file").touch()
    labels = np.arange(10) % 2
    np.savez("small.npz", images=np.zeros((10, 8, 8), np.uint8), labels=labels)
    np.savez("two.npz", images=np.zeros((10, 28, 28), np.uint8), labels=labels)
    Image.new("L", (30, 30)).save("blank.png")
    Image.fromarray(TEST.images[0, 0]).save("good.png")
    before = sorted(Path().rglob("*"))
    words = [str(run) if word == "RUN" else word for word in arguments.split()]
    result = call(*words)
    assert says.lower() in refused(result).lower()
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before


def test_debug_shows_the_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("evaluate", "nowhere", "--debug")
    assert type(result.exception).__name__ == "RunError"
    monkeypatch.setenv("TINYGRAD_CNN_DEBUG", "1")
    result = call("evaluate", "nowhere")
    assert type(result.exception).__name__ == "RunError"


def test_an_error_in_ones_own_model_is_told_with_its_kind(call: Call, few_file: str) -> None:
    Path("net.py").write_text(NET.replace("relu(", "[][0]("))
    result = call("train", "--data", few_file, "--model", "net.py:Net")
    assert result.exit_code == 1
    assert result.stderr == "error: IndexError: list index out of range (--debug shows where)\n"
