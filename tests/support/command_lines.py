"""Command lines at random, made of the commands and options that the application declares."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import typer
from PIL import Image
from typer.testing import CliRunner

from support.mutations import WORDS
from tinygrad_cnn.cli import app, errors
from tinygrad_cnn.data import DataError, Split, digits
from tinygrad_cnn.data.sources import NAMED
from tinygrad_cnn.train import RunFolder, TrainingRun, TrainingSettings

COMMAND = typer.main.get_command(app)
COMMANDS = COMMAND.commands
STATUSES = {0, 1, 2, 130}
NUMBERS = (
    "0", "1", "2", "3", "-1", "1.5", "0.1", "1e3", "1e400", "1e-400", "nan", "inf", "٣", "0x1",
    "99999999999", "9" * 30, "9" * 400, "9" * 5000, " 1", "1_0", "true", "",
)  # fmt: skip
FILES = (
    "few.npz", "bad.npz", "net.py:Net", "bad.py:Net", "net.py", "bad.py", "run", "broken", "runs",
    "a.png", "pictures", "empty", "nowhere", "none/at/all", "few.npz/below", "/dev/null", "/", ".",
    "..", "settings.toml", "report.json", "page.md", "out.svg", "out.png", "out.xyz", "new", "\0",
)  # fmt: skip
DATA = ("few.npz", "pictures", "digits", "mnist", "cifar10", "shapes", "bad.npz", "run")
MODELS = ("mlp", "net.py:Net", "lenet5", "resnet20", "run", "perceptron")
OPTIONS = (
    "model.hidden=5", "model.hidden=5,6", "model.hidden=[]", "model.hidden=-1", "model.hidden=1e9",
    "model.hidden=9999999999", "model.activation=tanh", "model.activation=3", "model.output=1",
    "model.bias=2", "optimizer.betas=0.9", "optimizer.betas=0,9", "optimizer.eps=nan", "a=1", "=",
    "optimizer.momentum=1", "schedule.gamma=0", "schedule.total_steps=0", "schedule.x=1", "model.=",
    "optimizer.betas=" + "(" * 300, "model.hidden=" + "[" * 5000, "model.hidden=1if 2else 3",
    "model.hidden=\\d", "model.hidden={}", "model.hidden=None", "optimizer.lr=" + "9" * 5000,
)  # fmt: skip
RUNS = ("run", "broken", "runs")
FITTING = {
    "data": DATA, "model": MODELS, "run": RUNS, "resume": RUNS, "images": ("a.png", "few.npz"),
    "ops": ("relu", "conv2d", "relu_"), "wrt": ("fc.0.weight", "1.weight"), "options": OPTIONS,
    "names": ("activations", "all", "own.py"), "workloads": ("mlp-1", "vgg*", "*"),
    "against": ("none", "torch", "torch,jax", ","), "python": ("torch=/bin/false", "torch", "="),
    "parts": ("ops", "steps,memory", ","), "figure": ("out.png",), "page": ("a4", "page.md"),
    "compare": ("report.json", "bad.npz"), "config": ("settings.toml",),
    "size": ("8", "8x8", "0x0", "8x8x8"), "host": ("localhost", "::1", "a b"),
    "public_url": ("https://a.example", "http://a", "https://[", "ftp://a"),
}  # fmt: skip


def make_files(folder: Path) -> None:
    """Write data, models, a run and others that random command lines name."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 8, 8), np.uint8), np.arange(30) % 3
    np.savez(folder / "few.npz", x_train=images[:20], y_train=labels[:20],
             x_test=images[20:], y_test=labels[20:])  # fmt: skip
    (folder / "bad.npz").write_text("no archive")
    (folder / "net.py").write_text(
        "from tinygrad_cnn import nn\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, input_shape, classes, rng):\n"
        "        c, h, w = input_shape\n"
        "        super().__init__(nn.Flatten(), nn.Linear(c * h * w, classes, rng=rng))\n"
    )
    (folder / "bad.py").write_text("import nothing_at_all\n")
    (folder / "settings.toml").write_text('data = "few.npz"\nmodel = "mlp"\nepochs = 3\n')
    (folder / "report.json").write_text('{"rows": []}')
    (folder / "page.md").write_text("no comments")
    (folder / "empty").mkdir()
    (folder / "runs").mkdir()
    for name in ("cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            picture = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8))
            picture.save(folder / "pictures" / name / f"{i}.png")
    Image.fromarray(images[0]).save(folder / "a.png")
    run = TrainingRun.new(str(folder / "few.npz"), "mlp", TrainingSettings(epochs=1))
    for name in ("run", "runs/mlp-few-0", "broken"):
        run.train(RunFolder.create("", folder / name))
    (folder / "broken" / "weights.safetensors").write_bytes(b"\0" * 10)


def command_line(seed: object) -> list[str]:
    """Return the words of a random call: mostly nearly right."""
    rng = random.Random(str(seed))
    if rng.random() < 0.03:
        return [rng.choice((*WORDS, *COMMANDS, "--version", "-h", "--debugg")) for _ in range(2)]
    command = rng.choice(list(COMMANDS))
    words: list[str] = []
    often = rng.choice((0.03, 0.03, 0.15))
    for param in COMMANDS[command].params:
        flags = [flag for flag in (*param.opts, *param.secondary_opts) if flag.startswith("-")]
        if param.name in ("help", "debug"):
            continue
        if not flags:
            count = (
                rng.choice((1, 1, 1, 1, 1, 1, 0, 2)) if param.required else rng.choice((0, 1, 2))
            )
            words += [value(param, rng) for _ in range(count)]
        elif rng.random() < often:
            for _ in range(rng.choice((1, 1, 1, 1, 2))):
                words += given(param, rng.choice(flags), rng)
    if rng.random() < 0.05:
        words.insert(rng.randrange(len(words) + 1), rng.choice(("--", "-x", "--no-such", *WORDS)))
    return [command, *words]


def given(param: Any, flag: str, rng: random.Random) -> list[str]:
    if getattr(param, "is_flag", False):
        return [flag]
    chosen = value(param, rng)
    return [f"{flag}={chosen}"] if rng.random() < 0.3 else [flag, chosen]


def value(param: Any, rng: random.Random) -> str:
    """Return a value of an option or argument: fitting, of another kind, or nonsense."""
    listed = re.findall(r"[\w./-]+", (param.help or "").rpartition(": ")[2])
    fitting = FITTING.get(param.name) or (
        NUMBERS if param.metavar in ("N", "X", "N,...") else (*listed, *FILES)
    )
    if rng.random() < 0.7:
        return str(rng.choice(fitting))
    return str(rng.choice((*listed, *NUMBERS, *FILES, *WORDS)))


@contextmanager
def without_work() -> Iterator[list[Exception]]:
    """Leave out training, serving, measuring and downloading; yield the errors that came up."""
    seen: list[Exception] = []
    described = errors._described

    def describe(error: Exception) -> tuple[int, str]:
        seen.append(error)
        return described(error)

    def no_network(*_: object, **__: object) -> None:
        raise DataError("no network")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    few = digits()
    few = Split(few.train[:20], few.test[:20])
    replaced: dict[str, Any] = {
        "tinygrad_cnn.train.training_run.TrainingRun.train": interrupted,
        "tinygrad_cnn.cli.training.plot_history": lambda *_, **__: None,
        "tinygrad_cnn.studio.server.serve": lambda *_: None,
        "tinygrad_cnn.check.check_op": lambda *_, **__: SimpleNamespace(rows=list),
        "tinygrad_cnn.cli.benchmarking.find_frameworks": lambda *_: None,
        "tinygrad_cnn.cli.benchmarking.measure": lambda *_: None,
        "tinygrad_cnn.cli.experimenting.perform": lambda *_, **__: [],
        "tinygrad_cnn.experiments.page.write_page": lambda *_: [],
        "tinygrad_cnn.drawing.drawing.Drawing.render": lambda *_: None,
        "tinygrad_cnn.cli.errors._described": describe,
        "tinygrad_cnn.data.sources.NAMED": {**NAMED, "digits": lambda: few, "shapes": lambda: few},
        "pooch.retrieve": no_network,
    }
    with ExitStack() as stack:
        for name, replacement in replaced.items():
            stack.enter_context(patch(name, replacement))
        yield seen


def call(words: list[str]) -> tuple[int, str, str]:
    """Call the application; return its status and what it printed."""
    with patch("typer.testing._get_command", lambda _: COMMAND):  # made once, not for each call
        result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
