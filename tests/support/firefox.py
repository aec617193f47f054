"""A headless Firefox, driven by WebDriver BiDi: Playwright cannot drive a distribution's build."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.studio import PATIENCE, until

NAMES = ("firefox-esr", "firefox")
PREFERENCES = """
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
"""


class Firefox:
    """A connection to Firefox; `errors` are what its pages have reported."""

    def __init__(self, port: int) -> None:
        self.errors: list[str] = []
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._reader = self._socket.makefile("rb")
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        request = (
            f"GET /session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        while self._reader.readline() != b"\r\n":
            pass
        self._asked = 0
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])

    def ask(self, method: str, **params: Any) -> Any:
        """Send a command, and return its result."""
        self._asked += 1
        self._send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while True:
            said = json.loads(self._receive())
            if said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.errors.append(said["params"]["text"])
            if said.get("id") == self._asked:
                assert said["type"] == "success", said
                return said["result"]

    def tab(self, url: str) -> Tab:
        """Open a page in a new tab."""
        tab = Tab(self, self.ask("browsingContext.create", type="tab")["context"])
        self.ask("browsingContext.navigate", context=tab.context, url=url, wait="complete")
        return tab

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def _send(self, text: str) -> None:
        data, mask = text.encode(), secrets.token_bytes(4)
        size = len(data)
        head = struct.pack(">BB", 0x81, 0xFE) + struct.pack(">H", size)
        if size < 126:
            head = struct.pack(">BB", 0x81, 0x80 | size)
        self._socket.sendall(
            head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        )

    def _receive(self) -> bytes:
        data = b""
        while True:
            first, size = self._reader.read(2)
            if size == 126:
                (size,) = struct.unpack(">H", self._reader.read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._reader.read(8))
            data += self._reader.read(size)
            if first & 0x80:  # the last frame of a message
                return data


class Tab:
    """A page in Firefox."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self.firefox = firefox
        self.context = context

    def evaluate(self, expression: str) -> Any:
        """Return the value of JavaScript: text, a number, true or false."""
        said = self.firefox.ask(
            "script.evaluate",
            expression=expression,
            target={"context": self.context},
            awaitPromise=True,
        )
        assert said["type"] == "success", said
        return said["result"].get("value")

    def expect(self, expression: str) -> None:
        """Wait until JavaScript is true."""
        until(lambda: self.evaluate(f"Boolean({expression})"))

    def drag(self, places: list[tuple[float, float]]) -> None:
        """Press the mouse at the first place, and move it through the others."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in places]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        actions = [moves[0], down, *moves[1:], up]
        pointer = {"type": "pointer", "id": "mouse", "actions": actions}
        self.firefox.ask("input.performActions", context=self.context, actions=[pointer])

    def close(self) -> None:
        """Close the tab."""
        self.firefox.ask("browsingContext.close", context=self.context)


@contextmanager
def firefox() -> Iterator[Firefox]:
    """Yield a browser; where there is none, the test skips."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs Firefox (apt-get install firefox-esr)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        Path(profile, "user.js").write_text(PREFERENCES)
        told = Path(profile, "told.txt")
        command = [program, "--headless", "--remote-debugging-port", "0", "--profile", profile]
        with (
            told.open("w") as output,
            subprocess.Popen(
                command, stdout=output, stderr=output, env={"HOME": profile}
            ) as process,
        ):
            try:
                port = until(lambda: re.search(r"ws://127\.0\.0\.1:(\d+)", told.read_text()))[1]
                with closing(Firefox(int(port))) as browser:
                    yield browser
            finally:
                process.terminate()
