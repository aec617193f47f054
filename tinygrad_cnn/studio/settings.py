"""Settings of the studio."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from tinygrad_cnn.bench.machine import cores
from tinygrad_cnn.support.arguments import positive, whole

__all__ = [
    "JSON_BYTES",
    "LONGEST_SIDE",
    "PICTURE_BYTES",
    "PIXELS",
    "SMALL_BYTES",
    "WEIGHTS_BYTES",
    "Limits",
    "StudioSettings",
    "default_concurrent_runs",
    "default_data_dir",
    "is_loopback",
    "split_address",
]

MOST_PORTS = 65_535
PORTS = {"http": 80, "https": 443}
ADDRESS = re.compile(
    r"(?P<scheme>https?)://(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@/?#\s]+))"
    r"(:(?P<port>\d{1,5}))?/?"
)
TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")
KIB, MIB = 1 << 10, 1 << 20
POSITIVE = (
    "predictions_per_second", "requests_per_second", "burst", "heavy_seconds", "head_seconds",
    "body_seconds", "body_rate", "seconds_per_guess",
)  # fmt: skip


JSON_BYTES, PICTURE_BYTES, WEIGHTS_BYTES = 64 * KIB, 8 * MIB, 64 * MIB
"""Maximum body size by content, for ``max_body_size`` of a route."""

SMALL_BYTES = 64 * KIB
"""A body of at most this size is kept in memory, a larger one on the disk."""

PIXELS, LONGEST_SIDE = 4096 * 4096, 16_384
"""Maximum number of pixels of a decoded picture, and of a row or column of it."""


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
    upload_bytes : int
        Maximum size of all bodies together that are being received or processed.
    head_seconds, body_seconds : float
        Maximum time for the head of a request, and for its body; the body has
        1 s more for each `body_rate` bytes that have arrived.
    body_rate : float
    connections : int
        Maximum number of open connections.
    guesses : int
        Number of wrong tokens that a client may send at once.
    seconds_per_guess : float
        Time until it may send another.

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
    upload_bytes: int = 256 * MIB
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    body_rate: float = 16.0 * KIB
    connections: int = 512
    guesses: int = 10
    seconds_per_guess: float = 5.0

    def __post_init__(self) -> None:
        whole("limits", "heavy", self.heavy)
        whole("limits", "heavy_waiting", self.heavy_waiting, 0)
        for name in ("connections", "guesses"):
            whole("limits", name, getattr(self, name))
        whole("limits", "upload_bytes", self.upload_bytes, WEIGHTS_BYTES)
        for name in POSITIVE:
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
    public_url : str or None
        The address at which browsers find the studio, if it is another: that of a TLS proxy in
        front of it. Expected ``Host`` and ``Origin`` headers and the cookie follow from it.
    token : str or None
        The token that clients must send. None generates one, which is kept in `data_dir`.
    limits : Limits
    concurrent_runs : int
        Maximum number of runs that train at the same time; by default 2, on a single core 1.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> StudioSettings(data_dir=Path("data"), public_url="studio.example.org")
    Traceback (most recent call last):
        ...
    ValueError: studio: the public URL is 'studio.example.org', expected https://NAME without a path
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8017
    public_url: str | None = None
    token: str | None = None
    limits: Limits = field(default_factory=Limits)
    concurrent_runs: int = field(default_factory=lambda: default_concurrent_runs())

    def __post_init__(self) -> None:
        whole("studio", "concurrent_runs", self.concurrent_runs)
        if whole("studio", "port", self.port, 0) > MOST_PORTS:
            raise ValueError(f"studio: port is {self.port}, expected 0 to {MOST_PORTS}")
        if split_address(self._address) is None:
            raise ValueError(f"studio: host is {self.host!r}, expected a name or an address")
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise ValueError(
                f"studio: the token has {len(self.token)} characters, expected 16 to 256 letters, "
                "digits or any of . _ ~ -"
            )
        if self.public_url is not None and split_address(self.public_url) is None:
            raise ValueError(
                f"studio: the public URL is {self.public_url!r}, expected https://NAME without a "
                "path"
            )

    @property
    def public(self) -> tuple[str, str, int]:
        """Scheme, host name and port of `origin`."""
        parts = split_address(self.public_url or self._address)
        assert parts is not None
        return parts

    @property
    def origin(self) -> str:
        """The public URL, or the address for a browser on this machine, without a slash."""
        scheme, host, port = self.public
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}" if port == PORTS[scheme] else f"{scheme}://{host}:{port}"

    @property
    def _address(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def database(self) -> Path:
        """The path of the database file."""
        return self.data_dir / "studio.db"

    @property
    def runs_dir(self) -> Path:
        """The folder of the run folders."""
        return self.data_dir / "runs"


def split_address(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host name and port of an address without a path; None if it is none.

    Examples
    --------
    >>> split_address("https://Studio.example.org/"), split_address("http://[::1]:8017")
    (('https', 'studio.example.org', 443), ('http', '::1', 8017))
    """
    found = ADDRESS.fullmatch(url.lower())
    if found is None or int(found["port"] or 0) > MOST_PORTS:
        return None
    port = int(found["port"]) if found["port"] else PORTS[found["scheme"]]
    return found["scheme"], found["address"] or found["name"], port


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


def default_concurrent_runs() -> int:
    """Return 2, or 1 on a single core."""
    return min(2, cores())


def default_data_dir() -> Path:
    """Return the platform's folder for user data."""
    import platformdirs

    return Path(platformdirs.user_data_dir("tinygrad-cnn", appauthor=False)) / "studio"
