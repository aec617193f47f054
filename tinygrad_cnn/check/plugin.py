"""The pytest plugin: options only; the package is imported when one of them is used.

In every run, pytest imports the plugins of all installed packages, together with their parent
packages. So this file is installed as a module of its own, beside `tinygrad_cnn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("tinygrad-cnn")
    group.addoption(
        "--check-ops",
        action="store_true",
        help="check every op of tinygrad_cnn, and those that tests and conftest files declare",
    )
    group.addoption(
        "--check-ops-examples", type=int, metavar="N", help="number of calls of each op to try (50)"
    )
    group.addoption(
        "--check-ops-seed", type=int, default=0, metavar="N", help="seed of the calls (0)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the op checks if they are requested."""
    config.addinivalue_line("markers", "check_ops: the check of an op, made by --check-ops")
    if config.getoption("--check-ops"):
        from tinygrad_cnn.check import collection

        collection.refuse_bad_options(config)
        config.pluginmanager.register(collection, "tinygrad_cnn_check_ops")
