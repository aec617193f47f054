"""`read_image`: reads image files, for training and prediction alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.ink import SIDE, as_mnist
from tinygrad_cnn.support.modules import needs_extra

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "PREPARATIONS", "plain_picture", "read_image"]

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pbm", ".pgm", ".ppm"),
}
"""Supported formats by their Pillow names, and their file suffixes."""

IMAGE, OPAQUE, MNIST = PREPARATIONS = ("image", "image without alpha", "mnist")
"""Preparations of image files: see `read_image`."""

_GRAY = {"1", "L", "LA", "I", "F"}
_DEEP = {"I", "F"}
_PAPER = 230  # a picture on white has vanished if its darkest pixel is not below this


def read_image(
    path: str | os.PathLike[str],
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    preparation: str = IMAGE,
) -> NDArray[np.uint8]:
    """Read an image file as pixels.

    `image_folder` and ``tinygrad-cnn predict`` use this function; predict passes the channels, size
    and preparation used in training.

    Parameters
    ----------
    path : str or path-like
        A PNG, JPEG, WebP, BMP, GIF, TIFF or PPM file; only the first frame is read.
    channels : int, optional
        1 for gray, 3 for color; by default as in the file. Color is converted to gray by luma,
        gray to three equal channels.
    size : tuple (H, W), optional
        Scale to this size, bilinearly; by default as in the file.
    preparation : str
        "image" reads the picture rotated according to EXIF, with transparency on white (see
        `plain_picture`), 8 bits per channel. "image without alpha" ignores the transparency, as
        earlier versions did in training. "mnist" reads as "image", then finds the digit and
        prepares it as in MNIST (see `as_mnist`), always 1 channel of 28×28.

    Returns
    -------
    ndarray of uint8, shape (C, H, W)
        The pixels, 0 to 255.

    Raises
    ------
    DataError
        If the file is missing, damaged or of another format, its values are out of range, or
        it has no digit to prepare.
    ValueError
        If an argument is invalid.
    ModuleNotFoundError
        If ``Pillow`` is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "red.png")
    ...     Image.new("RGB", (6, 4), "red").save(file)
    ...     read_image(file).shape, read_image(file, channels=1, size=(2, 2)).tolist()
    ((3, 4, 6), [[[76, 76], [76, 76]]])
    """
    path = Path(path)
    if preparation not in PREPARATIONS:
        listed = ", ".join(map(repr, PREPARATIONS))
        raise ValueError(f"{path}: preparation is {preparation!r}; expected one of {listed}")
    if channels not in (None, 1, 3):
        raise ValueError(f"{path}: channels is {channels}; an image has 1 or 3")
    if preparation == MNIST:
        if channels == 3 or size not in (None, (SIDE, SIDE)):
            raise ValueError(
                f"{path}: channels is {channels} and size {size}; prepared as MNIST's digits, "
                f"an image has 1 channel of {SIDE}x{SIDE}"
            )
        gray = np.asarray(_opened(path, alpha=True).convert("L"), np.float64) / 255
        return as_mnist(gray, str(path))[np.newaxis]
    image = _opened(path, alpha=preparation == IMAGE)
    if channels == 1:
        image = image.convert("L")
    if size is not None and image.size != size[::-1]:
        import PIL.Image

        image = image.resize(size[::-1], PIL.Image.Resampling.BILINEAR)
    if channels == 3:
        image = image.convert("RGB")
    pixels: NDArray[np.uint8] = np.atleast_3d(np.asarray(image, np.uint8))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def plain_picture(picture: Image, longest: int | None = None, alpha: bool = True) -> Image:
    """Return a picture upright, without transparency, with 8 bits per channel.

    It is rotated according to EXIF. Transparency is blended onto white, or onto black if the
    picture would vanish on white (white ink on nothing). Gray values of 16 bits are divided by
    257, and floats in [0, 1] multiplied by 255.

    Parameters
    ----------
    picture : PIL.Image.Image
        Of any mode; its file must still be open.
    longest : int, optional
        The maximum of the longer side: a larger picture is scaled down.
    alpha : bool
        False ignores the transparency and keeps the colors under it.

    Returns
    -------
    PIL.Image.Image
        With mode "L" if the picture is gray, else "RGB".

    Raises
    ------
    DataError
        If it has floats outside [0, 1], or 32-bit integers, which have no defined range.
    OSError, ValueError, ...
        From Pillow, if the file is damaged.

    Examples
    --------
    >>> from PIL import Image
    >>> plain_picture(Image.new("RGBA", (40, 20)), longest=10)
    <PIL.Image.Image image mode=RGB size=10x5 at 0x...>
    """
    from PIL.ImageOps import exif_transpose

    if longest is not None:
        picture.draft(None, (longest, longest))  # JPEG decodes at a reduced size
    if picture.mode == "I" and picture.format == "TIFF":
        raise DataError("it has integers of 32 bits a pixel; expected 8 or 16, or floats")
    image: Image = exif_transpose(picture)
    mode = image.mode.partition(";")[0]  # "I;16" and "I;16B" as "I"
    if mode in _DEEP:
        image = _eight_bits(image)
    plain = "L" if mode in _GRAY else "RGB"
    transparent = image.has_transparency_data
    image = image.convert("RGBA" if transparent else plain)
    if longest is not None:
        image.thumbnail((longest, longest))
    if transparent and alpha:
        image = _on_paper(image)
    return image.convert(plain)


def _opened(path: Path, alpha: bool) -> Image:
    with needs_extra("data", "reading image files"):
        import PIL.Image
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with PIL.Image.open(path, formats=tuple(FORMATS)) as opened:
            return plain_picture(opened, alpha=alpha)
    except Exception as error:  # decoders raise any kind of error on damaged files
        raise DataError(f"{path}: cannot be read as an image: {error}") from error


def _eight_bits(image: Image) -> Image:
    """Convert 16-bit or float gray to "L", or to "LA" if one value is transparent."""
    import PIL.Image

    values = np.asarray(image)
    most = 1 if image.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= most):  # false for NaN
        raise DataError(
            f"its values run from {values.min()} to {values.max()}; expected 0 to {most}"
        )
    gray = PIL.Image.fromarray(np.rint(values * (255.0 / most)).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is None:
        return gray
    opacity = PIL.Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    merged: Image = PIL.Image.merge("LA", (gray, opacity))
    return merged


def _on_paper(image: Image) -> Image:
    """Blend an "RGBA" picture onto white or, if it would vanish there, onto black."""
    import PIL.Image

    white: Image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    if np.asarray(white.convert("L")).min() < _PAPER or not np.asarray(image)[..., 3].any():
        return white
    black: Image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image)
    return black
