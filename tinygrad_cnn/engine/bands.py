"""Bands: the rows of output, and the images, that one piece of work computes.

A band is what fits the cache of a core together with the input that it reads. Bands depend on
shapes alone, so that the result does not depend on who computes which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

CACHE = 1 << 21  # bytes: what a band may occupy
NARROWEST = 16  # images; fewer side by side make products slow
PARTS = 16  # at most, into which a sum over bands is split, so that several threads can add it up
PARTS_BYTES = 1 << 26  # that all the parts may occupy


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


@lru_cache(maxsize=1024)
def bands(rows: int, images: int, row_bytes: int) -> tuple[Band, ...]:
    """Return the bands of an output of which a row, for one image, occupies `row_bytes`.

    As many whole rows as fit, but two bands at least if they are not small, and an even number;
    where not even one row fits, fewer images at a time.
    """
    blocks = image_blocks(images, max(NARROWEST, CACHE // max(1, row_bytes)))
    row = (blocks[0][1] - blocks[0][0]) * row_bytes
    limit = min(CACHE, max(CACHE // 4, rows * row // 2))
    count = -(-rows // max(1, limit // max(1, row)))
    if 1 < count < rows:
        count += count % 2
    height = -(-rows // count)
    return tuple(
        Band(top, min(top + height, rows), first, last)
        for first, last in blocks
        for top in range(0, rows, height)
    )


def image_blocks(images: int, most: int) -> list[tuple[int, int]]:
    """Return the images in equal blocks of about `most`: halved until they are not much larger."""
    width = images
    while width > most and width >= 2 * NARROWEST:
        width = -(-width // 2)
    return [(first, min(first + width, images)) for first in range(0, images, max(1, width))]


def part_count(pieces: int, part_bytes: int) -> int:
    """Return into how many partial sums, of so many bytes each, to split a sum over `pieces`."""
    return max(1, min(PARTS, pieces, PARTS_BYTES // part_bytes))
