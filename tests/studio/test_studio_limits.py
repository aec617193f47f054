"""How much is answered: rates, sizes, and costly work at once."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from support.studio import BEARER, PATIENCE, studio_client, until
from uvicorn.server import ServerState

from tinygrad_cnn.studio import model_files
from tinygrad_cnn.studio.connections import Connection
from tinygrad_cnn.studio.limits import MOST_CLIENTS, Bodies, Buckets, RateLimit
from tinygrad_cnn.studio.pictures import png
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.security import HEADERS
from tinygrad_cnn.studio.services import Budget, Gate
from tinygrad_cnn.studio.settings import JSON_BYTES, PICTURE_BYTES, WEIGHTS_BYTES, Limits

HERE = "http://127.0.0.1:8017"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@given(
    st.floats(0.5, 50.0),
    st.integers(1, 20),
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60),
)
def test_no_window_sees_more_than_a_full_bucket_and_what_came_back(
    rate: float, size: int, pauses: list[float]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, size, clock)
    taken = []
    for pause in pauses:
        clock.time += pause
        if buckets.take("a") == 0.0:
            taken.append(clock.time)
    for i, begin in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= size + rate * (taken[j] - begin) + 1e-6


@given(st.floats(0.5, 50.0), st.integers(1, 20), st.integers(1, 40))
def test_who_waits_as_told_is_answered(rate: float, size: int, more: int) -> None:
    clock = Clock()
    buckets = Buckets(rate, size, clock)
    for _ in range(size):
        assert buckets.take("a") == 0.0
    for _ in range(more):
        wait = buckets.take("a")
        assert wait > 0.0
        clock.time += wait + 1e-6
        assert buckets.take("a") == 0.0


def test_one_client_takes_nothing_from_another() -> None:
    buckets = Buckets(1.0, 1.0, Clock())
    assert [buckets.take(name) for name in "aab"] == [0.0, 1.0, 0.0]


def test_clients_without_number_are_not_all_remembered() -> None:
    buckets = Buckets(1.0, 1.0, Clock())
    for i in range(3 * MOST_CLIENTS):
        buckets.take(str(i))
    assert len(buckets._left) == MOST_CLIENTS


def test_too_many_requests_are_told_when_to_come_back() -> None:
    limits = Limits(requests_per_second=0.1, predictions_per_second=0.1, burst=20.0)
    client = TestClient(RateLimit(PlainTextResponse("in"), limits), base_url=HERE)
    for path in ("/api/models", "/api/explain/cell"):  # which are counted apart
        assert [client.get(path).status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/")
    assert refused.json()["type"] == "/docs#too-many"
    assert 1 <= int(refused.headers["Retry-After"]) <= 10


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="limits: heavy is 0, expected an integer >= 1"):
        Limits(heavy=0)
    with pytest.raises(ValueError, match=r"limits: burst is 0\.0, expected a finite number > 0"):
        Limits(burst=0.0)


# --- costly work ---------------------------------------------------------------------------------


def test_a_gate_lets_no_more_in_than_it_should() -> None:
    gate = Gate(running=2, waiting=20, seconds=60.0)
    entered: list[int] = []
    leave = threading.Event()

    def work(number: int) -> None:
        with gate:
            entered.append(number)
            leave.wait(60)

    with ThreadPoolExecutor(20) as pool:
        try:
            done = [pool.submit(work, number) for number in range(20)]
            until(lambda: len(entered) + (20 - gate._places) == 20)  # inside, or waiting
            assert len(entered) == 2
        finally:
            leave.set()
        for each in done:
            each.result()
    assert sorted(entered) == list(range(20))


def test_who_finds_no_place_to_wait_is_refused_and_who_waits_gets_in() -> None:
    gate = Gate(running=1, waiting=1, seconds=3600.0)
    got_in = threading.Event()

    def wait() -> None:
        with gate:
            got_in.set()

    thread = threading.Thread(target=wait)
    with gate:
        thread.start()
        until(lambda: gate._places == 0)
        with pytest.raises(Problem) as refused, gate:
            pass
        assert not got_in.is_set()
    thread.join()
    assert got_in.is_set()
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"] == "1"


def test_waiting_ends_and_an_error_inside_leaves_the_gate_open() -> None:
    gate = Gate(running=1, waiting=1, seconds=0.01)
    with gate, pytest.raises(Problem, match="too many expensive requests"), gate:
        pass
    with pytest.raises(ZeroDivisionError), gate:
        raise ZeroDivisionError
    with gate:
        pass


# --- sizes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("studio")) as client:
        yield client


SIZES = {
    "/api/predict": PICTURE_BYTES,
    "/api/drawings": PICTURE_BYTES,
    "/api/models": WEIGHTS_BYTES,
    "/api/predict/input": JSON_BYTES,
    "/api/explain/layers": JSON_BYTES,
    "/api/runs": JSON_BYTES,
}


@pytest.mark.parametrize("path", SIZES)
def test_a_body_is_given_up_as_soon_as_it_is_too_large(studio: TestClient, path: str) -> None:
    size = SIZES[path]
    read = 0

    def endless() -> Iterator[bytes]:  # sent in chunks, with no Content-Length
        nonlocal read
        while read < 2 * size:
            yield b" " * 65536
            read += 65536

    answer = studio.post(path, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["type"] == "/docs#too-large"


@pytest.mark.parametrize("path", SIZES)
def test_a_body_that_says_it_is_too_large_is_not_read(studio: TestClient, path: str) -> None:
    headers = {"Content-Length": str(SIZES[path] + 1), "Content-Type": "application/json"}
    answer = studio.post(path, content=b"{}", headers=headers)
    assert answer.status_code == 413
    assert answer.json()["type"] == "/docs#too-large"


def test_a_false_length_does_not_let_more_in(studio: TestClient) -> None:
    headers = {"Content-Length": "10", "Content-Type": "application/json"}
    answer = studio.post("/api/predict/input", content=b" " * (JSON_BYTES + 1), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/api/predict", "/api/drawings"])
def test_a_picture_may_be_larger_than_other_bodies(studio: TestClient, path: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
    noise[:40] = noise[-40:] = 0
    contents = png(Image.fromarray(noise))
    assert len(contents) > JSON_BYTES
    assert studio.post(path, content=contents).status_code in {200, 201}


@pytest.mark.parametrize("path", ["/api/predict", "/api/drawings"])
def test_no_picture_is_decoded_in_the_event_loop(
    studio: TestClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        opening.append(path)
        raise OSError

    opening: list[str] = []
    monkeypatch.setattr(Image, "open", opened)
    contents = png(Image.fromarray(np.eye(28, dtype=np.uint8) * 255))
    assert studio.post(path, content=contents).json()["type"] == "/docs#not-a-picture"
    assert opening == [path]


def test_the_sizes_are_told(studio: TestClient) -> None:
    told = studio.get("/api/state").json()["limits"]
    assert told["picture_bytes"] == PICTURE_BYTES
    assert told["weights_bytes"] == WEIGHTS_BYTES


def test_a_studio_refuses_what_is_asked_too_often(tmp_path: Path) -> None:
    limits = Limits(requests_per_second=0.01, burst=100.0)
    with studio_client(tmp_path, trained=False, limits=limits) as client:
        assert [client.get("/openapi.json").status_code for _ in range(2)] == [200, 429]


# --- uploads -------------------------------------------------------------------------------------


def test_all_uploads_share_one_budget_and_give_back_what_they_took() -> None:
    budget = Budget(10)
    with budget.share() as first:
        first.take(6)
        with pytest.raises(Problem, match="too many uploads at once"), budget.share() as second:
            second.take(3)
            second.take(2)
        assert budget.left == 4
    assert budget.left == 10


def posted(app: Any, path: str, messages: Iterable[Any]) -> list[Any]:
    """Return what an application sends to a client that sends messages and then waits."""
    headers = {"host": "127.0.0.1:8017", "content-type": "application/json", **BEARER}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    coming, sent = iter(messages), []

    async def receive() -> Any:
        for message in coming:
            return message
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def body(contents: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": contents, "more_body": more}


def chunks(count: int, end: Any) -> Iterator[Any]:
    """Yield the chunks of a body without storing them."""
    yield from (body(bytes(1 << 16)) for _ in range(count))
    yield end


def test_an_upload_lies_on_the_disk_and_its_share_is_given_back_whatever_happens(
    studio: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = studio.app.state.services
    whole = services.uploads.left
    seen: list[Any] = []

    def refuse(contents: bytes) -> Any:
        seen.append((whole - services.uploads.left, contents))
        raise ValueError("no model")

    def on_disk(file: Any) -> bytes:  # reading it would take memory, at this point of one request
        return b"on the disk" if file._rolled else b"in memory"

    monkeypatch.setattr(model_files, "read", refuse)
    monkeypatch.setattr(SpooledTemporaryFile, "read", on_disk)
    peaks = []
    for count in (16, 512):
        tracemalloc.start()
        (start, _) = posted(studio.app, "/api/models", chunks(count, body(b"", False)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert start["status"] == 422
        assert seen.pop() == (count << 16, b"on the disk")
        assert services.uploads.left == whole
    assert peaks[1] < peaks[0] + (4 << 20)  # of 32 MiB
    for count, end, status in (
        (1 << 10, body(b"x", False), 413),
        (3, {"type": "http.disconnect"}, 400),  # answered instead of raised: the log stays empty
    ):
        (start, _) = posted(studio.app, "/api/models", chunks(count, end))
        assert start["status"] == status
        assert services.uploads.left == whole
    monkeypatch.setattr(services.uploads, "left", 5 << 16)
    (start, told) = posted(studio.app, "/api/models", chunks(6, body(b"", False)))
    assert start["status"] == 503
    assert json.loads(told["body"])["detail"] == "too many uploads at once; try again"
    assert services.uploads.left == 5 << 16
    files = {path.name.split(".")[0] for path in services.settings.data_dir.iterdir()}
    assert files - {"runs"} == {"studio"}


@pytest.mark.parametrize("path", ["/api/predict", "/api/predict/input"])
def test_a_body_that_does_not_arrive_is_given_up(studio: TestClient, path: str) -> None:
    app = Bodies(studio.app, Limits(body_seconds=0.01, body_rate=1e6))
    start, told = posted(app, path, [body(b" "), body(b" ")])
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(told["body"])["type"] == "/docs#slow"


# --- connections ---------------------------------------------------------------------------------


def exchanged(limits: Limits, *sent: bytes) -> list[bytes]:
    """Return what a server of one text says to clients that send this and then wait."""

    async def answer() -> list[bytes]:
        config = uvicorn.Config(
            PlainTextResponse("in"), lifespan="off", log_level="critical", timeout_keep_alive=3600
        )
        config.load()
        state = ServerState()
        make = partial(Connection, limits=limits, config=config, server_state=state, app_state={})
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in sent]
        for (_, writer), data in zip(pairs, sent, strict=True):
            writer.write(data)
        async with asyncio.timeout(PATIENCE):
            heard = [await reader.read() for reader, _ in pairs]  # until the server ends it
        for _, writer in pairs:
            writer.close()
        server.close()
        return heard

    return asyncio.run(answer())


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 "),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT", b"HTTP/1.1 200 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", b"HTTP/1.1 200 "),
        (b"\x16\x03\x01\x02\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
def test_no_connection_is_half_open_for_long(sent: bytes, said: bytes) -> None:
    (heard,) = exchanged(Limits(head_seconds=0.05), sent)
    assert heard.startswith(said)
    assert bool(heard) == bool(said)


def test_what_is_not_http_and_one_connection_too_many_are_answered_with_problems() -> None:
    fine = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    first, *more = exchanged(Limits(connections=1), fine, fine, b"HELO\r\n\r\n")
    assert first.endswith(b"in")
    (broken,) = exchanged(Limits(), b"HELO\r\n\r\n")
    for answer, status, name in ((more[0], 503, "busy"), (broken, 400, "bad-request")):
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().splitlines()
        assert lines[0].startswith(f"HTTP/1.1 {status} ")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert json.loads(body)["type"] == f"/docs#{name}"
