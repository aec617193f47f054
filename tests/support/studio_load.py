"""Many clients predict at once while a model is trained; prints how long they wait.

PYTHONPATH=tests python -m support.studio_load --clients 50 --seconds 60

"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from support.studio import BEARER, running_studio, until
from support.studio_client import Client
from tinygrad_cnn.data import digits

PAUSE = 0.2
"""Seconds between an answer and the next request, on average: a quick hand's strokes."""

PICTURES = 200
SIDE = 280  # as the page sends them
TRAINING = {"model": "lenet5", "data": "digits", "epochs": 200, "name": "Beside the load"}


@dataclass
class Load:
    """What clients met with.

    Attributes
    ----------
    clients : int
    seconds, pause : float
    latencies : list of float
        Seconds from each request to the end of its answer.
    errors : list of str
        What was answered otherwise than to a client that is alone.
    right : float
        The share of the pictures that are told right.
    sums : list of float
        Of the probabilities of each picture.
    batches : int
        That were trained meanwhile.
    """

    clients: int
    seconds: float
    pause: float
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    right: float = 0.0
    sums: list[float] = field(default_factory=list)
    batches: int = 0

    def __str__(self) -> str:
        p50, p99 = np.percentile(self.latencies, [50, 99]) * 1e3
        return (
            f"{self.clients} clients, {self.seconds:g} s, {self.pause:g} s of pause: "
            f"{len(self.latencies)} requests, {len(self.errors)} errors, "
            f"{len(self.latencies) / self.seconds:.0f} a second; "
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {max(self.latencies) * 1e3:.1f} ms; "
            f"{self.batches} batches trained meanwhile"
        )


def measure(folder: Path, clients: int, seconds: float, *pauses: float) -> list[Load]:
    """Start a studio that trains, and return what clients meet with for each length of pause."""
    with running_studio(folder) as running, Client(running.url) as client:
        created = client.ask("POST", "/api/runs", TRAINING)
        assert created.status == 201, created
        run_id = created.json["id"]
        until(lambda: last_step(client, run_id) > 0)
        shown = pictures()
        alone = [client.ask("POST", "/api/predict", png) for png, _ in shown]
        told = [answer.json["probabilities"] for answer in alone]
        loads = []
        for pause in pauses:
            load = Load(clients, seconds, pause)
            load.sums = [sum(probabilities) for probabilities in told]
            labels = [label for _, label in shown]
            load.right = float(np.mean(np.argmax(told, axis=1) == labels))
            before = last_step(client, run_id)
            questions = [
                Question(request(running.url, png), answer.body)
                for (png, _), answer in zip(shown, alone, strict=True)
            ]
            client.close()  # the server would: it keeps none that is silent for long
            asyncio.run(crowd(load, running.url, questions))
            load.batches = last_step(client, run_id) - before
            loads.append(load)
        assert client.get(f"/api/runs/{run_id}")["state"] == "running", "it ended too early"
        return loads


@dataclass
class Question:
    """A request as it is sent, and the body that answers it."""

    request: bytes
    answer: bytes


def pictures() -> list[tuple[bytes, int]]:
    """Return pictures of test digits, PNG, with their labels."""
    test = digits().test
    shown = []
    for image, label in zip(test.images[:PICTURES, 0], test.labels[:PICTURES], strict=True):
        file = io.BytesIO()
        large = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        large.save(file, "PNG")
        shown.append((file.getvalue(), int(label)))
    return shown


def request(url: str, png: bytes) -> bytes:
    """Return the bytes that ask what a picture shows."""
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        f"Authorization: {BEARER['Authorization']}\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n"
    )
    return head.encode() + png


async def crowd(load: Load, url: str, questions: list[Question]) -> None:
    """Let clients ask, each on a connection of its own, until the time is over."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    end = loop.time() + load.seconds

    async def one(number: int) -> None:
        rng = random.Random(number)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            await asyncio.sleep(rng.uniform(0, load.pause))  # not all in step
            while loop.time() < end:
                question = rng.choice(questions)
                started = time.perf_counter()
                writer.write(question.request)
                status, body = await answer(reader)
                load.latencies.append(time.perf_counter() - started)
                if status != 200 or body != question.answer:
                    load.errors.append(f"{status}: {body[:200]!r}")
                await asyncio.sleep(rng.uniform(0.5, 1.5) * load.pause)
        except (OSError, asyncio.IncompleteReadError) as error:
            load.errors.append(repr(error))
        finally:
            writer.close()

    await asyncio.gather(*(one(number) for number in range(load.clients)))


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read a response: its status and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(maxsplit=2)[1])
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    return status, await reader.readexactly(lengths[0])


def last_step(client: Client, run_id: int) -> int:
    """Return how many batches a run has told of."""
    told: list[dict[str, Any]] = client.get(f"/api/runs/{run_id}/points")["points"]
    return max((point["step"] for point in told), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a studio that trains.")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, nargs="+", default=[PAUSE, 0.0])
    chosen = parser.parse_args()
    print("load of the machine before:", *(f"{load:.1f}" for load in os.getloadavg()))
    with tempfile.TemporaryDirectory() as folder:
        loads = measure(Path(folder), chosen.clients, chosen.seconds, *chosen.pause)
    for load in loads:
        print(load)
        for error in load.errors[:5]:
            print("   ", error)


if __name__ == "__main__":
    main()
