"""Bands: the rows of output, and the images, that one piece of work computes.

A band is what fits the cache of a core together with the input that it reads. Bands depend on
shapes alone, so that the result does not depend on who computes which.
"""

from __future__ import annotations

from dataclasses import dataclass

CACHE = 5 << 18  # bytes: what a band may occupy
NARROWEST = 16  # images; fewer side by side make products slow


@dataclass(frozen=True, slots=True)
class Band:
    """Rows ``top`` to ``bottom`` of the output, for images ``first`` to ``last``."""

    top: int
    bottom: int
    first: int
    last: int

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.bottom - self.top

    @property
    def images(self) -> int:
        """How many images."""
        return self.last - self.first


def bands(rows: int, images: int, row_bytes: int, cache: int = CACHE) -> list[Band]:
    """Return the bands of an output of which a row, for one image, occupies `row_bytes`.

    As many whole rows as fit; where not even one does, fewer images at a time.
    """
    width = images
    while width * row_bytes > cache and width >= 2 * NARROWEST:
        width = -(-width // 2)
    height = min(rows, max(1, cache // max(1, width * row_bytes)))
    height = -(-rows // -(-rows // height))  # as many bands, but equal ones
    return [
        Band(top, min(top + height, rows), first, min(first + width, images))
        for first in range(0, images, width)
        for top in range(0, rows, height)
    ]
