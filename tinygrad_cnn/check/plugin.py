"""The options of the pytest plugin, and nothing else until one of them is used.

pytest imports the plugins of everything that is installed, for every run: so Hypothesis, and what
collects the checks (`tinygrad_cnn.check.collection`), is loaded only for ``--check-ops``.
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
        "--check-ops-examples", type=int, metavar="N", help="how many calls of each op to try (50)"
    )
    group.addoption(
        "--check-ops-seed", type=int, default=0, metavar="N", help="what calls are drawn from (0)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the rest, if it is asked for."""
    config.addinivalue_line("markers", "check_ops: the check of an op, made by --check-ops")
    if config.getoption("--check-ops"):
        from tinygrad_cnn.check import collection

        config.pluginmanager.register(collection, "tinygrad_cnn_check_ops")
