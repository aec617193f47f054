"""Settings of the studio."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from tinygrad_cnn.support.arguments import positive, whole

__all__ = [
    "JSON_BYTES",
    "PICTURE_BYTES",
    "PIXELS",
    "WEIGHTS_BYTES",
    "Limits",
    "StudioSettings",
    "default_data_dir",
    "is_loopback",
]

MOST_PORTS = 65_535
TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")
KIB, MIB = 1 << 10, 1 << 20


JSON_BYTES, PICTURE_BYTES, WEIGHTS_BYTES = 64 * KIB, 8 * MIB, 64 * MIB
"""Maximum body size by content, for ``max_body_size`` of a route."""

PIXELS = 4096 * 4096
"""Maximum number of pixels of a decoded picture."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Request limits.

    Attributes
    ----------
    predictions_per_second, requests_per_second : float
        Sustained rate per client; a client may send `burst` seconds' worth at once.
    burst : float
    heavy : int
        Maximum number of concurrent costly requests.
    heavy_waiting : int
        Maximum number of waiting ones, for at most `heavy_seconds`.
    heavy_seconds : float
    connections : int
        Maximum number of open connections.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    predictions_per_second: float = 1000.0
    requests_per_second: float = 100.0
    burst: float = 4.0
    heavy: int = 1
    heavy_waiting: int = 8
    heavy_seconds: float = 10.0
    connections: int = 512

    def __post_init__(self) -> None:
        whole("limits", "heavy", self.heavy)
        whole("limits", "heavy_waiting", self.heavy_waiting, 0)
        whole("limits", "connections", self.connections)
        for name in ("predictions_per_second", "requests_per_second", "burst", "heavy_seconds"):
            positive("limits", name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class StudioSettings:
    """Data folder, address, token and limits of a studio.

    Attributes
    ----------
    data_dir : Path
        The folder of the database and the runs; created if missing.
    host : str
        Host name or address to listen on.
    port : int
        0 selects a free port.
    token : str or None
        The token that clients must send; optional while only this machine can reach the server.
    limits : Limits

    Raises
    ------
    ValueError
        If `host` can be reached from other machines and there is no token, or a value is out of
        range.

    Examples
    --------
    >>> StudioSettings(data_dir=Path("data"), host="0.0.0.0")
    Traceback (most recent call last):
        ...
    ValueError: studio: host is '0.0.0.0', which other machines can reach: set a token
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8017
    token: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.host or self.host != self.host.strip() or "/" in self.host:
            raise ValueError(f"studio: host is {self.host!r}, expected a name or an address")
        if whole("studio", "port", self.port, 0) > MOST_PORTS:
            raise ValueError(f"studio: port is {self.port}, expected 0 to {MOST_PORTS}")
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise ValueError(
                f"studio: the token has {len(self.token)} characters, expected 16 to 256 letters, "
                "digits or any of . _ ~ -"
            )
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"studio: host is {self.host!r}, which other machines can reach: set a token"
            )

    @property
    def database(self) -> Path:
        """The path of the database file."""
        return self.data_dir / "studio.db"

    @property
    def runs_dir(self) -> Path:
        """The folder of the run folders."""
        return self.data_dir / "runs"


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, is reachable only from this machine.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_data_dir() -> Path:
    """Return the platform's folder for user data."""
    import platformdirs

    return Path(platformdirs.user_data_dir("tinygrad-cnn", appauthor=False)) / "studio"
