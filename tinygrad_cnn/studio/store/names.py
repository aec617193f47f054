"""Names of models, drawings and runs."""

from __future__ import annotations

import unicodedata

__all__ = ["LONGEST_NAME", "checked_name"]

LONGEST_NAME = 120
FORBIDDEN = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair",
    "Zl": "a line break",
    "Zp": "a line break",
}
"""Unicode categories of characters that do not fit on a line or cannot be encoded in UTF-8."""


def checked_name(name: str) -> str:
    """Return `name` if it can be stored and shown on one line; raise ValueError otherwise.

    Nothing is escaped here; the page that shows the name does that.

    Examples
    --------
    >>> checked_name("<img onerror>")
    '<img onerror>'
    >>> checked_name("three" + chr(0))
    Traceback (most recent call last):
        ...
    ValueError: name: holds a control character, U+0000 at 5
    """
    if not name.strip():
        raise ValueError(f"name: is {name!r}, expected a name")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"name: has {len(name)} characters, expected at most {LONGEST_NAME}")
    for place, character in enumerate(name):
        category = unicodedata.category(character)
        if category in FORBIDDEN:
            raise ValueError(
                f"name: holds {FORBIDDEN[category]}, U+{ord(character):04X} at {place}"
            )
    return name
