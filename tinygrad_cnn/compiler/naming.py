"""ValueNames of values in the source of a step."""

from __future__ import annotations

import keyword
import re


class ValueNames:
    """Gives each value a Python name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def numbered(self, letter: str) -> str:
        """Return the next name with this letter, such as "y3"."""
        while True:
            self._counts[letter] = self._counts.get(letter, 0) + 1
            name = f"{letter}{self._counts[letter]}"
            if name not in self._taken:
                self._taken.add(name)
                return name

    def unique(self, wanted: str) -> str:
        """Return `wanted` as a Python name, with a number where it is taken."""
        name = re.sub(r"\W+", "_", wanted).strip("_") or "value"
        name = f"_{name}" if name[0].isdigit() else name
        if name in self._taken or keyword.iskeyword(name):
            count = 2
            while f"{name}_{count}" in self._taken:
                count += 1
            name = f"{name}_{count}"
        self._taken.add(name)
        return name
