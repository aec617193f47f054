"""Bands: the output rows and images that one piece of work computes.

A band and the input it reads fit the cache of a core. Bands depend only on shapes, so the result
does not depend on which thread computes which band.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

CACHE = 1 << 21  # bytes: the maximum size of a band
NARROWEST = 16  # columns of a product, images or pixels; products of fewer are slow
SMALL_PRODUCT = 1_000_000  # multiply-adds; up to here OpenBLAS does not pack
SHORTEST = 64  # values summed by a product; shorter products are not faster
PARTS = 16  # maximum partial sums of a sum over bands, so that several threads can compute it
PARTS_BYTES = 1 << 26  # bytes: the maximum size of all partial sums


@dataclass(frozen=True, slots=True)
class Band:
    """Rows ``top`` to ``bottom`` of the output, for images ``first`` to ``last``."""

    top: int
    bottom: int
    first: int
    last: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.bottom - self.top

    @property
    def images(self) -> int:
        """The number of images."""
        return self.last - self.first


@lru_cache(maxsize=1024)
def bands(rows: int, images: int, row_bytes: int) -> tuple[Band, ...]:
    """Return the bands of an output with `row_bytes` bytes per row and image.

    A band has as many rows as fit, but large outputs have at least two bands, and an even number.
    If one row does not fit, a band has fewer images.
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
    """Split the images into equal blocks of about `most`, by repeated halving."""
    width = images
    while width > most and width >= 2 * NARROWEST:
        width = -(-width // 2)
    return [(first, min(first + width, images)) for first in range(0, images, max(1, width))]


def part_count(pieces: int, part_bytes: int) -> int:
    """Return the number of partial sums, of `part_bytes` each, for a sum over `pieces`."""
    return max(1, min(PARTS, pieces, PARTS_BYTES // part_bytes))


@lru_cache(maxsize=1024)
def small_products(length: int, multiply_adds: int, shortest: int) -> int:
    """Return the number of equal parts of an axis that make products small; 1 if none does."""
    for count in range(1, length // shortest + 1):
        if length % count == 0 and length // count * multiply_adds <= SMALL_PRODUCT:
            return count
    return 1
