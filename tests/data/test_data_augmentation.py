"""Resizing, crops, color, affine maps, erasing and mixing, each against an independent oracle."""

from __future__ import annotations

import colorsys
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy import ndimage

import tinygrad_cnn as tg
from tinygrad_cnn.data import (
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    DataLoader,
    MixUp,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    Resize,
)
from tinygrad_cnn.data.warp import resample
from tinygrad_cnn.train import fit

Array = NDArray[Any]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels(*shape: int) -> Array:
    return rng(5).integers(256, size=shape, dtype=np.uint8)


# --- Resize ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(7, 9), (40, 50), (11, 50), (100, 3), (23, 31)])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic", "nearest"])
def test_resizing_is_pillows(size: tuple[int, int], kind: str) -> None:
    images = rng(1).random((2, 1, 23, 31), np.float32)
    ours = Resize(size, kind)(images)
    method = Image.Resampling[kind.upper()]
    theirs = [np.asarray(Image.fromarray(image[0]).resize(size[::-1], method)) for image in images]
    np.testing.assert_allclose(ours[:, 0], theirs, atol=1e-6)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@given(size=st.integers(1, 40), smooth=st.booleans(), length=st.integers(1, 40))
def test_resizing_keeps_a_constant_and_the_inside_of_a_ramp(
    kind: str, size: int, smooth: bool, length: int
) -> None:
    ramp = np.stack([np.arange(length) / 8, np.ones(length)]).reshape(2, 1, 1, length)
    for images, axis in ((ramp, 3), (ramp.swapaxes(2, 3), 2)):
        shape = (1, size) if axis == 3 else (size, 1)
        line, constant = Resize(shape, kind, smooth)(images).reshape(2, size)
        np.testing.assert_allclose(constant, 1, atol=1e-12)
        places = (np.arange(size) + 0.5) * length / size - 0.5
        reach = (2 if kind == "bicubic" else 1) * max(1, length / size)
        inside = (places >= reach) & (places <= length - 1 - reach)
        if smooth and length > size and length % size:
            return  # the normalized taps of an uneven scale are not centered exactly
        np.testing.assert_allclose(line[inside], places[inside] / 8, atol=1e-12)


def test_resizing_an_integer_keeps_the_proportion() -> None:
    assert Resize(10)(pixels(2, 3, 20, 41)).shape == (2, 3, 10, 20)
    assert Resize(10)(pixels(2, 3, 41, 20)).shape == (2, 3, 20, 10)
    images = pixels(1, 3, 20, 41)
    np.testing.assert_array_equal(Resize(20)(images), images)


@pytest.mark.parametrize("size", [(64, 64), (64, 40), (150, 64), (33, 90)])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_resizing_confines_an_infinity_or_a_nan_to_the_reach_of_the_kernel(
    kind: str, antialias: bool, bad: float, size: tuple[int, int]
) -> None:
    images = rng(2).random((2, 3, 64, 64), np.float32) + 1
    images[1, 2, 20, 41] = 0
    expected = Resize(size, kind, antialias)(images)
    images[1, 2, 20, 41] = bad
    with np.errstate(all="raise"):
        found = Resize(size, kind, antialias)(images)
    near = []
    for to, place in zip(size, (20, 41), strict=True):
        reach = (2 if kind == "bicubic" else 1) * (max(1, 64 / to) if antialias else 1)
        near.append(abs((np.arange(to) + 0.5) * 64 / to - 0.5 - place) < reach)
        if to == 64:
            near[-1] = np.arange(64) == place
    changed = np.zeros(found.shape, bool)
    changed[1, 2] = np.outer(*near)
    np.testing.assert_array_equal(np.isnan(found) if np.isnan(bad) else np.isinf(found), changed)
    np.testing.assert_allclose(found[~changed], expected[~changed], rtol=1e-5)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic", "nearest"])
def test_resizing_to_the_same_size_keeps_every_bit(kind: str) -> None:
    floats = rng(3).standard_normal((2, 3, 40, 50), np.float32)
    floats[0, 1, 7, 8:11] = np.inf, -np.inf, np.nan
    for images in (floats, floats.astype("f8"), pixels(2, 3, 40, 50)):
        for antialias in (True, False):
            with np.errstate(all="raise"):
                both = Resize((40, 50), kind, antialias)(images)
                inner = resample(images, (40, 50), kind, antialias)
            for resized in (both, inner):
                assert resized.dtype == images.dtype
                assert not np.shares_memory(resized, images)
                np.testing.assert_array_equal(resized, images)


@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_a_long_axis_needs_no_dense_matrix(antialias: bool) -> None:
    line = np.zeros((1, 1, 1, 12_000), np.uint8)
    tracemalloc.start()
    try:
        Resize((1, 6_000), "bicubic", antialias)(line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12_000 * 6_000 / 4  # bytes; the matrix of float64 has 576 MB


# --- crops -----------------------------------------------------------------------------------


def test_a_center_crop_takes_the_middle_and_pads_with_zeros() -> None:
    images = pixels(2, 3, 6, 8)
    np.testing.assert_array_equal(CenterCrop((2, 4))(images), images[:, :, 2:4, 2:6])
    np.testing.assert_array_equal(CenterCrop((6, 8))(images), images)
    larger = CenterCrop(9)(images)
    np.testing.assert_array_equal(larger[:, :, 1:7, :8], images)
    assert larger.sum() == images.sum()


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.sampled_from([0, 2, (1, 3), (1, 2, 3, 0)]),
    st.sampled_from(["constant", "edge", "symmetric"]),
)
def test_a_random_crop_is_a_window_of_the_padded_image(
    size: tuple[int, int], padding: Any, mode: str
) -> None:
    images = pixels(8, 2, 5, 4)
    result = RandomCrop(size, padding, True, 9, mode)(images, rng())
    left, top, right, bottom = (
        np.broadcast_to(padding, 4)
        if np.ndim(padding) == 0
        else (tuple(padding) * (4 // len(padding)))
    )
    sides = [[top, bottom], [left, right]]
    for axis in (0, 1):
        lacking = max(0, size[axis] - images.shape[2 + axis] - sum(sides[axis]))
        sides[axis] = [side + lacking for side in sides[axis]]
    options: Any = {"constant_values": 9} if mode == "constant" else {}
    padded = np.pad(images, ((0, 0), (0, 0), *sides), mode, **options)  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(2, 3))
    for image, window in zip(result, windows, strict=True):
        candidates = np.moveaxis(window, 0, 2)
        assert (candidates == image).all(axis=(2, 3, 4)).any()


def test_every_place_of_a_random_crop_is_equally_likely() -> None:
    images = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4).repeat(12_000, axis=0)
    counts = np.bincount(RandomCrop(1)(images, rng()).ravel().astype(int))
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    with pytest.raises(ValueError, match=r"images are 3x4 .* smaller than the size 4x4"):
        RandomCrop(4)(images)


def test_a_flip_twice_is_the_identity() -> None:
    images = pixels(9, 3, 4, 5)
    flip = RandomHorizontalFlip(0.5)
    assert (flip(images, rng()) != images).any()
    np.testing.assert_array_equal(flip(flip(images, rng()), rng()), images)


# --- color -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_a_factor_of_color_is_pillows(name: str, enhance: Any, factor: float) -> None:
    images = pixels(3, 3, 6, 7)
    ours = ColorJitter(**{name: (factor, factor)})(images, rng())
    for image, result in zip(images, ours, strict=True):
        theirs = enhance(Image.fromarray(image.transpose(1, 2, 0))).enhance(factor)
        assert abs(result.transpose(1, 2, 0) - np.asarray(theirs, int)).max() <= 2  # they truncate


def test_a_hue_is_turned_as_in_colorsys() -> None:
    images = np.concatenate([rng().random((2, 3, 4, 5)), np.full((1, 3, 4, 5), 0.5)])
    for turn in (-0.5, -0.3, 0.0, 0.1, 0.5):
        ours = ColorJitter(hue=(turn, turn))(images, rng()).transpose(0, 2, 3, 1).reshape(-1, 3)
        for pixel, result in zip(images.transpose(0, 2, 3, 1).reshape(-1, 3), ours, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            np.testing.assert_allclose(
                result, colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), atol=1e-12
            )


def test_color_is_the_identity_at_1_and_gray_has_no_color() -> None:
    images = rng().random((3, 3, 4, 5))
    np.testing.assert_array_equal(ColorJitter()(images, rng()), images)
    np.testing.assert_allclose(ColorJitter(hue=1e-9)(images, rng()), images, atol=1e-7)
    gray = images[:, :1]
    np.testing.assert_array_equal(ColorJitter(0, 0, 0.5, 0.5)(gray, rng()), gray)
    with pytest.raises(TypeError, match="2 channels; expected 1"):
        ColorJitter(0.5)(images[:, :2])


def test_steps_of_color_come_in_every_order() -> None:
    images = np.full((400, 3, 1, 2), [[[0.2, 0.9]]])
    both = ColorJitter(brightness=(2, 2), contrast=(0.5, 0.5))(images, rng())
    results = np.unique(both.reshape(400, -1)[:, :2].round(6), axis=0)
    # 2 x and clipped, then nearer to the mean; or the other way around
    np.testing.assert_allclose(results, [[0.55, 0.85], [0.75, 1.0]], atol=1e-3)


# --- affine maps -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("angle", "factor", "shear"), [(90, 1, (0, 0)), (25, 1.3, (0, 0)), (-10, 0.8, (12, -7))]
)
def test_an_affine_map_is_scipys(angle: float, factor: float, shear: tuple[float, float]) -> None:
    images = rng().random((2, 2, 9, 12))
    transform = RandomAffine(
        (angle, angle), None, (factor, factor), (shear[0], shear[0], shear[1], shear[1])
    )
    turn, across, down = np.radians([angle, *shear])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    # torchvision shears along y, then x: both act on (x, y)
    along_y, along_x = [[1, 0], [-np.tan(down), 1]], [[1, -np.tan(across)], [0, 1]]
    matrix = factor * rotation @ np.array(along_y) @ np.array(along_x)
    backward = np.linalg.inv(matrix)[::-1, ::-1]  # (x, y) to (row, column)
    center = np.array([4.0, 5.5])
    expected = [
        [
            ndimage.affine_transform(
                plane, backward, center - backward @ center, order=1, mode="grid-constant"
            )
            for plane in image
        ]
        for image in images
    ]
    np.testing.assert_allclose(transform(images, rng()), expected, atol=1e-9)


def test_an_affine_map_of_nothing_is_the_identity_and_shifts_are_whole_pixels() -> None:
    images = rng().random((50, 1, 6, 10))
    np.testing.assert_array_equal(RandomAffine(0, (0, 0), (1, 1), 0)(images, rng()), images)
    moved = RandomAffine(0, translate=(0.2, 0.5), fill=7)(images, rng())
    shifts = set()
    for image, result in zip(images[:, 0], moved[:, 0], strict=True):
        padded = np.pad(image, 10, constant_values=7)
        found = [
            (down, right)
            for down in range(-3, 4)
            for right in range(-2, 3)
            if np.allclose(padded[10 - down : 16 - down, 10 - right : 20 - right], result)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 15


# --- erasing ---------------------------------------------------------------------------------


def test_a_rectangle_of_the_right_area_and_ratio_is_erased() -> None:
    images = np.ones((300, 3, 40, 50), np.float32)
    erased = RandomErasing(0.5, (0.1, 0.2), (0.5, 2), (-1, -2, -3))(images, rng())
    gone = erased[:, 0] != 1
    np.testing.assert_array_equal(
        erased, np.where(gone[:, None], np.array([-1, -2, -3])[:, None, None], 1)
    )
    changed = gone.any(axis=(1, 2))
    assert 110 < changed.sum() < 190
    for mask in gone[changed]:
        rows, columns = mask.any(axis=1).sum(), mask.any(axis=0).sum()
        assert mask.sum() == rows * columns
        assert 0.09 < mask.mean() < 0.21
        assert 0.45 < rows / columns < 2.2
    noisy = RandomErasing(1, (0.3, 0.3), value="random")(pixels(4, 3, 20, 20) * 0, rng())
    assert len(np.unique(noisy)) > 100
    whole = images[:, :, :1]  # no rectangle fits
    np.testing.assert_array_equal(RandomErasing(1)(whole, rng()), whole)
    with pytest.raises(ValueError, match="3 channels; value has 2"):
        RandomErasing(1, value=(1, 2))(images)


# --- mixing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [MixUp(num_classes=5), CutMix(alpha=0.5, num_classes=5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_labels_are_mixed_as_the_pixels_are(mix: Any, dtype: Any) -> None:
    labels = np.arange(40) % 5
    images = np.broadcast_to(labels[:, None, None, None] * 40, (40, 1, 8, 6)).astype(dtype)
    mixed, rows = mix((images, labels), rng())
    assert mixed.dtype == dtype
    assert rows.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    assert ((rows > 0).sum(axis=1) <= 2).all()
    assert ((rows > 0).sum(axis=1) == 2).mean() > 0.4
    mean = (rows * np.arange(5) * 40).sum(axis=1)
    np.testing.assert_allclose(
        mixed.mean(axis=(1, 2, 3)), mean, atol=0.51 if dtype == np.uint8 else 1e-4
    )
    if isinstance(mix, CutMix):
        assert set(np.unique(mixed)) <= set(np.unique(images))
    again = mix((images, labels), rng())
    np.testing.assert_array_equal(again[0], mixed)
    np.testing.assert_array_equal(again[1], rows)
    twice = Compose(mix, mix)((images, labels), rng())
    np.testing.assert_allclose(twice[1].sum(axis=1), 1, rtol=1e-6)


def test_a_loader_mixes_and_fit_trains_on_the_rows() -> None:
    labels = np.arange(64) % 2
    images = (labels[:, None, None, None] * 200 + pixels(64, 1, 4, 4) // 8).astype(np.uint8)
    mix = MixUp(alpha=0.4, num_classes=2)
    loader = DataLoader((images, labels), 16, shuffle=True, batch_transform=mix)
    batch, rows = next(iter(loader))
    assert (batch.dtype, rows.shape) == (np.float32, (16, 2))
    assert "batch_transform=MixUp(alpha=0.4, num_classes=2)" in repr(loader)
    model = tg.nn.MLP((16, 2), rng=rng())
    optimizer = tg.optim.Adam(model.parameters(), lr=0.05)
    history = fit(
        model,
        tg.cross_entropy,
        optimizer,
        loader,
        epochs=5,
        validation=DataLoader((images, labels)),
    )
    assert np.isnan(history[-1].accuracy)
    assert history[-1].validation_accuracy > 0.95
    both = DataLoader(
        (images, labels), 16, shuffle=True, transform=RandomHorizontalFlip(), batch_transform=mix
    )
    plain = DataLoader((images, labels), 16, shuffle=True, transform=RandomHorizontalFlip())
    first, second = next(iter(both)), next(iter(plain))
    assert first[0].shape == second[0].shape
    whole = DataLoader({"x": images}, 16, batch_transform=lambda batch, rng: len(batch["x"]))
    assert next(iter(whole)) == 16


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (
            np.zeros((2, 1, 2, 2)),
            TypeError,
            "MixUp: got a ndarray; expected a batch (images, labels)",
        ),
        (
            (np.zeros((2, 1, 2, 2)), np.zeros(2)),
            TypeError,
            "MixUp: labels are float64 of shape (2,)",
        ),
        ((np.zeros((2, 1, 2, 2)), np.array([0, 1])), ValueError, "expected num_classes="),
        ((np.zeros((2, 4)), np.array([0, 1])), TypeError, "MixUp: got float64 of shape (2, 4)"),
    ],
)
def test_a_batch_that_cannot_be_mixed_is_refused(
    batch: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        MixUp()(batch)
    with pytest.raises(ValueError, match="CutMix: alpha is 0"):
        CutMix(alpha=0)
