"""Images copied from one order of memory to the other, a block that fits the cache at a time.

Between (N, C, H, W) and (H, W, C, N) every copy reads or writes with long strides. NumPy goes
through the target in order; where the strides are powers of two, the values it fetches side by side
evict each other from the cache before they are used: 64×64×8×8 float32 take 0.8 ms. A block of few
pixels and all images is turned in 0.2 ms: copied in runs that are contiguous on the side with the
long strides, and turned within the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.engine.buffers import view
from tinygrad_cnn.engine.scratch import scratch

Array = NDArray[Any]

BLOCK = 256  # pixels of an image, its channels counted
WORTH = 1 << 17  # values from which on blocks pay


def images_last(images: Array, memory: Array) -> None:
    """Copy contiguous images (N, C, H, W) to `memory` (H, W, C, N)."""
    for channels, rows in _blocks(images.shape):
        block = images[:, channels, rows]
        near = scratch("near", block.shape, images.dtype)
        near[...] = block
        memory[rows, :, channels] = near.transpose(2, 3, 1, 0)


def images_first(memory: Array, images: Array) -> None:
    """Copy contiguous `memory` (H, W, C, N) to contiguous images (N, C, H, W)."""
    for channels, rows in _blocks(images.shape):
        block = images[:, channels, rows]
        near = scratch("near", (*block.shape[1:], len(block)), images.dtype)
        near[...] = memory[rows, :, channels].transpose(2, 0, 1, 3)
        # The pixels of a block lie side by side: rows of one channel, or all of several channels.
        pixels = view(block, (len(block), block[0].size))
        pixels[...] = near.reshape(pixels.shape[::-1]).T


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield channels and rows of blocks: whole channels, or rows of a single one."""
    _, channels, height, width = shape
    down = max(1, BLOCK // width)
    across = max(1, BLOCK // (height * width))
    for channel in range(0, channels, across):
        for row in range(0, height, down):
            yield slice(channel, channel + across), slice(row, row + down)
