"""What the tests of the studio share; where its libraries are lacking, there are none."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.machine import in_ci
from support.studio import Running, running_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tinygrad_cnn.studio.store import Store

NEEDED = ("alembic", "fastapi", "httpx2", "latex2mathml", "schemathesis", "sqlalchemy", "uvicorn")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if LACKING and in_ci():
    raise ModuleNotFoundError(f"the tests of the studio need {', '.join(LACKING)}")
collect_ignore_glob = ["test_*.py"] if LACKING else []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yield an empty database."""
    from support.studio_models import opened

    with opened(tmp_path / "studio.db") as store:
        yield store


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a studio with a trained model, one for each module that visits its pages."""
    with running_studio(tmp_path_factory.mktemp("studio")) as running:
        yield running
