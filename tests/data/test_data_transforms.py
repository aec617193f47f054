"""Transforms: each against an independent oracle, and what all of them promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from tinygrad_cnn.data import (
    CenterCrop,
    ColorJitter,
    Compose,
    Elastic,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    Resize,
    Rotate,
    Shift,
    Transform,
)
from tinygrad_cnn.data.warp import sample, smooth

Array = NDArray[Any]

ALL: list[Transform] = [
    Normalize(0.5, 0.25),
    Shift(2),
    Rotate(30),
    Elastic(8, 2),
    RandomHorizontalFlip(),
    RandomVerticalFlip(0.4),
    ColorJitter(0.5, 0.5, 0.5, 0.2),
    RandomAffine(20, (0.2, 0.1), (0.8, 1.2), (-9, 9, 3, 5), fill=0.5),
    RandomErasing(0.9, value="random"),
    Compose([Shift(1), Rotate(10), RandomHorizontalFlip()]),
]
SIZED: list[Transform] = [
    Resize((6, 5)),
    Resize(4, "bicubic"),
    CenterCrop((3, 8)),
    RandomCrop(4, padding=1, pad_if_needed=True, fill=0.5),
]
SHAPES = st.tuples(st.integers(0, 4), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(*shape: int, dtype: Any = np.float64) -> Array:
    return rng(7).random(shape).astype(dtype)


def shifted_by_roll(image: Array, down: int, right: int) -> Array:
    """Roll (C, H, W) and blank what came round."""
    moved = np.roll(image, (down, right), axis=(1, 2))
    rows, columns = np.indices(image.shape[1:])
    stayed = [
        (n - by >= 0) & (n - by < size)
        for n, by, size in ((rows, down, image.shape[1]), (columns, right, image.shape[2]))
    ]
    return np.where(stayed[0] & stayed[1], moved, 0)


@pytest.mark.parametrize("transform", [*ALL, *SIZED], ids=repr)
@given(
    shape=SHAPES, dtype=st.sampled_from([np.uint8, np.float32, np.float64]), seed=st.integers(0, 9)
)
def test_dtype_is_kept_and_the_input_is_not_written_to(
    transform: Transform, shape: tuple[int, ...], dtype: Any, seed: int
) -> None:
    if isinstance(transform, Normalize) and dtype == np.uint8:
        dtype = np.float32
    images = noise(*shape) if dtype != np.uint8 else 255 * noise(*shape)
    images = images.astype(dtype)
    before = images.copy()
    images.flags.writeable = False
    result = transform(images, rng(seed))
    if transform not in SIZED:
        assert result.shape == images.shape
    assert result.dtype == dtype
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result, transform(images, rng(seed)))
    if result.size:  # a result of its own, which the next transform may write to
        assert result.flags.writeable
        result[...] = 0
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "transform",
    [
        each
        for each in (*ALL[1:], *SIZED)
        if not getattr(each, "fill", 0) and not isinstance(each, RandomErasing)
    ],
    ids=repr,
)
def test_uint8_is_computed_in_floats_and_rounded_once(transform: Transform) -> None:
    images = rng(3).integers(256, size=(5, 3, 9, 8), dtype=np.uint8)
    result = transform(images.astype(np.float32) / 255, rng(4)) * 255
    assert abs(transform(images, rng(4)) - result.clip(0, 255)).max() < 0.51


@pytest.mark.parametrize("transform", ALL[1:], ids=repr)
def test_each_image_of_a_batch_has_a_draw_of_its_own(transform: Transform) -> None:
    images = np.repeat(noise(1, 1, 9, 9), 20, axis=0)
    assert len(np.unique(transform(images, rng()).round(9), axis=0)) > 1


@pytest.mark.parametrize(
    "transform", [each for each in ALL[1:] if not isinstance(each, RandomErasing)], ids=repr
)
def test_the_channels_of_an_image_move_together(transform: Transform) -> None:
    images = np.repeat(noise(6, 1, 9, 9), 3, axis=1)
    result = transform(images, rng())
    np.testing.assert_array_equal(result, np.repeat(result[:, :1], 3, axis=1))


@pytest.mark.parametrize("transform", [*ALL[:-1], *SIZED], ids=repr)
def test_an_array_that_is_no_batch_of_images_is_refused(transform: Transform) -> None:
    name = type(transform).__name__
    for images in (noise(1, 28, 28), np.zeros((1, 1, 2, 2), np.int16), np.zeros(3), [0.0]):
        with pytest.raises(TypeError, match=f"^{name}: got .*; expected .*float64.* of shape"):
            transform(images, rng())


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_a_transform_reads_as_what_makes_it_and_cannot_be_changed(transform: Any) -> None:
    assert eval(repr(transform)) == transform
    with pytest.raises(AttributeError):
        transform.anything = 1


@given(hnp.arrays(np.float64, (3, 2, 4, 5), elements=st.floats(-9, 9)), st.integers(0, 6))
def test_every_shift_is_a_roll_with_zeros_by_at_most_max_pixels(images: Array, most: int) -> None:
    moves = range(-most, most + 1)
    for image, result in zip(images, Shift(most)(images, rng(1)), strict=True):
        candidates = [shifted_by_roll(image, down, right) for down in moves for right in moves]
        assert any(np.array_equal(result, candidate) for candidate in candidates)


def test_every_shift_up_to_max_pixels_comes_about_equally_often() -> None:
    images = np.zeros((25_000, 1, 5, 5))
    images[:, :, 2, 2] = 1
    counts = Shift(2)(images, rng()).sum(axis=(0, 1))
    assert counts.sum() == 25_000
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)  # five standard deviations


def test_a_shift_beyond_the_image_leaves_zeros() -> None:
    assert Shift(500)(np.ones((50, 1, 2, 2)), rng()).sum() < 50


@given(
    hnp.arrays(np.float64, (2, 2, 4, 5), elements=st.floats(-9, 9)),
    hnp.arrays(np.float64, (2, 2, 3, 6), elements=st.floats(-3, 8)),
)
def test_sampling_is_bilinear_with_zeros_outside(images: Array, places: Array) -> None:
    rows, columns = places
    expected = [
        [
            ndimage.map_coordinates(plane, place, order=1, mode="grid-constant", cval=0)
            for plane in image
        ]
        for image, place in zip(images, places.swapaxes(0, 1), strict=True)
    ]
    np.testing.assert_allclose(sample(images, rows, columns), expected, atol=1e-12)


def test_sampling_in_blocks_is_sampling_each_image_alone() -> None:
    images, places = noise(40, 2, 30, 30), 34 * noise(2, 40, 30, 30) - 2
    whole = sample(images, *places)  # several blocks
    for i in range(40):
        alone = sample(images[i : i + 1], *places[:, i : i + 1])
        np.testing.assert_array_equal(whole[i : i + 1], alone)


def test_sampling_far_away_gives_zeros_and_at_nan_is_refused() -> None:
    images, place = np.ones((1, 1, 2, 2)), np.zeros((1, 1, 4))
    far = np.array([[[-1e300, 1e300, np.inf, -np.inf]]])
    assert not sample(images, far, place).any()
    assert not sample(images, place, far).any()
    with pytest.raises(ValueError, match="a position is NaN"):
        sample(images, place, place * np.nan)
    with pytest.raises(ValueError, match="1 images but positions for 2"):
        sample(images, np.zeros((2, 1, 1)), np.zeros((2, 1, 1)))
    with pytest.raises(ValueError, match=r"expected \(B, C, H, W\) and twice"):
        sample(images, place, place[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(28, 28), (5, 8), (1, 7)])
def test_rotation_by_zero_and_bending_by_zero_are_the_identity(
    dtype: Any, size: tuple[int, int]
) -> None:
    images = noise(3, 2, *size, dtype=dtype)
    np.testing.assert_array_equal(Rotate(0)(images, rng()), images)
    np.testing.assert_array_equal(Elastic(0, 4)(images, rng()), images)


class Fixed(np.random.Generator):
    """A generator whose uniform draws are all the highest."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return np.full(size, high)


@pytest.mark.parametrize("degrees", [3, 15, 45, 90, 180])
@pytest.mark.parametrize("size", [(9, 9), (6, 9), (28, 28)])
def test_rotation_agrees_with_scipy(degrees: float, size: tuple[int, int]) -> None:
    images = noise(2, 2, *size)
    expected = ndimage.rotate(
        images, degrees, axes=(3, 2), reshape=False, order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(Rotate(degrees)(images, Fixed()), expected, atol=1e-9)


def test_rotation_by_90_degrees_turns_counter_clockwise() -> None:
    images = noise(2, 3, 8, 8)
    turned = Rotate(90)(images, Fixed())
    np.testing.assert_allclose(turned, np.rot90(images, axes=(2, 3)), atol=1e-12)


@given(
    hnp.arrays(np.float64, (2, 6, 9), elements=st.floats(-9, 9)),
    st.floats(0.2, 6).map(lambda sigma: round(sigma, 2)),
)
def test_smoothing_is_scipys_gaussian_filter_with_zeros_outside(
    fields: Array, sigma: float
) -> None:
    expected = ndimage.gaussian_filter(fields, (0, sigma, sigma), mode="constant")
    np.testing.assert_allclose(smooth(fields, sigma), expected, atol=1e-12)


def test_bending_is_simards_formula() -> None:
    images = noise(3, 2, 12, 10)
    uniform = 2 * rng(4).random((2, 3, 12, 10)) - 1
    down, right = 5 * ndimage.gaussian_filter(uniform, (0, 0, 1.5, 1.5), mode="constant")
    rows, columns = np.indices((12, 10))
    expected = [
        [
            ndimage.map_coordinates(plane, (rows + d, columns + r), order=1, mode="grid-constant")
            for plane in image
        ]
        for image, d, r in zip(images, down, right, strict=True)
    ]
    np.testing.assert_allclose(Elastic(5, 1.5)(images, rng(4)), expected, atol=1e-12)


def test_normalizing_subtracts_the_mean_and_divides_by_the_deviation_of_each_channel() -> None:
    images = noise(5, 3, 4, 4) * np.array([1, 2, 3])[:, None, None]
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    result = Normalize(tuple(mean), tuple(std))(images, rng())
    np.testing.assert_allclose(result.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(result.std(axis=(0, 2, 3)), 1)
    np.testing.assert_array_equal(Normalize(0.5, 2)(images, rng()), (images - 0.5) / 2)
    with pytest.raises(ValueError, match="have 3 channels; expected 2"):
        Normalize((0, 0), 1)(images, rng())


def test_normalizing_takes_its_channels_from_any_sequence() -> None:
    given_array: Any = np.array([0.25, 0.5])
    assert Normalize(given_array, 1) == Normalize((0.25, 0.5), 1)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flips_mirror_a_share_of_the_images(probability: float) -> None:
    columns = noise(20, 1, 2, 1)
    np.testing.assert_array_equal(
        RandomVerticalFlip(probability)(columns, rng()),
        RandomHorizontalFlip(probability)(columns.swapaxes(2, 3), rng()).swapaxes(2, 3),
    )
    images = noise(4000, 1, 1, 2)
    mirrored = (RandomHorizontalFlip(probability)(images, rng()) == images[..., ::-1]).all(
        axis=(1, 2, 3)
    )
    unchanged = (RandomHorizontalFlip(probability)(images, rng()) == images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored, ~unchanged)
    spread = np.sqrt(4000 * probability * (1 - probability))
    assert abs(mirrored.sum() - 4000 * probability) <= 5 * spread


def test_compose_applies_its_transforms_in_order_with_one_generator() -> None:
    images = noise(3, 1, 6, 6)
    one = rng(3)
    expected = Rotate(20)(Shift(2)(images, one), one)
    np.testing.assert_array_equal(Compose(Shift(2), Rotate(20))(images, rng(3)), expected)
    np.testing.assert_array_equal(Compose()(images, rng()), images)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        *[(Shift, (value,)) for value in (-1, 1.5, True, NAN)],
        *[(Rotate, (value,)) for value in (-1, NAN, INF)],
        *[(Elastic, value) for value in ((-1, 4), (NAN, 4), (34, 0), (34, -1), (34, INF))],
        *[
            (kind, (value,))
            for kind in (RandomHorizontalFlip, RandomVerticalFlip, RandomErasing)
            for value in (-0.1, 1.1, NAN)
        ],
        *[
            (kind, (value,))
            for kind in (Resize, CenterCrop, RandomCrop)
            for value in (0, (1, 2, 3))
        ],
        *[(Resize, (2, *value)) for value in (("cubic",), ("nearest", 1))],
        *[(RandomCrop, (2, *value)) for value in ((-1,), ((1, 2, 3),), (0, False, 0, "wrap"))],
        *[(ColorJitter, value) for value in ((-1,), ((2, 1),), (0, 0, 0, 0.6), ((0, 1, 2),))],
        *[(RandomAffine, (0, *value)) for value in (((0, 2),), (None, (0, 1)), (None, None, (1,)))],
        *[(RandomErasing, (1, *value)) for value in (((0, 2),), ((0, 1), (0, 1)))],
        (RandomErasing, (1, (0.1, 0.2), (0.5, 1), "noise")),
        (RandomErasing, (1, (0.1, 0.2), (0.5, 1), (1, NAN))),
        *[
            (Normalize, value)
            for value in ((0, 0), (0, -1), (NAN, 1), (0, INF), ((), 1), ((0, 0), (1, 1, 1)))
        ],
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_at_once(make: Any, arguments: Any) -> None:
    with pytest.raises(ValueError, match=f"^{make.__name__}: "):
        make(*arguments)


def test_compose_refuses_what_is_not_callable() -> None:
    with pytest.raises(TypeError, match="Compose: 3 is not callable"):
        Compose(Shift(1), 3)


@pytest.mark.parametrize("sigma", [0, -1, NAN, INF])
def test_smoothing_by_no_width_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="smooth: sigma is"):
        smooth(np.zeros((2, 2)), sigma)
