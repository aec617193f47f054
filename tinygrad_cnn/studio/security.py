"""ASGI middleware: access control, and security headers of all answers."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinygrad_cnn.studio.limits import Buckets, too_many
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.settings import StudioSettings, is_loopback, split_address
from tinygrad_cnn.studio.tokens import Credentials

__all__ = ["CONTENT_SECURITY_POLICY", "HEADERS", "Security", "cookie_name"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer, unless a route has its own."""

OUTSIDE = {"cross-site", "same-site"}  # a page from another port of this machine is same-site
PAGES = {"/", "/docs"}
PUBLIC = "/static/css/", "/static/favicon.svg"  # what the page for the token is made of
REMEMBERED_SECONDS = 30 * 24 * 3600
WRONG = "this is not the studio's token"
MOST_WRONG = 4096
"""Wrong tokens to remember: one that is sent again is not a further guess."""


class Security:
    """Answers only requests with the server's host name, from its own pages, with the token.

    A page of another site can make a browser send requests here (cross-site requests), or have a
    host name that resolves to this machine (DNS rebinding). The headers Origin, Sec-Fetch-Site and
    Host reveal both. Clients other than browsers omit the first two, and are allowed.

    Parameters
    ----------
    app : ASGI application
    settings : StudioSettings
        Includes the port that the server listens on.
    """

    def __init__(self, app: ASGIApp, settings: StudioSettings) -> None:
        self.app = app
        self.settings = settings
        self.credentials = Credentials.of(settings.data_dir, settings.token)
        self.cookie = cookie_name(settings)
        self.origin = settings.origin
        self.names = {"localhost", settings.host.lower()}
        self.any_address = not is_loopback(settings.host)
        if self.any_address:
            self.names.add(socket.gethostname().lower())
        limits = settings.limits
        self._guesses = Buckets(1 / limits.seconds_per_guess, limits.guesses)
        self._wrong: set[bytes] = set()
        self._page = Template(
            files("tinygrad_cnn.studio").joinpath("token.html").read_text("utf-8")
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self._answer(scope)
        except Problem as problem:
            answer = self._refusal(scope, problem)
        await (answer or self.app)(scope, receive, with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Return None if the request may pass, or a redirect; raise Problem otherwise."""
        headers = Headers(scope=scope)
        self._check_address(scope, headers)
        path, client = scope["path"], scope["client"][0] if scope.get("client") else ""
        if path.startswith(PUBLIC):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if asked and scope["method"] == "GET" and path in PAGES:
            self._check_token(asked[0].strip(), client)
            response = RedirectResponse(path, 303)
            response.set_cookie(
                self.cookie,
                self.credentials.cookie,
                max_age=REMEMBERED_SECONDS,
                secure=self.origin.startswith("https:"),
                httponly=True,
                samesite="lax",
            )
            return response
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._check_token(value.strip(), client)
        elif not any(
            _same(each, self.credentials.cookie) for each in _cookies(headers, self.cookie)
        ):
            raise _no_token()
        return None

    def _check_address(self, scope: Scope, headers: Headers) -> None:
        """Raise Problem unless the request is for this server, and from its own pages."""
        host = headers.get("host", "")
        public = split_address(f"{self.settings.public[0]}://{host}") == self.settings.public
        if not public and not self._is_ours(host):
            raise Problem("host", f"the request is for {host!r}, expected {self.origin}")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        # a proxy may pass on the name by which it finds the server, in place of its own
        if origin not in {None, self.origin, None if public else f"http://{host}"}:
            raise Problem("foreign", f"the request comes from {origin!r}, not from {self.origin}")
        if site in OUTSIDE and not _opens_the_page(scope, headers):
            raise Problem("foreign", f"the request is {site}; open {self.origin}/ by itself")

    def _is_ours(self, host: str) -> bool:
        """Return whether a Host header names the address that the server listens on."""
        parts = split_address(f"http://{host}")
        if parts is None or parts[2] != self.settings.port:
            return False
        if parts[1] in self.names:
            return True
        try:
            address = ipaddress.ip_address(parts[1])
        except ValueError:
            return False
        return self.any_address or address.is_loopback  # an IP address cannot be rebound

    def _check_token(self, presented: str, client: str) -> None:
        """Raise Problem unless the token is right, or if the client has guessed too often.

        A browser that has its cookie, which cannot be guessed, is not concerned.
        """
        digest = sha256(presented.encode("utf-8", "replace")).digest()
        if not presented or digest in self._wrong:
            raise _no_token(WRONG)
        seconds = self._guesses.wait(client)
        if seconds > 0:
            raise too_many("there were too many wrong tokens", seconds)
        if not _same(presented, self.credentials.token):
            self._guesses.take(client)
            if len(self._wrong) == MOST_WRONG:
                self._wrong.clear()
            self._wrong.add(digest)
            raise _no_token(WRONG)

    def _refusal(self, scope: Scope, problem: Problem) -> Response:
        """Return the answer to a request that may not pass: to a browser, a page with a form."""
        asks = "text/html" in Headers(scope=scope).get("accept", "")
        if not asks or scope["method"] != "GET" or problem.name not in {"no-token", "too-many"}:
            return problem.response()
        wrong = WRONG if b"token=" in scope["query_string"] else ""
        said = problem.detail if problem.name == "too-many" else wrong
        page = self._page.substitute(problem=escape(f"{said[:1].upper()}{said[1:]}"))
        policy = CONTENT_SECURITY_POLICY.replace("form-action 'none'", "form-action 'self'")
        headers = {**problem.headers, "Content-Security-Policy": policy}
        return HTMLResponse(page, problem.status, headers)


def cookie_name(settings: StudioSettings) -> str:
    """Return the name of the cookie: it has the port, as a browser sends cookies to every port.

    Examples
    --------
    >>> from pathlib import Path
    >>> cookie_name(StudioSettings(data_dir=Path("data")))
    'studio_token_8017'
    >>> cookie_name(StudioSettings(data_dir=Path("data"), public_url="https://studio.example.org"))
    '__Host-studio_token_443'
    """
    scheme, _, port = settings.public
    prefix = "__Host-" if scheme == "https" else ""  # no other host can set it
    return f"{prefix}studio_token_{port}"


def _opens_the_page(scope: Scope, headers: Headers) -> bool:
    """Return whether the request follows a link to the studio, which changes nothing."""
    return (
        scope["method"] == "GET"
        and scope["path"] in PAGES
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _cookies(headers: Headers, name: str) -> list[str]:
    """Return the values of a cookie, whatever the others are: some programs' are malformed."""
    pairs = [pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";")]
    return [value.strip() for found, _, value in pairs if found.strip() == name]


def _same(presented: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(presented.encode("utf-8", "replace"), expected.encode())


def _no_token(reason: str = "a token is needed") -> Problem:
    return Problem(
        "no-token",
        f"{reason}: open the address that the studio printed when it started, or send the token in "
        "the header Authorization: Bearer",
        headers={"WWW-Authenticate": "Bearer"},
    )
