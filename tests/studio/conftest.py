"""What the tests of the studio's pages share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.studio import Running, running_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a studio with a trained model, one for each module that visits its pages."""
    with running_studio(tmp_path_factory.mktemp("studio")) as running:
        yield running
