"""How much is answered: rates, sizes, and costly work at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from support.studio import studio_client, until

from tinygrad_cnn.studio.limits import MOST_CLIENTS, Buckets, RateLimit
from tinygrad_cnn.studio.pictures import png
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.services import Gate
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
    for path in ("/api/models", "/api/predict/input"):  # which are counted apart
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


def test_the_sizes_are_told(studio: TestClient) -> None:
    told = studio.get("/api/state").json()["limits"]
    assert told["picture_bytes"] == PICTURE_BYTES
    assert told["weights_bytes"] == WEIGHTS_BYTES


def test_a_studio_refuses_what_is_asked_too_often(tmp_path: Path) -> None:
    limits = Limits(requests_per_second=0.01, burst=100.0)
    with studio_client(tmp_path, trained=False, limits=limits) as client:
        assert [client.get("/openapi.json").status_code for _ in range(2)] == [200, 429]
