"""`Interval`: a distance in steps or in seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinygrad_cnn.support.arguments import whole

__all__ = ["Interval"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Interval:
    """The distance between two checkpoints, in steps or in seconds.

    Examples
    --------
    >>> Interval.parse("train", "5m")
    Interval(steps=None, seconds=300.0)
    >>> Interval.parse("train", 500).due(steps=500, seconds=7.0)
    True
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, owner: str, value: int | str | None) -> Interval:
        """Return the interval of a number of steps, or of a time such as "60s", "5m" or "1h"."""
        if value is None:
            return cls()
        if isinstance(value, str):
            text = value.strip()
            found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
            if found is not None and float(found[1]) > 0:
                return cls(seconds=float(found[1]) * UNITS[found[2]])
            if not text.isdecimal():
                raise ValueError(
                    f"{owner} is {value!r}, expected a number of steps, or a time such as 60s, "
                    "5m or 1h"
                )
            value = int(text)
        *called, name = owner.split(": ")
        return cls(steps=whole(": ".join(called), name, value))

    def due(self, steps: int, seconds: float) -> bool:
        """Return whether the interval has passed."""
        return (self.steps is not None and steps >= self.steps) or (
            self.seconds is not None and seconds >= self.seconds
        )
