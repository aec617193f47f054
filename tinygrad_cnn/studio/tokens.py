"""The token that clients send, and the cookie that a browser keeps instead."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tinygrad_cnn.studio.store.private import make_private
from tinygrad_cnn.support.files import atomic_write

__all__ = ["Credentials"]

BYTES = 32
_creating = Lock()  # first requests may come at once; other processes are kept out of the folder


class Credentials(NamedTuple):
    """What a client may present.

    The cookie is derived from a secret key and from the token: it cannot be guessed even if the
    token is weak, and a new token ends the old cookies.

    Attributes
    ----------
    token : str
        For people: in the address, and in the header ``Authorization``.
    cookie : str
        For a browser that has sent the token once.
    """

    token: str
    cookie: str

    @classmethod
    def of(cls, data_dir: Path, token: str | None = None) -> Credentials:
        """Return the credentials of a data folder.

        They stay the same when the server restarts: its open pages keep working.

        Parameters
        ----------
        data_dir : Path
            Keeps the secret key, in a file that only its owner can read; created if missing.
        token : str, optional
            None derives one from the key.
        """
        key = _key(data_dir / "studio.key")
        token = token or _derived(key, "token")
        return cls(token, _derived(key, f"cookie {token}"))


def _derived(key: bytes, purpose: str) -> str:
    return hmac.digest(key, purpose.encode(), "sha256").hex()


def _key(path: Path) -> bytes:
    with _creating:
        make_private(path)
        if not path.stat().st_size:
            with atomic_write(path) as file:
                file.write(secrets.token_hex(BYTES).encode())
    key = path.read_bytes()
    if len(key) != 2 * BYTES:
        raise OSError(f"{path}: has {len(key)} characters, expected {2 * BYTES}: delete it")
    return key
