"""Fixtures for tests that measure: workers of every framework that some interpreter has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from support.datasets import save
from tinygrad_cnn.bench.process import Worker
from tinygrad_cnn.data import digits

Start = Callable[[str], Worker]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Return the worker of a framework, one for a module, or skip where it is not installed.

    TINYGRAD_CNN_PYTHON_TORCH and so on name other interpreters to look in.
    """
    with ExitStack() as stack:

        @cache
        def started(framework: str) -> Worker | None:
            python = os.environ.get(variable(framework), sys.executable)
            worker = stack.enter_context(Worker(framework, python, threads=1))
            return worker if worker.ask("hello")["installed"] else None

        def variable(framework: str) -> str:
            package, *_ = framework.split(".")
            return f"TINYGRAD_CNN_PYTHON_{package.upper()}"

        def start(framework: str) -> Worker:
            worker = started(framework)
            if worker is None:
                pytest.skip(f"{framework} is not installed (see {variable(framework)})")
            return worker

        yield start


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """400 digits to train with and 200 to test with: what `data.load` takes."""
    train, test = digits().train.balanced(40), digits().test.balanced(20)
    return save(tmp_path_factory.mktemp("data") / "few.npz", train, test)
