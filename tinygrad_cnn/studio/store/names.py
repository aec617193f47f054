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

TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that set the direction of the text after them, also that of a page's own words."""

INVISIBLE = {0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0}
"""Fillers, which are letters and symbols by their category."""


def checked_name(name: str) -> str:
    """Return `name` if it can be stored, and shown on one line; raise ValueError otherwise.

    Nothing is escaped here; the page that shows the name does that.

    Examples
    --------
    >>> checked_name("<img onerror>")
    '<img onerror>'
    >>> checked_name("three" + chr(0))
    Traceback (most recent call last):
        ...
    ValueError: expected text on one line, found a control character (U+0000) at 5
    >>> checked_name(chr(0x200B) + chr(0x3164))
    Traceback (most recent call last):
        ...
    ValueError: expected at least one visible character
    """
    if len(name) > LONGEST_NAME:
        raise ValueError(f"expected at most {LONGEST_NAME} characters, found {len(name)}")
    for place, character in enumerate(name):
        found = FORBIDDEN.get(unicodedata.category(character))
        if ord(character) in TURNING:
            found = "a character that turns the direction of text"
        if found:
            raise ValueError(
                f"expected text on one line, found {found} (U+{ord(character):04X}) at {place}"
            )
    if not any(map(_is_visible, name)):
        raise ValueError("expected at least one visible character")
    return name


def _is_visible(character: str) -> bool:
    """Return whether a character has a form without another: marks and separators have none."""
    return unicodedata.category(character)[0] in "LNPS" and ord(character) not in INVISIBLE
