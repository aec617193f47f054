"""Settings of data that a run on another machine finds again."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tinygrad_cnn.data import Dataset, Split
from tinygrad_cnn.train import DataSettings


def settings_of(pixels: NDArray[np.uint8]) -> tuple[Dataset, DataSettings]:
    images = Dataset(pixels, np.zeros(len(pixels), np.int64), ("a",), "pixels")
    return images, DataSettings.of(Split(images, images), "pixels")


@given(arrays(np.uint8, (3, 1, 2, 4), fill=st.nothing()))
@example(np.full((3, 1, 2, 4), 77, np.uint8))
def test_mean_and_deviation_are_the_same_bits_on_every_machine(pixels: NDArray[np.uint8]) -> None:
    _, settings = settings_of(pixels)
    values = [Fraction(value, 255) for value in pixels.ravel().tolist()]
    mean = Fraction(sum(values), len(values))
    variance = Fraction(sum((value - mean) ** 2 for value in values), len(values))
    assert settings.mean == (float(mean),)
    assert settings.std == (math.sqrt(variance) or 1.0,)


def test_statistics_that_differ_by_rounding_are_those_of_the_same_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1, 4, 4), np.uint8)
    images, settings = settings_of(pixels)
    (mean,) = settings.mean
    object.__setattr__(settings, "mean", (float(np.nextafter(mean, 1.0)),))  # as once computed
    settings.check_statistics(images)
    pixels[0, 0, 0, 0] ^= 1
    with pytest.raises(ValueError, match="mean and standard deviation of the training images"):
        settings.check_statistics(images)
