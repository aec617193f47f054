"""Image files as the command line reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tinygrad_cnn.cli.pictures import read_picture
from tinygrad_cnn.data import DataError, as_mnist, digits
from tinygrad_cnn.train import DataSettings

SOME = digits().test.images[::40, 0]


def settings(shape: tuple[int, ...], classes: int = 10) -> DataSettings:
    names = tuple(str(i) for i in range(classes))
    ones = (1.0,) * shape[0]
    return DataSettings(source="x", name="x", classes=names, input_shape=shape, mean=ones,
                        std=ones, training_images=1, test_images=1)  # fmt: skip


def large(digit: NDArray[np.uint8], side: int = 280) -> NDArray[np.float64]:
    image = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image) / 255


def apart(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def as_modes(digit: NDArray[np.uint8]) -> dict[str, Image.Image]:
    """The same digit in all ways that a PNG or JPEG can hold it."""
    grey = Image.fromarray((large(digit) * 255).astype(np.uint8))
    black = Image.new("L", grey.size, 0)
    white = Image.new("L", grey.size, 255)
    inverted = Image.eval(grey, lambda v: 255 - v)
    sixteen = np.asarray(grey).astype(np.uint16) * 257
    return {
        "grey.png": grey,
        "inverted.png": inverted,
        "grey.jpg": grey,
        "colour.png": grey.convert("RGB"),
        "colour.jpg": grey.convert("RGB"),
        "cmyk.jpg": grey.convert("RGB").convert("CMYK"),
        "palette.png": grey.convert("P"),
        "bits16.png": Image.fromarray(sixteen),
        "black-on-clear.png": Image.merge("LA", (black, grey)),
        "white-on-clear.png": Image.merge("RGBA", (white, white, white, grey)),
        "opaque.png": Image.merge("RGBA", (grey, grey, grey, white)),
        "blue-on-yellow.png": Image.merge("RGB", (inverted, inverted, white)),
    }


@pytest.mark.parametrize("name", as_modes(SOME[0]))
def test_a_digit_is_the_same_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    digit = SOME[7]
    as_modes(digit)[name].save(tmp_path / name)
    result = read_picture(tmp_path / name, settings((1, 28, 28)))
    assert result.shape == (1, 28, 28)
    assert result.dtype == np.uint8
    assert apart(result[0], digit) < 12.0


def test_exif_turns_a_picture_upright(tmp_path: Path) -> None:
    upright = Image.fromarray((large(SOME[7]) * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "lying.jpg", exif=exif, quality=95)
    result = read_picture(tmp_path / "lying.jpg", settings((1, 28, 28)))
    assert apart(result[0], as_mnist(np.asarray(upright) / 255, "x")) < 4.0


def test_other_models_get_the_picture_as_it_is_stretched(tmp_path: Path) -> None:
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[:15] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    colour = read_picture(tmp_path / "a.png", settings((3, 8, 10)))
    assert colour.shape == (3, 8, 10)
    assert colour[:, 0, 0].tolist() == [200, 100, 50]
    assert colour[:, -1, -1].tolist() == [0, 0, 0]
    grey = read_picture(tmp_path / "a.png", settings((1, 28, 28), classes=3))
    assert grey.shape == (1, 28, 28)
    assert grey[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "there is no such file"),
        (lambda path: path.write_bytes(b""), "cannot be read as an image: "),
        (lambda path: path.write_text("not an image"), "cannot be read as an image: "),
        (lambda path: path.write_bytes(png()[:60]), "cannot be read as an image: "),
        (lambda path: Image.new("L", (40, 40), 255).save(path), "is blank"),
        (lambda path: Image.new("RGBA", (40, 40)).save(path), "is blank"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(DataError, match=r"a\.png: ") as raised:
        read_picture(path, settings((1, 28, 28)))
    assert says in str(raised.value)


def test_a_model_of_two_channels_takes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the model takes 2 channels; an image has 1 or 3"):
        read_picture(tmp_path / "a.png", settings((2, 28, 28)))


def png() -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(SOME[0]).save(file, "png")
    return file.getvalue()
