"""The server: a socket, uvicorn, and a browser opened at its address."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Thread
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from tinygrad_cnn.studio.app import create_app
from tinygrad_cnn.studio.connections import Connection
from tinygrad_cnn.studio.data_folder import opened
from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.tokens import Credentials

__all__ = ["address", "serve"]

BACKLOG = 256
GONE_SECONDS = 120  # for a client that acknowledges nothing
GOODBYE_SECONDS = 3  # for open event streams


def serve(settings: StudioSettings, open_browser: bool = True) -> None:
    """Serve until interrupted.

    The data folder is locked and its database migrated and checked before the server listens. Once
    it is ready, the address is printed and the browser opened.

    Parameters
    ----------
    settings : StudioSettings
        Port 0 selects a free port.
    open_browser : bool

    Raises
    ------
    OSError
        If the port is in use, or the host is not this machine.
    DamagedStoreError
        If the database cannot be used.
    InUseError
        If another studio uses the same data folder.
    """
    with opened(settings) as store, _listening(settings) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        token = Credentials.of(settings.data_dir, settings.token).token
        app = create_app(settings, store)
        config = uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,  # an address may contain the token
            log_level="warning",
            proxy_headers=settings.public_url is not None,  # else a client could forge an address
            server_header=False,
            http=partial(Connection, limits=settings.limits),  # type: ignore[arg-type]
            timeout_graceful_shutdown=GOODBYE_SECONDS,
        )
        server = _Server(app, config, lambda: _greet(address(settings, token), open_browser))
        with contextlib.suppress(KeyboardInterrupt):  # after a clean shutdown
            server.run(sockets=[listener])


def address(settings: StudioSettings, token: str) -> str:
    """Return the URL of the studio that opens it in a browser.

    Examples
    --------
    >>> from pathlib import Path
    >>> address(StudioSettings(data_dir=Path("data"), host="0.0.0.0"), "an-example-token")
    'http://127.0.0.1:8017/?token=an-example-token'
    """
    return f"{settings.origin}/?token={quote(token)}"


class _Server(uvicorn.Server):
    """Starts and stops the app itself, so that startup errors reach the caller."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._lifespan = app.router.lifespan_context(app)
        self._when_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._lifespan.__aenter__()
        await super().startup(sockets)
        self._when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.state.feed.close()  # shutdown would wait for an open event stream
        await super().shutdown(sockets)
        await self._lifespan.__aexit__(None, None, None)


def _greet(address: str, open_browser: bool) -> None:
    print(f"tinygrad_cnn studio: {address}  (Ctrl+C stops it)", flush=True)
    if open_browser:
        # In a thread: a text-mode browser returns when its user leaves it.
        Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _listening(settings: StudioSettings) -> socket.socket:
    """Return a listening socket; created before the app, so that a free port is known."""
    try:
        version_6 = ipaddress.ip_address(settings.host).version == 6
    except ValueError:
        version_6 = False
    family = socket.AF_INET6 if version_6 else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the protocol is named; otherwise answers wait 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere two servers could share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it: of peers that are gone
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * GONE_SECONDS)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        where = f"{settings.host}, port {settings.port}"
        raise OSError(error.errno, f"cannot listen at {where}: {error.strerror}") from error
    return listener
