"""Data-parallel training on several ranks, each a process started by ``mpiexec``."""

from __future__ import annotations

import pytest
from support.ranks import assert_passes, checks

MODULE = "distributed.equality"


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, size) for name, sizes in checks(MODULE).items() for size in sizes],
)
def test_ranks(name: str, size: int) -> None:
    assert_passes(MODULE, name, size)
