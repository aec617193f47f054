"""A picture of any kind as plain grey or colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.errors import require

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["plain_picture"]


def plain_picture(picture: Image, longest: int | None = None) -> Image:
    """Return a picture upright, without transparency, of 8 bits a channel.

    It is turned as its EXIF says; what is transparent becomes the opposite of what is drawn: black
    under light strokes, else white; values of more than 8 bits are stretched from their lowest
    to their highest.

    Parameters
    ----------
    picture : PIL.Image.Image
        Of any mode; its file must still be open.
    longest : int, optional
        The longer side of the result at most: a larger picture is scaled down.

    Returns
    -------
    PIL.Image.Image
        Of mode "L" or "RGB".

    Raises
    ------
    OSError, ValueError, ...
        Whatever Pillow raises if the file is damaged.

    Examples
    --------
    >>> from PIL import Image
    >>> plain_picture(Image.new("RGBA", (40, 20)), longest=10)
    <PIL.Image.Image image mode=RGB size=10x5 at 0x...>
    """
    pillow: Any = require("PIL.Image", "reading image files")
    operations: Any = require("PIL.ImageOps", "reading image files")
    if longest is not None:
        picture.draft(None, (longest, longest))  # what JPEG can leave out need not be decoded
    image: Image = operations.exif_transpose(picture)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a pixel, or more
        image = pillow.fromarray(_stretched(np.asarray(image, np.float32)))
    transparent = image.has_transparency_data
    image = image.convert("RGBA" if transparent else "L" if image.mode in ("1", "L") else "RGB")
    if longest is not None:
        image.thumbnail((longest, longest))
    return _on_ground(image, pillow) if transparent else image


def _stretched(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return values of any range as 0 to 255."""
    low, high = pixels.min(), pixels.max()
    scaled: NDArray[np.uint8] = np.rint((pixels - low) * (255 / max(high - low, 1e-12))).astype(
        np.uint8
    )
    return scaled


def _on_ground(image: Image, pillow: Any) -> Image:
    """Lay a picture on black if what it shows is light, else on white."""
    pixels = np.asarray(image, np.float64)
    alpha = pixels[..., 3]
    light = alpha.sum() > 0 and (pixels[..., :3].mean(axis=-1) * alpha).sum() / alpha.sum() > 127.5
    ground = pillow.new("RGBA", image.size, "black" if light else "white")
    laid: Image = pillow.alpha_composite(ground, image).convert("RGB")
    return laid
