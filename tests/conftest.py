"""Hypothesis profiles: few examples by default, always the same ones where CI is set. Fixtures."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.browser import chromium
from support.machine import in_ci
from support.pictures import need_dot
from support.stopping import default_signals

from tinygrad_cnn import OPS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# too_slow measures the machine, not the test: two busy cores would make it fail by chance.
SUPPRESSED = [HealthCheck.too_slow]

settings.register_profile(
    "default", max_examples=15, deadline=None, suppress_health_check=SUPPRESSED
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.register_profile("night", settings.get_profile("default"), max_examples=500)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if in_ci() else "default"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Sweep no garbage while tests are collected, and leave them out of every later sweep."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def ops_of_its_own() -> Iterator[None]:
    """Let a test declare ops, and forget them afterwards."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)


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
