"""The reader of image files: every mode and format against colors that NumPy computes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.image_files import EXACT, Held, random_rgba, write

from tinygrad_cnn.data import DataError, as_mnist, digits, image_folder, plain_picture, read_image

Array = NDArray[Any]
LUMA = [0.299, 0.587, 0.114]
sides = st.integers(1, 9)


def on_paper(held: Held) -> Array:
    """Return the colors 0 to 255, on white or, where nothing would be seen, on black."""
    if held.opacity is None:
        return held.colors * 255
    opacity = held.opacity if held.colors.ndim == 2 else held.opacity[..., None]
    ink, gap = 255 * held.colors * opacity, 255 * (1 - opacity)
    gray = ink + gap if held.colors.ndim == 2 else (ink + gap) @ LUMA
    darkest = gray.min()
    assume(abs(darkest - 230) > 1)
    return ink if darkest > 230 and opacity.any() else ink + gap


@given(st.sampled_from(list(EXACT)), st.integers(0, 2**32), sides, sides)
@example("LA.png", 0, 3, 4)
@example("RGBA.png", 0, 3, 4)
@example("I;16-one-clear.png", 0, 3, 4)
def test_every_kind_of_file_gives_the_colors_that_it_holds(
    kind: str, seed: int, height: int, width: int
) -> None:
    held = EXACT[kind](random_rgba(seed, height, width))
    expected = on_paper(held)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, kind.replace(";", ""))
        write(path, held)
        pixels = read_image(path)
        gray, color = (read_image(path, channels) for channels in (1, 3))
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((1, height, width) if expected.ndim == 2 else (3, height, width))
    near = 0.5 if held.opacity is None else 1.01  # Pillow rounds opacity, too
    np.testing.assert_allclose(np.moveaxis(pixels, 0, -1).squeeze(-1) if expected.ndim == 2
                               else np.moveaxis(pixels, 0, -1), expected, atol=near)  # fmt: skip
    luma = np.tensordot(LUMA, color.astype(float), axes=1)
    np.testing.assert_allclose(gray[0], luma, atol=0.51)
    np.testing.assert_array_equal(color, np.broadcast_to(pixels, color.shape))


@given(st.integers(0, 2**32), sides, sides)
def test_one_picture_is_the_same_in_every_mode_that_can_hold_it(
    seed: int, height: int, width: int
) -> None:
    rgba = random_rgba(seed, height, width)
    rgba[..., 1:3], rgba[..., 3] = rgba[..., :1], 255
    with tempfile.TemporaryDirectory() as folder:
        for kind in EXACT:
            if "one-clear" not in kind and kind[0] not in "1P":
                path = Path(folder, kind.replace(";", ""))
                write(path, EXACT[kind](rgba))
                np.testing.assert_array_equal(read_image(path, 1)[0], rgba[..., 0], err_msg=kind)


UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["L.png", "RGBA.png", "P.png", "I;16.png", "RGBA.webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_is_turned_upright_as_its_exif_says(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    held = EXACT[kind](random_rgba(3, 4, 6))
    path = tmp_path / kind.replace(";", "")
    write(path, held)
    lying = np.moveaxis(read_image(path), 0, -1)
    write(path, held, orientation)
    turned = np.moveaxis(read_image(path), 0, -1)
    np.testing.assert_array_equal(turned, UPRIGHT[orientation](lying))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (128, 255), (229, 255), (255, 0), (240, 0)])
def test_ink_on_nothing_is_seen_whatever_its_color(
    tmp_path: Path, mode: str, ink: int, paper: int
) -> None:
    for i in range(2):
        picture = Image.new(mode, (6, 5), (ink,) * (len(mode) - 1) + (0,))
        picture.paste((ink,) * (len(mode) - 1) + (255,), (1, 1, 3, 4))
        (tmp_path / "a").mkdir(exist_ok=True)
        picture.save(tmp_path / "a" / f"{i}.png")
    expected = np.full((5, 6), paper)
    expected[1:4, 1:3] = ink
    for image in image_folder(tmp_path).train.images[0]:
        np.testing.assert_array_equal(image, expected)


def test_a_color_that_is_as_bright_as_paper_is_seen_in_gray() -> None:
    picture = Image.new("RGBA", (6, 5))
    picture.paste((255, 255, 128, 255), (1, 1, 3, 4))  # a luma of 240
    assert np.ptp(np.asarray(plain_picture(picture).convert("L"))) > 200


def test_a_picture_of_nothing_is_white_paper() -> None:
    assert np.asarray(plain_picture(Image.new("RGBA", (2, 2)))).min() == 255


def test_transparency_is_ignored_only_when_asked(tmp_path: Path) -> None:
    rgba = random_rgba(5, 4, 6)
    for kind in ("RGBA.png", "RGBA.webp"):
        write(tmp_path / kind, EXACT[kind](rgba))
        pixels = read_image(tmp_path / kind, preparation="image without alpha")
        np.testing.assert_array_equal(np.moveaxis(pixels, 0, -1), rgba[..., :3])


@pytest.mark.parametrize(
    ("values", "suffix", "says"),
    [
        (np.float32([[0.0, 1.5]]), "tif", r"its values run from 0\.0 to 1\.5; expected 0 to 1$"),
        (np.float32([[-1.0, 0.5]]), "tif", r"its values run from -1\.0 to 0\.5; expected 0 to 1$"),
        (np.float32([[np.nan, 0.5]]), "tif", "its values run from nan to nan; expected 0 to 1$"),
        (np.int32([[7, 9]]), "tif", "it has integers of 32 bits a pixel; expected 8 or 16"),
    ],
)
def test_values_of_no_known_range_are_refused(
    tmp_path: Path, values: Array, suffix: str, says: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=rf"a\.{suffix}: cannot be read as an image: {says}"):
        read_image(path)


def test_a_file_of_another_format_is_refused_by_both(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "a.png"
    Image.new("L", (16, 16)).save(path, "ICO")
    for read in (lambda: read_image(path), lambda: image_folder(tmp_path)):
        with pytest.raises(DataError, match=r"a\.png: cannot be read as an image"):
            read()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"channels": 2}, "channels is 2; an image has 1 or 3"),
        ({"preparation": "x"}, "preparation is 'x'; expected one of 'image', "),
        ({"preparation": "mnist", "channels": 3}, "an image has 1 channel of 28x28"),
        ({"preparation": "mnist", "size": (32, 32)}, r"size \(32, 32\); prepared as MNIST's"),
    ],
)
def test_a_reading_that_cannot_be_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.png: .*{says}"):
        read_image("a.png", **arguments)


def test_a_folder_of_digits_can_be_prepared_as_mnist(tmp_path: Path) -> None:
    digit = digits().test.images[3, 0]
    page = Image.fromarray(255 - digit).resize((90, 90))
    for i in range(2):
        write(tmp_path / "a" / f"{i}.png", Held(page, np.asarray(page)))
    train = image_folder(tmp_path, preparation="mnist").train
    assert train.preparation == "mnist"
    expected = as_mnist(np.asarray(page) / 255, "x")
    np.testing.assert_array_equal(train.images, expected[None, None])
