"""Pictures of digits, prepared as MNIST was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tinygrad_cnn.data import DataError, as_mnist, digits

TEST = digits().test
SOME = TEST.images[::40, 0]


def large(digit: NDArray[np.uint8], side: int = 280) -> NDArray[np.float64]:
    image = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image) / 255


def apart(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_mnists_own_digits_are_left_as_they_are() -> None:
    for digit in TEST.images[:, 0]:
        np.testing.assert_array_equal(as_mnist(digit / 255, "x"), digit)


@pytest.mark.parametrize("move", [(-2, 0), (0, 2), (3, 3)])
def test_a_digit_that_is_not_centered_does_not_pass_for_mnists_own(move: tuple[int, int]) -> None:
    for digit in SOME:
        moved = np.roll(digit, move, axis=(0, 1))
        assert (as_mnist(moved / 255, "x") != moved).any()


@pytest.mark.parametrize("digit", SOME[::10])
def test_dark_on_light_is_light_on_dark(digit: NDArray[np.uint8]) -> None:
    page = large(digit)
    np.testing.assert_array_equal(as_mnist(page, "x"), as_mnist(1.0 - page, "x"))


@given(st.integers(0, len(SOME) - 1), st.integers(0, 300), st.integers(0, 300),
       st.floats(0.3, 1.0), st.floats(0.0, 1.0))  # fmt: skip
def test_place_ground_and_strength_of_the_ink_do_not_matter(
    which: int, top: int, left: int, contrast: float, ground: float
) -> None:
    digit = large(SOME[which], side=100)
    ground *= 1.0 - contrast
    page = np.full((400, 400), ground)
    page[top : top + 100, left : left + 100] += contrast * digit[: 400 - top, : 400 - left]
    assert apart(as_mnist(page, "x"), as_mnist(digit, "x")) < 1.0


@given(st.integers(0, len(SOME) - 1), st.integers(60, 600))
def test_size_does_not_matter_much(which: int, side: int) -> None:
    digit = SOME[which]
    a, b = (as_mnist(large(digit, size), "x") for size in (side, 280))
    moves = [np.roll(a, move, axis=(0, 1)) for move in np.ndindex(3, 3)]
    assert min(apart(np.roll(moved, (-1, -1), axis=(0, 1)), b) for moved in moves) < 12.0


@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 40), st.integers(0, 40))
def test_a_block_of_ink_fits_into_20_and_is_centered(h: int, w: int, top: int, left: int) -> None:
    page = np.zeros((200, 200))
    page[top + 5 : top + 5 + h, left + 5 : left + 5 + w] = 1.0
    result = as_mnist(page, "x")
    assert result.shape == (28, 28)
    assert result.max() > 200
    rows, columns = (np.flatnonzero((result > 40).any(axis=axis)) for axis in (1, 0))
    assert max(len(rows), len(columns)) <= 20
    for ink in (result.sum(axis=1), result.sum(axis=0)):
        assert abs(ink @ np.arange(28) / ink.sum() - 14) <= 0.5 + 1e-6


@pytest.mark.parametrize("gray", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (300, 200)])
def test_a_blank_page_is_refused(gray: float, shape: tuple[int, int]) -> None:
    page = np.full(shape, gray)
    page[0, 0] += 0.05 if gray < 1 else 0.0
    with pytest.raises(DataError, match=r"a\.png: is blank: its gray values differ by [05]% at"):
        as_mnist(page, "a.png")
