"""Sets of one's own: folders of images and NumPy archives; and `load`, which takes them all."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, Split, image_folder, load, npz, write_idx

Image = pytest.importorskip("PIL.Image", reason="needs the extra data")

Array = NDArray[Any]


def save(path: Path, pixels: Any, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


def number(value: int, *shape: int) -> Array:
    return np.full(shape or (3, 4), value, np.uint8)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Ten dogs, 0 to 9, and five cats, 100 to 104, all gray."""
    for i in range(10):
        save(tmp_path / "pets" / "dog" / f"{i}.png", number(i))
    for i in range(5):
        save(tmp_path / "pets" / "cat" / f"{i}.PNG", number(100 + i))
    return tmp_path / "pets"


def together(split: Split) -> dict[int, str]:
    """Map the first pixel of every image to its class."""
    return {
        int(image[0, 0, 0]): part.classes[label]
        for part in split.parts().values()
        for image, label in zip(part.images, part.labels, strict=True)
    }


def test_a_folder_of_images_gives_every_image_its_class_split_80_to_20(pets: Path) -> None:
    split = image_folder(pets)
    assert split.train.classes == ("cat", "dog")
    assert np.bincount(split.train.labels).tolist() == [4, 8]
    assert np.bincount(split.test.labels).tolist() == [1, 2]
    assert split.train.images.shape == (12, 1, 3, 4)
    assert split.train.name == "pets"
    expected = dict.fromkeys(range(10), "dog") | {100 + i: "cat" for i in range(5)}
    assert together(split) == expected
    np.testing.assert_array_equal(split.test.images, image_folder(pets, seed=0).test.images)


def test_hidden_files_and_files_of_other_kinds_are_passed_over(pets: Path) -> None:
    (pets / "README.md").write_text("about")
    (pets / "dog" / "notes.txt").write_text("about")
    (pets / "dog" / "._0.png").write_bytes(b"not an image")
    (pets / ".cache").mkdir()
    save(pets / "__MACOSX" / "dog" / "._0.png", number(7))
    assert len(together(image_folder(pets))) == 15


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    for part, value in (("train", 0), ("test", 50)):
        for i in range(3):
            save(tmp_path / part / "a" / f"{i}.png", number(value + i))
            save(tmp_path / part / "b" / f"{i}.png", number(value + 10 + i))
    split = image_folder(tmp_path)
    assert split.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert split.test.images[:, 0, 0, 0].tolist() == [50, 51, 52, 60, 61, 62]
    assert split.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    (tmp_path / "test" / "b").rename(tmp_path / "test" / "c")
    with pytest.raises(DataError, match=r"train has the classes \('a', 'b'\) but test has"):
        image_folder(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_is_a_part_or_the_test_set(tmp_path: Path, name: str) -> None:
    for part, value in (("train", 0), (name, 50), ("test", 90)):
        for i in range(2):
            save(tmp_path / part / "a" / f"{i}.png", number(value + i))
    split = image_folder(tmp_path)
    assert split.validation is not None
    assert [part.images[:, 0, 0, 0].tolist() for part in split.parts().values()] == [
        [0, 1],
        [90, 91],
        [50, 51],
    ]
    with pytest.raises(DataError, match="has a validation set of 2 images already"):
        split.with_validation(0.5)
    shutil.rmtree(tmp_path / "test")
    split = image_folder(tmp_path)
    assert (split.test.images[:, 0, 0, 0].tolist(), split.validation) == ([50, 51], None)
    save(tmp_path / "valid" / "b" / "0.png", number(1))
    save(tmp_path / "val" / "b" / "0.png", number(1))
    with pytest.raises(DataError, match="has the folders val and valid"):
        image_folder(tmp_path)


def test_a_train_folder_alone_is_split_and_may_be_a_class(tmp_path: Path, pets: Path) -> None:
    pets.rename(tmp_path / "train")
    split = image_folder(tmp_path)
    assert (len(split.train), len(split.test), split.train.classes) == (12, 3, ("cat", "dog"))
    for i in range(2):
        save(tmp_path / "vehicles" / "train" / f"{i}.png", number(i))
        save(tmp_path / "vehicles" / "bus" / f"{i}.png", number(i))
    assert image_folder(tmp_path / "vehicles").train.classes == ("bus", "train")


@pytest.mark.parametrize("suffix", ["webp", "bmp", "gif", "tif", "tiff", "JPG", "ppm"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    for i in range(2):
        save(tmp_path / "a" / f"{i}.{suffix}", number(100, 8, 8))
    assert abs(image_folder(tmp_path).train.images.astype(int) - 100).max() <= 1


def test_load_scales_and_converts_the_images_of_a_folder_only(pets: Path, tmp_path: Path) -> None:
    assert load(pets, size=6, grayscale=False).train.images.shape[1:] == (3, 6, 6)
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=LABELS)
    assert load(tmp_path / "set.npz", size=(5, 6), grayscale=True).train.images.shape[1:] == (
        1,
        5,
        6,
    )
    for options, says in (
        ({"size": 6}, "expected 6x6;"),
        ({"grayscale": False}, "expected 5x6 in color;"),
    ):
        with pytest.raises(DataError, match=f"has images of 1x5x6, {says} only the images of a"):
            load(tmp_path / "set.npz", **options)  # type: ignore[arg-type]


def test_color_is_three_channels_and_gray_among_it_three_equal_ones(tmp_path: Path) -> None:
    colors = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for i in range(2):
        save(tmp_path / "color" / f"{i}.png", colors)
        save(tmp_path / "gray" / f"{i}.png", number(9))
    train = image_folder(tmp_path).train
    np.testing.assert_array_equal(train.images[0], colors.transpose(2, 0, 1))
    np.testing.assert_array_equal(train.images[1], number(9, 3, 3, 4))
    assert image_folder(tmp_path, grayscale=True).train.images.shape == (2, 1, 3, 4)
    assert image_folder(tmp_path, grayscale=False).train.images.shape == (2, 3, 3, 4)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3)]
)
def test_every_8_bit_mode_is_read(tmp_path: Path, mode: str, channels: int) -> None:
    for i in range(2):
        save(tmp_path / "a" / f"{i}.png", number(255, 3, 4, 3), mode)
    images = image_folder(tmp_path).train.images
    assert images.shape == (1, channels, 3, 4)
    assert (images == 255).all()


def test_jpeg_is_read_and_turned_upright_as_its_exif_says(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    for name in ("0.jpg", "1.jpeg"):
        Image.fromarray(number(70, 8, 16)).save(tmp_path / "a" / name, exif=exif)
    images = image_folder(tmp_path).train.images
    assert images.shape == (1, 1, 16, 8)
    assert abs(images.astype(int) - 70).max() < 3


def test_differing_sizes_are_refused_unless_a_size_is_given(pets: Path) -> None:
    save(pets / "dog" / "big.png", number(7, 6, 8))
    message = (
        r"big.png: is 6x8 but .*0.PNG is 3x4 \(HxW\); give size=\(H, W\), or --size HxW on the"
    )
    with pytest.raises(DataError, match=message):
        image_folder(pets)
    split = image_folder(pets, size=(2, 5))
    assert split.train.images.shape[1:] == (1, 2, 5)
    assert together(split)[7] == "dog"


@pytest.mark.parametrize("size", [(0, 4), (3, -1), (3,)])
def test_a_size_that_is_none_is_refused(pets: Path, size: Any) -> None:
    with pytest.raises(ValueError, match=r"size is .*; expected"):
        image_folder(pets, size=size)


def test_a_damaged_image_is_named(pets: Path) -> None:
    path = pets / "dog" / "5.png"
    whole = path.read_bytes()
    for content in (b"", b"not an image", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(f"{path}: cannot be read as an image")):
            image_folder(pets)


def test_an_empty_class_a_folder_with_none_and_no_folder_are_refused(pets: Path) -> None:
    (pets / "emu").mkdir()
    with pytest.raises(
        DataError, match=re.escape(f"{pets / 'emu'}: has no image; expected .bmp, ")
    ):
        image_folder(pets)
    with pytest.raises(DataError, match="emu: has no folder in it; expected one per class"):
        image_folder(pets / "emu")
    with pytest.raises(DataError, match="nothing: is not a folder"):
        image_folder(pets / "nothing")


def test_without_pillow_the_error_says_how_to_install_it(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "PIL.Image")
    with pytest.raises(ModuleNotFoundError, match="reading image files needs the module 'PIL") as e:
        image_folder(pets)
    assert 'pip install "tinygrad_cnn[data]"' in str(e.value)


IMAGES = np.random.default_rng(0).integers(256, size=(10, 5, 6), dtype=np.uint8)
LABELS = np.arange(10) % 2


def test_an_archive_with_keras_names_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    labels = LABELS.astype(np.uint8)
    np.savez(path, x_train=IMAGES[:6], y_train=labels[:6], x_test=IMAGES[6:], y_test=labels[6:])
    split = npz(path)
    np.testing.assert_array_equal(split.train.images[:, 0], IMAGES[:6])
    np.testing.assert_array_equal(split.test.labels, LABELS[6:])
    assert split.train.classes == ("0", "1")
    assert split.train.name == "set"


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ([1, 2, 3], [1], "no training image has the label 0: 1 of the 4 classes, 0 to 3, cannot"),
        ([0, 2, 2], [2], "no training image has the label 1: 1 of the 3 classes"),
        ([0, 1, 0], [2], "no training image has the label 2: 1 of the 3 classes"),
        (
            [9, 9, 9],
            [9],
            "no training image has the label 0, 1, 2, 3, 4, ...: 9 of the 10 classes, 0 to 9",
        ),
    ],
)
def test_classes_without_a_training_image_are_said(
    tmp_path: Path, idx_files: Path, train: list[int], test: list[int], says: str
) -> None:
    path = tmp_path / "set.npz"
    images = IMAGES[: len(train)], IMAGES[: len(test)]
    np.savez(path, x_train=images[0], y_train=train, x_test=images[1], y_test=test)
    with pytest.warns(UserWarning, match=re.escape(f"{path}: {says}")) as warned:
        split = npz(path)
    assert len(warned) == 1
    assert split.train.classes == tuple(map(str, range(max(train + test) + 1)))
    for part, labels in (("train", np.resize(train, 20)), ("t10k", np.resize(test, 10))):
        write_idx(idx_files / f"{part}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    with pytest.warns(UserWarning, match=re.escape(f"{idx_files}: {says}")):
        load(idx_files)


def test_labels_that_skip_a_number_are_said_before_they_are_split(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=IMAGES, labels=LABELS * 2)
    with pytest.warns(UserWarning, match=r"the label 1: 1 of the 3 classes"):
        npz(path)


def test_an_archive_of_images_and_labels_is_split_80_to_20_by_class(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=np.repeat(IMAGES[:, None], 3, axis=1), labels=LABELS / 1)
    split = npz(path)
    assert split.train.images.shape == (8, 3, 5, 6)
    assert np.bincount(split.test.labels).tolist() == [1, 1]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_shapes_that_keras_saves_are_read_as_ours(tmp_path: Path, channels: int) -> None:
    images = np.random.default_rng(0).integers(256, size=(10, 7, 6, channels), dtype=np.uint8)
    ours = images.transpose(0, 3, 1, 2)
    for name, pixels, labels in (("keras", images, LABELS[:, None]), ("ours", ours, LABELS)):
        np.savez(
            tmp_path / name, x_train=pixels, y_train=labels, x_test=pixels[:5], y_test=labels[:5]
        )
    keras = npz(tmp_path / "keras.npz")
    np.testing.assert_array_equal(keras.train.images, ours)
    np.testing.assert_array_equal(keras.test.images, ours[:5])
    np.testing.assert_array_equal(keras.train.labels, LABELS)
    np.testing.assert_array_equal(npz(tmp_path / "ours.npz").train.images, ours)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_become_the_nearest_uint8(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "set.npz"
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(path, images=(levels / 255).astype(dtype), labels=np.zeros(4, int))
    split = npz(path)
    read = np.concatenate([split.train.images, split.test.images])
    np.testing.assert_array_equal(np.sort(read, None), np.arange(256))


FLOATS = IMAGES / 255


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "holds images; expected x_train, y_train, x_test, y_test, or images"),
        ({}, "holds nothing; expected"),
        ({"images": IMAGES[0], "labels": LABELS}, "images has shape (5, 6); expected (N, H, W), "),
        ({"images": IMAGES.astype(int), "labels": LABELS}, "images is of int64; expected uint8"),
        ({"images": FLOATS * 2, "labels": LABELS}, "images is 1"),
        ({"images": FLOATS - 1, "labels": LABELS}, "images is -"),
        ({"images": FLOATS * np.nan, "labels": LABELS}, "images is nan at (0, 0, 0, 0); expected"),
        ({"images": IMAGES, "labels": LABELS[1:]}, "10 images but 9 labels"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels[0] is -1; expected an integer"),
        ({"images": IMAGES, "labels": LABELS + 0.5}, "labels[0] is 0.5; expected an integer"),
        ({"images": IMAGES, "labels": LABELS + 2**40}, "labels[0] is 1099511627776; expected"),
        ({"images": IMAGES, "labels": IMAGES}, "labels has shape (10, 5, 6); expected (N,) or"),
        ({"images": FLOATS.astype(">f4"), "labels": LABELS + 1j}, "labels are of dtype complex128"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "arrays of objects are refused"),
    ],
)
def test_an_archive_that_is_no_set_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=re.escape(message)):
        npz(path)


def test_what_is_no_archive_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 1
    for content in (b"", b"not an archive", whole[:100], whole[:-10], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(f"{path}: cannot be read as a .npz archive")):
            npz(path)
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 20 + whole[120:])  # inside a compressed array
    with pytest.raises(DataError, match=r"cannot be read as a .npz archive"):
        npz(path)
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(DataError, match="holds a single array"):
        npz(path)


def test_load_takes_every_kind_of_source(pets: Path, idx_files: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive.NPZ"
    with archive.open("wb") as file:
        np.savez(file, images=IMAGES, labels=LABELS)
    assert len(load("digits").train) == 10_000
    assert len(load(idx_files).train) == 20
    assert len(load(str(pets)).train) == 12
    assert len(load(archive).train) == 8
    assert load("digits").test.preparation == "mnist"
    for source in (idx_files, pets, archive):
        assert load(source).train.preparation == "image"
        assert load(source, "image without alpha").test.preparation == "image without alpha"


def test_load_takes_the_published_sets_by_name(
    idx_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idx_files.rename(idx_files.with_name("fashion-mnist"))
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(idx_files.parent))
    assert load("fashion-mnist").train.classes[9] == "Ankle boot"
    assert load("fashion-mnist").train.preparation == "image"
    with pytest.raises(DataError, match="a folder 'mnist'"):
        load("mnist")


def test_load_lists_what_is_possible(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    for source, came in (
        ("minst", "not a known name or an existing path"),
        (tmp_path, "a folder without IDX files or class folders"),
        (tmp_path / "x.csv", "not a .npz file"),
    ):
        with pytest.raises(
            DataError, match=f"^load: .* is {came}; expected 'digits', 'european-digits', 'mnist', "
        ) as e:
            load(source)
        assert "folder of images per class, an archive of CIFAR, or a .npz file" in str(e.value)
