"""The page's Content-Security-Policy: only the page's own scripts and styles are allowed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

__all__ = ["content_security_policy"]


def content_security_policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Return the policy that allows only these scripts and styles, by hash.

    Parameters
    ----------
    scripts, styles : iterable of str
        The exact texts of the elements, whitespace included.

    Examples
    --------
    >>> content_security_policy(["f()"], ["p {}"])
    "default-src 'none'; script-src 'sha256-...='; style-src 'sha256-...='; img-src data:; ..."
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(scripts)}",
            f"style-src {_hashes(styles)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hashes(texts: Iterable[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in dict.fromkeys(texts))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
