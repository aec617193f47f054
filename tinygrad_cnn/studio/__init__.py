"""A studio in the browser: draw a digit, watch the network see it, teach it.

``tinygrad-cnn studio`` starts it. It needs the extra ``studio``, which is imported when it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.studio.settings import Limits, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Limits", "Settings", "create_app", "serve"]


def create_app(settings: Settings) -> FastAPI:
    """Make the web application; see `tinygrad_cnn.studio.app`."""
    from tinygrad_cnn.studio.app import create_app as create

    return create(settings)


def serve(settings: Settings, open_browser: bool = True) -> None:
    """Answer requests until interrupted; see `tinygrad_cnn.studio.server`."""
    from tinygrad_cnn.studio.server import serve as run

    run(settings, open_browser)
