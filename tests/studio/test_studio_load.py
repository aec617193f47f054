"""Many predict at once while a model is trained: everybody gets the right answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.studio_load import PAUSE, measure

CLIENTS = 50
SECONDS = 2.0


def test_many_clients_at_once_are_answered_as_one_alone_and_the_training_goes_on(
    tmp_path: Path,
) -> None:
    for load in measure(tmp_path, CLIENTS, SECONDS, PAUSE, 0.0):
        print(load)
        assert load.errors == []
        assert len(load.latencies) >= CLIENTS
        assert load.sums == pytest.approx([1.0] * len(load.sums), abs=1e-9)
        assert load.right > 0.8
        assert load.batches > 0
