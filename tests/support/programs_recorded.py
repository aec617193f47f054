"""Run the programs in `tests/compat/programs` and record what they compute with PyTorch.

Each program is written for PyTorch and has a function `run(given)`. `given` supplies random
arrays and weights that depend on names alone, and keeps what the program computes. Run this file
where PyTorch is installed to write `programs.npz`; it then imports nothing of the package.

    python tests/support/programs_recorded.py                    write programs.npz
    python tests/support/programs_recorded.py lenet vgg          write these programs again
    python tests/support/programs_recorded.py --whole FILE       write whole arrays to FILE
    python -m support.programs_recorded --table                  compare, print a table
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
import types
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "compat" / "programs"
FILE = FOLDER.with_suffix(".npz")
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "conftest")
COMPAT = "tinygrad_cnn.compat.torch"
IMPORT = re.compile(r"^( *)(import|from) torch((?:\.\w+)*)\b(.*)$", re.MULTILINE)
STEPS = 10
TOLERANCE = 1e-10
FLOOR = 1e-3
"""Smaller norms count as this: a gradient that is zero in exact arithmetic is rounding noise."""

Array = NDArray[np.float64]


class Given:
    """What a program is given, and what it records.

    Parameters
    ----------
    torch
        PyTorch, or the package that stands in for it.
    name
        The program: seeds the random arrays.
    """

    def __init__(self, torch: Any, name: str) -> None:
        self.torch, self.name = torch, name
        self.rng = generator(name)
        self.models: dict[str, Any] = {}
        self.kept: dict[str, Array] = {}

    def randn(self, *shape: int) -> Any:
        """Return a tensor of normal numbers."""
        return self.torch.tensor(self.rng.normal(size=shape))

    def rand(self, *shape: int) -> Any:
        """Return a tensor of numbers between 0 and 1."""
        return self.torch.tensor(self.rng.uniform(size=shape))

    def randint(self, low: int, high: int, shape: tuple[int, ...]) -> Any:
        """Return a tensor of integers, `low` <= n < `high`."""
        return self.torch.tensor(self.rng.integers(low, high, size=shape))

    def weights(self, model: Any, name: str = "model") -> Any:
        """Set all parameters by name and shape; at the end, record them and their gradients."""
        self.models[name] = model
        with self.torch.no_grad():
            for key, parameter in model.named_parameters():
                shape = tuple(parameter.shape)
                value = generator(f"{name}.{key}").normal(size=shape)
                if len(shape) > 1:
                    value *= (2.0 / np.prod(shape[1:])) ** 0.5
                else:
                    value = value * 0.1 + key.endswith("weight")
                parameter.copy_(self.torch.tensor(value))
        return model

    def record(self, name: str, value: Any) -> None:
        """Keep a tensor, a number, or a list of them."""
        assert name not in self.kept, f"{name} is recorded twice"
        self.kept[name] = array(value)

    def gradients(self, name: str, model: Any) -> None:
        """Keep the gradients of all parameters that have one."""
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                self.record(f"{name}/{key}", parameter.grad)

    def train(self, model: Any, x: Any, target: Any, lr: float = 0.02) -> None:
        """Classify `x`: record outputs, gradients, ten steps, and the evaluated model."""
        torch = self.torch
        model = self.weights(model)
        model.train()
        x.requires_grad_()
        criterion = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
        losses = []
        for step in range(STEPS):
            optimizer.zero_grad()
            output = model(x)
            loss = criterion(output, target)
            loss.backward()
            if step == 0:
                self.record("output", output)
                self.record("input gradient", x.grad)
                self.gradients("first gradient", model)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        self.record("losses", losses)
        model.eval()
        with torch.no_grad():
            self.record("evaluated", model(x))

    def end(self) -> dict[str, Array]:
        """Return all that was recorded, with the state and last gradients of the models."""
        for name, model in self.models.items():
            for key, value in model.state_dict().items():
                self.record(f"{name}/{key}", value)
            self.gradients(f"{name} gradient", model)
        return self.kept


def generator(name: str) -> np.random.Generator:
    """Return a generator that a name seeds."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def array(value: Any) -> Array:
    """Return what a program computed as an array."""
    if isinstance(value, (list, tuple)):
        return np.array([array(part) for part in value])
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    return np.array(value, dtype=np.float64)


def source(name: str) -> str:
    """Return the text of a program."""
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def ported(text: str) -> str:
    """Return the text of a program with its imports of PyTorch replaced by ours."""

    def line(match: re.Match[str]) -> str:
        indent, word, part, rest = match.groups()
        if word == "import" and not rest.startswith(" as "):
            return f"{indent}import {COMPAT} as torch{rest}"  # has its parts as attributes
        return f"{indent}{word} {COMPAT}{part}{rest}"

    return IMPORT.sub(line, text)


def run(name: str, text: str, torch: Any) -> dict[str, Array]:
    """Run a program, and return what it recorded."""
    return run_with(Given(torch, name), text).end()


def run_with(given: Given, text: str) -> Given:
    """Run a program with what it is given, and return this."""
    module = types.ModuleType(given.name)
    exec(compile(text, str(FOLDER / f"{given.name}.py"), "exec"), module.__dict__)
    module.__dict__["run"](given)
    return given


def summary(name: str, value: Array) -> list[float]:
    """Return the norm of an array and its product with two random ones."""
    flat = value.ravel()
    first, second = generator(name).normal(size=(2, flat.size)) @ flat
    return [float(np.linalg.norm(flat)), float(first), float(second)]


def difference(name: str, found: Array, expected: list[float]) -> float:
    """Return how far an array is from a recorded one, relative to the norm of that."""
    gap = np.subtract(summary(name, found), expected)
    return float(np.max(np.abs(gap))) / max(expected[0], FLOOR)


def recorded() -> dict[str, dict[str, tuple[list[int], list[float]]]]:
    """Return shape and summary of each array of each program."""
    with np.load(FILE) as kept:
        names = json.loads(str(kept["names"]))
        return {
            program: {
                name: (shape, numbers)
                for (name, shape), numbers in zip(
                    arrays.items(), kept[program].tolist(), strict=True
                )
            }
            for program, arrays in names.items()
        }


def record(programs: Iterable[str], whole: Path | None) -> None:
    """Run programs with PyTorch, and write what they compute."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    chosen = list(programs) or PROGRAMS
    kept: dict[str, Any] = {}
    names: dict[str, dict[str, list[int]]] = {}
    if whole is None and FILE.exists():
        with np.load(FILE) as earlier:
            names = json.loads(str(earlier["names"]))
            names = {name: names[name] for name in names if name in PROGRAMS}
            kept = {name: earlier[name] for name in names}
    for program in chosen:
        start = time.perf_counter()
        arrays = run(program, source(program), torch)
        seconds = time.perf_counter() - start
        print(f"{program:24} {len(arrays):4} arrays, {seconds:.2f} s", flush=True)
        for name, value in arrays.items():
            assert np.isfinite(value).all(), f"{program}: {name} is not finite"
            if whole is not None:
                kept[f"{program}:{name}"] = value
        if whole is None:
            names[program] = {name: list(value.shape) for name, value in arrays.items()}
            kept[program] = np.array([summary(name, value) for name, value in arrays.items()])
    np.savez_compressed(whole or FILE, names=json.dumps(names), **kept)


def table() -> None:
    """Print a table of the programs: the arrays compared and their distance from PyTorch's."""
    import importlib

    import tinygrad_cnn as tg

    torch = importlib.import_module(COMPAT)
    print("| program | what it is | runs | arrays | numbers | largest difference | same |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    totals = np.zeros(4, int)
    for program, expected in recorded().items():
        text = source(program)
        what = text.partition('"""')[2].partition('"""')[0].splitlines()[0].rstrip(".")
        numbers = sum(math.prod(shape) for shape, _ in expected.values())
        worst = math.inf
        try:
            with tg.default_dtype("f8"):
                found = run(program, ported(text), torch)
            if list(found) == list(expected):
                worst = max(difference(name, found[name], expected[name][1]) for name in expected)
            runs = "yes"
        except Exception as error:
            runs = f"{type(error).__name__}: {error}".replace("|", "/").partition("\n")[0]
        same = worst <= TOLERANCE
        totals += (runs == "yes", len(expected), numbers, same)
        shown = f"{worst:.0e} | {'yes' if same else 'no'}"
        print(f"| {program} | {what} | {runs} | {len(expected)} | {numbers} | {shown} |")
    ran, arrays, numbers, same = totals
    print(f"| {len(PROGRAMS)} programs | | {ran} | {arrays} | {numbers} | | {same} |")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--table"]:
        table()
    elif arguments[:1] == ["--whole"]:
        record(arguments[2:], Path(arguments[1]))
    else:
        record(arguments, None)
