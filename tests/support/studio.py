"""A studio for tests: in this process, or as a server of its own."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.train import DataSettings, ModelSettings, RunSettings, TrainingSettings

if TYPE_CHECKING:
    from starlette.testclient import TestClient

T = TypeVar("T")

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
"""What a program sends with every request to a studio of the tests."""

PATIENCE = 60.0
"""Seconds that a test waits for what takes less than one on an idle machine."""


def until(found: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Return what `found` returns as soon as it is something; fail after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {patience} s for {found}"
        time.sleep(0.02)


@functools.cache
def trained(source: str = "digits") -> tuple[RunSettings, bytes, Any]:
    """Return settings, file and report of a model that knows a set: trained once a process."""
    from tinygrad_cnn.studio import model_files
    from tinygrad_cnn.studio.report import report

    split = tg.data.load(source)
    settings = RunSettings(
        data=DataSettings.of(split, source),
        model=ModelSettings(name="lenet5"),
        training=TrainingSettings(epochs=1, batch_size=50, lr=0.002, schedule="constant"),
    )
    model = tg.nn.build(
        "lenet5", input_shape=settings.data.input_shape, classes=10, rng=np.random.default_rng(0)
    )
    loader = tg.data.DataLoader(
        split.train[:4000], 50, shuffle=True, transform=settings.data.normalize()
    )
    optimizer = tg.optim.Adam(model.parameters(), lr=settings.training.lr)
    tg.train.fit(model, tg.cross_entropy, optimizer, loader, epochs=1)
    model.eval()
    packed = model_files.pack(settings, model.state_dict())
    return settings, packed, report(model, settings, split.test)


def add_model(
    data_dir: Path, name: str = "known", promoted: bool = True, source: str = "digits"
) -> int:
    """Add the trained model to the studio that is kept in a folder, and return its id."""
    from tinygrad_cnn.studio.store import Store, models

    settings, contents, report = trained(source)
    store = Store(data_dir / "studio.db")
    store.migrate()
    with store.session() as session:
        added = models.add(
            session,
            name=name,
            settings=settings,
            weights=contents,
            report=report,
        )
        if promoted:
            models.promote(session, added.id)
    store.close()
    return added.id


@contextmanager
def studio_client(
    tmp_path: Path, trained: bool = True, supervised: bool = False, **options: Any
) -> Iterator[TestClient]:
    """Yield a client of a studio in this process, kept in ``tmp_path / "data"``.

    Nothing is trained in it unless it is `supervised`; `options` are those of
    `tinygrad_cnn.studio.StudioSettings`.
    """
    from starlette.testclient import TestClient

    from tinygrad_cnn.studio import StudioSettings, create_app
    from tinygrad_cnn.studio.data_folder import opened

    data_dir = tmp_path / "data"
    if trained:
        add_model(data_dir)
    settings = StudioSettings(data_dir=data_dir, **{"token": TOKEN, **options})
    with opened(settings) as store:
        app = create_app(settings, store)
        client = TestClient(app, base_url=settings.origin, headers=BEARER)
        with client if supervised else nullcontext():
            yield client


@dataclass
class Running:
    """A server process.

    Attributes
    ----------
    url : str
        Without a slash at the end.
    data_dir : Path
    process : Popen

    Its token is ``TOKEN``: see ``BEARER``.
    """

    url: str
    data_dir: Path
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """End the process as a power cut would; its trainer ends as it notices."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_studio(
    tmp_path: Path, trained: bool = True, port: int = 0, arguments: Sequence[str] = ()
) -> Iterator[Running]:
    """Yield a studio in a process of its own, kept in ``tmp_path / "data"``.

    Without a model (`trained`) it begins to train one.
    """
    data_dir = tmp_path / "data"
    if trained and not (data_dir / "studio.db").exists():
        add_model(data_dir)
    command = [
        *(sys.executable, "-m", "tinygrad_cnn", "studio", "--no-browser"),
        *("--data-dir", str(data_dir), "--port", str(port), "--token", TOKEN, *arguments),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, f"the studio said {line!r}"
            yield Running(found[0].split("?")[0].rstrip("/"), data_dir, process)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
