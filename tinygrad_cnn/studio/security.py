"""ASGI middleware: access control, and security headers of pages."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.settings import StudioSettings, is_loopback

__all__ = ["CONTENT_SECURITY_POLICY", "COOKIE", "Security"]

COOKIE = "studio_token"
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
HOST = re.compile(r"(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@/\s]+))(:(?P<port>\d+))?")
OUTSIDE = {"cross-site", "same-site"}  # a page from another port of this machine is same-site


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
        self.names = {"localhost", settings.host.lower()}
        self.any_address = not is_loopback(settings.host)
        if self.any_address:
            self.names.add(socket.gethostname().lower())

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
            answer = problem.response()
        await (answer or self.app)(scope, receive, with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Return None if the request may pass, or a redirect; raise Problem otherwise."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Problem(
                "host", f"the request is for {host!r}, expected {self.settings.host} at port "
                f"{self.settings.port}"
            )  # fmt: skip
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin != f"http://{host}":
            raise Problem("foreign", f"the request comes from {origin!r}, not from http://{host}")
        if site in OUTSIDE and not _opens_the_page(scope, headers):
            raise Problem("foreign", f"the request is {site}; open http://{host}/ by itself")
        token = self.settings.token
        if token is None:
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if asked and scope["method"] == "GET" and scope["path"] == "/":
            _check(asked[0], token)
            response = RedirectResponse("/", 303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        _check(_presented(headers), token)
        return None

    def _is_ours(self, host: str) -> bool:
        """Return whether a Host header names this server."""
        found = HOST.fullmatch(host.lower())
        if found is None or (found["port"] or "80") != str(self.settings.port):
            return False
        name = found["address"] or found["name"]
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address or address.is_loopback  # an IP address cannot be rebound


def _opens_the_page(scope: Scope, headers: Headers) -> bool:
    """Return whether the request follows a link to the studio, which changes nothing."""
    return (
        scope["method"] == "GET"
        and scope["path"] == "/"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _presented(headers: Headers) -> str:
    """Return the token of the request, or an empty string."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _check(presented: str, token: str) -> None:
    """Raise Problem unless the token is right; the comparison takes constant time."""
    if not hmac.compare_digest(presented.encode("utf-8", "replace"), token.encode()):
        raise Problem(
            "no-token",
            "open the address with ?token=, or send the header Authorization: Bearer",
            headers={"WWW-Authenticate": "Bearer"},
        )
