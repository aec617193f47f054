"""The web application and its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from tinygrad_cnn import __version__
from tinygrad_cnn.studio import description, problems
from tinygrad_cnn.studio.api import (
    drawings,
    events,
    explain,
    images,
    models,
    playground,
    predict,
    runs,
    state,
)
from tinygrad_cnn.studio.api.parameters import STRICT_PARAMETERS
from tinygrad_cnn.studio.files import StaticFiles
from tinygrad_cnn.studio.limits import Bodies, RateLimit
from tinygrad_cnn.studio.predictor import Predictor
from tinygrad_cnn.studio.security import Security
from tinygrad_cnn.studio.services import Budget, Gate, Services
from tinygrad_cnn.studio.settings import JSON_BYTES, StudioSettings
from tinygrad_cnn.studio.store import Store
from tinygrad_cnn.studio.training.supervisor import Supervisor

__all__ = ["create_app"]

STATIC = "tinygrad_cnn.studio", "tinygrad_cnn.support"  # packages with files to serve
INCOMPRESSIBLE = "text/event-stream", "application/octet-stream", "image/*"
DESCRIPTION = """Draw a digit, see how a network classifies it, and teach it.

An input is 28×28 bytes in base64, light ink on black, row by row. Without a model
id, the promoted model is used. Errors are problem documents (RFC 9457).
"""


def create_app(settings: StudioSettings, store: Store) -> FastAPI:
    """Create the web application.

    On startup it resumes runs; on shutdown it pauses them.

    Parameters
    ----------
    settings : StudioSettings
        Includes the port that the server listens on: requests to another port are refused.
    store : Store
        The open database: see `tinygrad_cnn.studio.data_folder.opened`.

    Returns
    -------
    FastAPI
        An ASGI application whose ``state.services`` are the `Services`.
    """
    limits = settings.limits
    gates = (limits.heavy, limits.heavy_waiting, limits.heavy_seconds)
    services = Services(
        settings=settings,
        store=store,
        predictor=Predictor(store),
        supervisor=Supervisor(store, settings),
        heavy=Gate(*gates),
        playground=Gate(*gates),
        uploads=Budget(limits.upload_bytes),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_sync(services.supervisor.start)
        try:
            yield
        finally:
            await run_sync(services.supervisor.stop)

    app = _Application(
        title="tinygrad_cnn studio",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's page loads files from the network; ours is local
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=problems.documented(
            "no-token", "foreign", "host", "too-many", "busy", "disk-full"
        ),
    )
    app.state.services = services
    problems.install(app)
    description.install(app)
    for module in (state, predict, images, explain, drawings, models, runs, playground, events):
        app.include_router(
            module.router, max_body_size=JSON_BYTES, dependencies=[STRICT_PARAMETERS]
        )
    app.router.default = StaticFiles(*STATIC)  # a path without a route may be a file
    app.add_middleware(GZipMiddleware, exclude_content_types=INCOMPRESSIBLE, compresslevel=6)
    app.add_middleware(Bodies, limits=limits)
    app.add_middleware(RateLimit, limits=limits)  # added last, so it runs first
    return app


class _Application(FastAPI):
    """An application in which nothing is answered without `Security`, not even an error."""

    def build_middleware_stack(self) -> ASGIApp:
        services: Services = self.state.services
        return Security(super().build_middleware_stack(), services.settings)
