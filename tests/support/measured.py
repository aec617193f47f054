"""Fixtures for tests that measure: workers of every framework that some interpreter has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support.datasets import save
from tinygrad_cnn.bench.process import Worker
from tinygrad_cnn.data import digits

Start = Callable[[str], Worker]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a worker of a framework, or skip where it is not installed.

    TINYGRAD_CNN_PYTHON_TORCH and so on name other interpreters to look in.
    """
    with ExitStack() as stack:

        def started(framework: str) -> Worker:
            variable = f"TINYGRAD_CNN_PYTHON_{framework.upper()}"
            python = os.environ.get(variable, sys.executable)
            worker = stack.enter_context(Worker(framework, python, threads=1))
            if not worker.ask("hello")["installed"]:
                pytest.skip(f"{framework} is not installed for {python} (see {variable})")
            return worker

        yield started


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """400 digits to train with and 200 to test with: what `data.load` takes."""
    train, test = digits().train.balanced(40), digits().test.balanced(20)
    return save(tmp_path_factory.mktemp("data") / "few.npz", train, test)
