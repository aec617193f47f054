"""Pictures in every mode and format that an image file can have, and the colors that it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


class Held(NamedTuple):
    """A picture to save, and what its file will hold: colors and opacity from 0 to 1."""

    image: Image.Image
    colors: Array  # (H, W) if gray, else (H, W, 3)
    opacity: Array | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  # read only


def _gray(array: Array) -> Held:
    return Held(Image.fromarray(array), array / 255)


def _key(array: Array, key: Any, clear: Array, held: Array) -> Held:
    return Held(Image.fromarray(array), held, 1.0 - clear, {"transparency": key})


def _palette(rgba: Array, alpha: str = "") -> Held:
    """A picture whose 256 colors are those of the first pixels, over and over."""
    table = np.resize(rgba.reshape(-1, 4), (256, 4))
    index = rgba[..., 0]
    image = Image.fromarray(index)
    image.putpalette(table[:, :3].tobytes())
    colors = table[index][..., :3] / 255
    if alpha == "each":
        return Held(image, colors, table[index][..., 3] / 255, {"transparency": bytes(table[:, 3])})
    if alpha == "one":
        key = int(index[0, 0])
        return Held(image, colors, 1.0 - (index == key), {"transparency": key})
    return Held(image, colors)


def _cmyk(rgba: Array) -> Held:
    inks = np.concatenate([255 - rgba[..., :3], np.zeros_like(rgba[..., :1])], axis=-1)
    return Held(Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()), rgba[..., :3] / 255)


def _merged(mode: str, rgba: Array) -> Held:
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(rgba, -1, 0)]
    colors, opacity = rgba[..., :3] / 255, rgba[..., 3] / 255
    if mode == "LA":
        return Held(Image.merge("LA", [bands[0], bands[3]]), colors[..., 0], opacity)
    options = {"lossless": True, "exact": True}  # for WebP; other formats ignore them
    return Held(Image.merge("RGBA", bands), colors, opacity, options)


def _deep(array: Array, dtype: Any = np.uint16) -> Held:
    return Held(Image.fromarray(array.astype(dtype) * 257), array / 255)


def _rgb(rgba: Array) -> Held:
    colors = np.ascontiguousarray(rgba[..., :3])
    return Held(Image.fromarray(colors), colors / 255)


def _bits(rgba: Array) -> Held:
    white = rgba[..., 0] > 127
    return Held(Image.fromarray(white), white.astype(float))


def _one(rgba: Array) -> Held:
    gray = rgba[..., 0]
    return _key(gray, int(gray[0, 0]), gray == gray[0, 0], gray / 255)


def _one_deep(rgba: Array) -> Held:
    deep = rgba[..., 0].astype(np.uint16) * 257
    return _key(deep, int(deep[0, 0]), deep == deep[0, 0], deep / 65535)


def _one_color(rgba: Array) -> Held:
    colors = np.ascontiguousarray(rgba[..., :3])
    clear = (colors == colors[0, 0]).all(axis=-1)
    return _key(colors, tuple(map(int, colors[0, 0])), clear, colors / 255)


def _floats(rgba: Array) -> Held:
    held = rgba[..., 0] / 255
    return Held(Image.fromarray(held.astype(np.float32)), held)


EXACT: dict[str, Callable[[Array], Held]] = {
    "1.png": _bits,
    "1.tif": _bits,
    "1.pbm": _bits,
    **{f"L.{end}": lambda rgba: _gray(rgba[..., 0]) for end in ("png", "bmp", "tif", "pgm")},
    "L-one-clear.png": _one,
    "LA.png": lambda rgba: _merged("LA", rgba),
    "LA.tif": lambda rgba: _merged("LA", rgba),
    "P.png": _palette,
    "P.tif": _palette,
    "P-one-clear.png": lambda rgba: _palette(rgba, "one"),
    "P-alpha.png": lambda rgba: _palette(rgba, "each"),
    **{f"RGB.{end}": _rgb for end in ("png", "bmp", "tiff", "ppm")},
    "RGB-one-clear.png": _one_color,
    **{f"RGBA.{end}": lambda rgba: _merged("RGBA", rgba) for end in ("png", "tif", "webp")},
    "CMYK.tif": _cmyk,
    "I;16.png": lambda rgba: _deep(rgba[..., 0]),
    "I;16.tif": lambda rgba: _deep(rgba[..., 0]),
    "I.pgm": lambda rgba: _deep(rgba[..., 0], np.int32),
    "I;16-one-clear.png": _one_deep,
    "F.tif": _floats,
}
"""By name and suffix, functions of random RGBA bytes (H, W, 4): kinds that lose nothing."""

LOSSY: dict[str, Callable[[Array], Held]] = {
    "P.gif": lambda rgba: _palette(rgba, "one"),
    "L.jpg": EXACT["L.png"],
    "RGB.jpeg": _rgb,
    "CMYK.jpg": _cmyk,
    "RGB.webp": _rgb,
}
"""Kinds whose files hold other colors than they were given."""

KINDS = {**EXACT, **LOSSY}


def write(path: Path, held: Held, orientation: int = 1) -> None:
    """Save a picture, with the EXIF orientation if the format has one."""
    options = dict(held.options)
    if orientation != 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    held.image.save(path, **options)


def random_rgba(seed: int, height: int, width: int) -> Array:
    """Return random bytes (H, W, 4), the opacity 0 or 255 more often than not."""
    rng = np.random.default_rng(seed)
    rgba = rng.integers(256, size=(height, width, 4), dtype=np.uint8)
    rgba[..., 3] = rng.choice([0, 0, 255, 255, rng.integers(256)], size=(height, width))
    return rgba
