"""Killed at random moments, the studio loses nothing that it has acknowledged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.studio_kill import HEADER, VICTIMS, Ordeal

MOMENTS = len(VICTIMS)  # each is killed once


@pytest.mark.skipif(sys.platform != "linux", reason="finds the trainers in /proc")
def test_whatever_is_killed_nothing_acknowledged_is_lost_and_the_runs_end_as_if_undisturbed(
    tmp_path: Path,
) -> None:
    ordeal = Ordeal(tmp_path / "data")
    ordeal.undisturbed()
    print(HEADER)
    for moment in ordeal.killed(MOMENTS):
        print(moment)
    print(ordeal.finish())
    assert {moment.victim for moment in ordeal.moments} == set(VICTIMS)
