"""Image files as the command line reads them: as the images of the training were read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.image_files import KINDS, random_rgba, write

import tinygrad_cnn as tg
from tinygrad_cnn.cli.inputs import read_picture
from tinygrad_cnn.data import (
    DataError,
    DataLoader,
    Split,
    as_mnist,
    digits,
    image_folder,
    load,
    write_idx,
)
from tinygrad_cnn.train import (
    DataSettings,
    ModelSettings,
    RunSettings,
    TrainedModel,
    TrainingSettings,
    evaluate,
)

SOME = digits().test.images[::40, 0]


def settings(shape: tuple[int, ...], classes: int = 10, preparation: str = "image") -> DataSettings:
    names = tuple(str(i) for i in range(classes))
    ones = (1.0,) * shape[0]
    return DataSettings(source="x", name="x", classes=names, input_shape=shape, mean=ones,
                        std=ones, training_images=1, test_images=1,
                        preparation=preparation)  # fmt: skip


MNIST = settings((1, 28, 28), preparation="mnist")


def large(digit: NDArray[np.uint8], side: int = 280) -> NDArray[np.float64]:
    image = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image) / 255


def apart(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def as_modes(digit: NDArray[np.uint8]) -> dict[str, Image.Image]:
    """The same digit in all ways that a PNG or JPEG can hold it."""
    gray = Image.fromarray((large(digit) * 255).astype(np.uint8))
    black = Image.new("L", gray.size, 0)
    white = Image.new("L", gray.size, 255)
    inverted = Image.eval(gray, lambda v: 255 - v)
    sixteen = np.asarray(gray).astype(np.uint16) * 257
    return {
        "gray.png": gray,
        "inverted.png": inverted,
        "gray.jpg": gray,
        "color.png": gray.convert("RGB"),
        "color.jpg": gray.convert("RGB"),
        "cmyk.jpg": gray.convert("RGB").convert("CMYK"),
        "palette.png": gray.convert("P"),
        "bits16.png": Image.fromarray(sixteen),
        "black-on-clear.png": Image.merge("LA", (black, gray)),
        "white-on-clear.png": Image.merge("RGBA", (white, white, white, gray)),
        "opaque.png": Image.merge("RGBA", (gray, gray, gray, white)),
        "blue-on-yellow.png": Image.merge("RGB", (inverted, inverted, white)),
    }


@pytest.mark.parametrize("name", as_modes(SOME[0]))
def test_a_digit_is_the_same_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    digit = SOME[7]
    as_modes(digit)[name].save(tmp_path / name)
    result = read_picture(tmp_path / name, MNIST)
    assert result.shape == (1, 28, 28)
    assert result.dtype == np.uint8
    assert apart(result[0], digit) < 12.0


def test_exif_turns_a_picture_upright(tmp_path: Path) -> None:
    upright = Image.fromarray((large(SOME[7]) * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "lying.jpg", exif=exif, quality=95)
    result = read_picture(tmp_path / "lying.jpg", MNIST)
    assert apart(result[0], as_mnist(np.asarray(upright) / 255, "x")) < 4.0


def test_other_models_get_the_picture_as_it_is_stretched(tmp_path: Path) -> None:
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[:15] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    color = read_picture(tmp_path / "a.png", settings((3, 8, 10)))
    assert color.shape == (3, 8, 10)
    assert color[:, 0, 0].tolist() == [200, 100, 50]
    assert color[:, -1, -1].tolist() == [0, 0, 0]
    gray = read_picture(tmp_path / "a.png", settings((1, 28, 28), classes=3))
    assert gray.shape == (1, 28, 28)
    assert gray[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


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
        read_picture(path, MNIST)
    assert says in str(raised.value)


def test_a_model_of_two_channels_takes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the model takes 2 channels; an image has 1 or 3"):
        read_picture(tmp_path / "a.png", settings((2, 28, 28)))


# --- what a model was trained with -------------------------------------------------------------


def assert_predicted_as_evaluated(split: Split, source: str, files: list[Path]) -> None:
    """Compare what a model gives for the files of the test images and for those images."""
    data = DataSettings.of(split, source)
    size = int(np.prod(data.input_shape))
    layers = tg.nn.Linear(size, len(data.classes), rng=np.random.default_rng(0))
    model = tg.nn.Sequential(tg.nn.Flatten(), layers)
    training = TrainingSettings()
    run = TrainedModel(
        model, RunSettings(data=data, model=ModelSettings(name="mlp"), training=training)
    )
    outputs = []

    def loss(logits: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        outputs.append(tg.softmax(logits).data)
        return tg.cross_entropy(logits, labels)

    evaluate(model, DataLoader(split.test, None, transform=data.normalize()), loss)
    pixels = np.stack([read_picture(path, data) for path in files])
    np.testing.assert_array_equal(pixels, split.test.images)
    np.testing.assert_array_equal(run.probabilities(pixels), outputs[0])


kinds = st.sampled_from(list(KINDS))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(kinds, kinds, sizes, st.none() | sizes, st.sampled_from([None, True, False]),
       st.integers(0, 2**32), st.integers(1, 4))  # fmt: skip
@example("L.png", "RGBA.png", (5, 4), None, None, 0, 1)
@example("LA.png", "L.png", (5, 4), None, None, 0, 1)
@example("LA.png", "P-alpha.png", (9, 7), (4, 6), None, 0, 3)
@example("RGB.png", "L.png", (28, 28), None, True, 0, 2)
@example("I;16.png", "F.tif", (9, 7), (28, 28), False, 0, 4)
def test_a_file_of_a_folder_gives_what_evaluating_its_image_gives(
    first: str,
    second: str,
    file_size: tuple[int, int],
    size: tuple[int, int] | None,
    grayscale: bool | None,
    seed: int,
    orientation: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for part in ("train", "test"):
            for i, kind in enumerate((first, second)):
                path = Path(folder, part, str(i), "0" + kind.replace(";", ""))
                write(path, KINDS[kind](random_rgba(seed + i, *file_size)), orientation)
                files.append(path)
        split = image_folder(folder, size, grayscale)
        assert_predicted_as_evaluated(split, folder, files[2:])


@pytest.mark.parametrize("kind", ["digits", "idx", "npz", "npz, color"])
def test_a_file_of_an_array_gives_what_evaluating_its_image_gives(
    tmp_path: Path, kind: str
) -> None:
    some = Split(digits().train[:10], digits().test[::100])
    if kind == "digits":
        source, split = "digits", some
    else:
        source = str(tmp_path / "set.npz")
        shape = (20, 3, 5, 6) if "color" in kind else (20, 28, 28)
        images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
        labels = np.tile(np.arange(10, dtype=np.uint8), 2)  # named as MNIST's
        np.savez(source, x_train=images, y_train=labels, x_test=images, y_test=labels)
        if kind == "idx":
            source = str(tmp_path)
            for part in ("train", "t10k"):
                write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
                write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
        split = load(source)
    files = []
    for i, image in enumerate(split.test.images):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(files[-1])
    assert_predicted_as_evaluated(split, source, files)


def test_only_digits_are_prepared_as_mnist_unless_asked(tmp_path: Path) -> None:
    page = Image.fromarray(255 - SOME[0]).resize((60, 60))
    page.save(tmp_path / "a.png")
    plain = read_picture(tmp_path / "a.png", settings((1, 28, 28)))
    np.testing.assert_array_equal(plain[0], page.resize((28, 28), Image.Resampling.BILINEAR))
    asked = read_picture(tmp_path / "a.png", settings((1, 28, 28)), "mnist")
    np.testing.assert_array_equal(asked[0], as_mnist(np.asarray(page) / 255, "x"))
    with pytest.raises(ValueError, match="prepared as MNIST's digits, an image has 1 channel"):
        read_picture(tmp_path / "a.png", settings((3, 28, 28)), "mnist")


def png() -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(SOME[0]).save(file, "png")
    return file.getvalue()
