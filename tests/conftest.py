"""Hypothesis profiles: few examples by default, always the same ones; what is run; fixtures."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.browser import chromium
from support.pictures import need_dot
from support.stopping import default_signals

from tinygrad_cnn import OPS, manual_seed
from tinygrad_cnn.engine import fast

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# too_slow measures the machine, not the test: two busy cores would make it fail by chance.
SUPPRESSED = [HealthCheck.too_slow]

FEW = {"max_examples": 15, "deadline": None, "suppress_health_check": SUPPRESSED}
settings.register_profile("default", **FEW, derandomize=True, database=None)
settings.register_profile("night", **{**FEW, "max_examples": 500}, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-fast", action="store_true", help="compute without the extra fast")


def pytest_configure(config: pytest.Config) -> None:
    """Let ``--no-fast`` compute as if the extra were not installed."""
    if config.getoption("--no-fast"):
        fast.is_available = lambda: False  # type: ignore[assignment]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests of kernels with ``--no-fast``."""
    is_of_kernels = collection_path.name == "fast" and collection_path.parent.name == "engine"
    return True if is_of_kernels and config.getoption("--no-fast") else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Sweep no garbage while tests are collected, and leave them out of every later sweep."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


LONG = (
    "tests/studio/test_studio_browser_way.py",
    "tests/studio/test_studio_kill.py",
    "tests/typing/",
    "tests/studio/",
    "tests/experiments/",
    "tests/cli/",
    "tests/ops/test_every_op.py",
    "tests/check/",
)
"""Where tests take long, the longest first."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process of pytest-xdist begin with long tests.

    Each first gets an equal part of the list. The last two tests of a process are not given to
    another that is idle, so they must not be long.
    """
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    if count == 1:
        return
    starts = {prefix: [item for item in items if item.nodeid.startswith(prefix)] for prefix in LONG}
    long = dict.fromkeys(item for found in starts.values() for item in found)
    short = [item for item in items if item not in long]
    files = list(dict.fromkeys(item.path for item in long))
    parts = [[item for item in long if item.path in files[k::count]] for k in range(count)]
    for part in parts:
        missing = max(0, len(items) // count - len(part))
        part += short[:missing]
        del short[:missing]
    items[:] = [*(item for part in parts for item in part), *short]


@pytest.fixture
def ops_of_its_own() -> Iterator[None]:
    """Let a test declare ops, and forget them afterwards."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)


@pytest.fixture
def seeded() -> None:
    """Let a test make the same models in each run."""
    manual_seed(0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let a test send signals to its own process."""
    with default_signals():
        yield


@pytest.fixture
def dot() -> None:
    """Let a test run only where Graphviz's program is."""
    need_dot()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a headless Chromium, one for each module that tests pages."""
    with chromium() as started:
        yield started
