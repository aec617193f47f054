"""A failing rank aborts after mpiexec has read its message: what is left in the pipe is lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tinygrad_cnn.distributed import faults

pytestmark = pytest.mark.skipif(os.name != "posix", reason="asks the pipe")


def test_the_message_is_read_before_the_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    read: list[bytes] = []
    with os.fdopen(reader, "rb", buffering=0) as pipe, os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(faults, "sleep", lambda seconds: read.append(pipe.read(6)))
        print("a message", file=stderr, flush=True)
        faults._wait_for_reader()
    assert read == [b"a mess", b"age\n"]


def test_a_reader_that_stays_away_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    now = [0.0]
    with os.fdopen(reader, "rb"), os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(faults, "monotonic", lambda: now[0])
        monkeypatch.setattr(faults, "sleep", lambda seconds: now.append(now.pop() + seconds))
        print("a message", file=stderr, flush=True)
        faults._wait_for_reader()
    assert faults.ANSWER <= now[0] < faults.ANSWER + 1


@pytest.mark.parametrize("closed", [False, True])
def test_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(faults, "sleep", None)
        print("a message", file=stderr, flush=True)
        if closed:
            stderr.close()
        faults._wait_for_reader()
