"""The studio, a web application: draw a digit, watch the network classify it, fine-tune it.

Start it with ``tinygrad-cnn studio``. It needs the extra ``studio``, imported on start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.studio.settings import Limits, StudioSettings
from tinygrad_cnn.support.modules import public

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tinygrad_cnn.studio.store import Store

__all__ = ["Limits", "StudioSettings", "create_app", "serve"]


def create_app(settings: StudioSettings, store: Store) -> FastAPI:
    """Create the web application; see `tinygrad_cnn.studio.app`."""
    from tinygrad_cnn.studio.app import create_app as create

    return create(settings, store)


def serve(settings: StudioSettings, open_browser: bool = True) -> None:
    """Serve until interrupted; see `tinygrad_cnn.studio.server`."""
    from tinygrad_cnn.studio.server import serve as run

    run(settings, open_browser)


if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
