"""Event streams over HTTP: what a page hears, over lost connections and killed servers."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from support.studio import BEARER, running_studio, studio_client, until
from support.studio_training import opened, points_of, run_of

PATIENCE = 30.0


def parsed(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yield the events of a stream, by the rules of the HTML standard."""
    event: dict[str, str] = {}
    for line in lines:
        if line == "":
            if event:
                yield event
            event = {}
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            event[field] = value.removeprefix(" ")


class Stream:
    """An event stream, read in a thread until it ends or is left."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.events: list[dict[str, str]] = []
        self.leaving = False
        self.headers: dict[str, str] = {}
        self.thread = threading.Thread(target=self._read, args=(url, headers or {}))
        self.thread.start()

    def _read(self, url: str, headers: dict[str, str]) -> None:
        headers = {**BEARER, **headers}
        with httpx.stream("GET", url, headers=headers, timeout=PATIENCE) as response:
            self.headers = dict(response.headers)
            for event in parsed(response.iter_lines()):
                self.events.append(event)
                if self.leaving:
                    return

    @property
    def ids(self) -> list[int]:
        return [int(event["id"]) for event in self.events if "data" in event and "id" in event]

    def data(self, *kinds: str) -> list[dict[str, Any]]:
        return [json.loads(event["data"]) for event in self.events if event.get("event") in kinds]

    def kinds(self) -> set[str]:
        return {event["event"] for event in self.events if "event" in event}


def test_a_stream_goes_on_after_the_last_id_though_the_server_was_killed(tmp_path: Path) -> None:
    """A page follows a training to its end, over a lost connection and a killed server."""
    with running_studio(tmp_path) as running:
        store, _ = opened(running.data_dir)
        asked = {"model": "mlp", "hidden": [4], "batch_size": 100, "epochs": 15, "augment": "none"}
        answer = httpx.post(f"{running.url}/api/runs", json=asked, headers=BEARER)
        run = answer.raise_for_status().json()
        first = Stream(f"{running.url}/api/events?after=0")
        until(lambda: {"epoch", "snapshot"} <= first.kinds())
        first.leaving = True
        first.thread.join(PATIENCE)
        assert first.headers["content-type"].startswith("text/event-stream")
        assert first.events[0]["retry"]
        assert "data" not in first.events[0]
        heard = first.ids
        until(lambda: run_of(store, run["id"]).epoch > 2)
        running.kill()
    with running_studio(tmp_path) as running:
        # The header holds the last id that was heard; the address is still that of the beginning.
        second = Stream(
            f"{running.url}/api/events?after=0", headers={"Last-Event-ID": str(heard[-1])}
        )
        until(lambda: run_of(store, run["id"]).state == "done")
        until(lambda: any(told["run"]["state"] == "done" for told in second.data("run")))
        running.process.send_signal(signal.SIGTERM)  # the stream ends with the server
        assert running.process.wait(PATIENCE) is not None
        second.leaving = True
        second.thread.join(PATIENCE)
    heard += second.ids
    assert heard == sorted(set(heard))
    assert "restarted" in second.kinds()
    told = first.data("point", "epoch") + second.data("point", "epoch")
    steps = {point["step"] for point in told if point["run_id"] == run["id"]}
    assert {p.step for p in points_of(store, run["id"]) if p.kind != "restarted"} <= steps
    store.close()


@pytest.mark.parametrize("id", ["x", "-1", str(2**64), "1.5"])
def test_an_id_that_is_none_is_refused(tmp_path: Path, id: str) -> None:
    with studio_client(tmp_path) as client:
        assert client.get("/api/events", params={"after": id}).status_code == 422
        refused = client.get("/api/events", headers={"Last-Event-ID": id})
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"
