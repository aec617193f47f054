"""The shapes: the same bytes everywhere, balanced, and hard for a linear model only."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tinygrad_cnn.data import Split, is_local, load
from tinygrad_cnn.data.shapes import draw

SHA256 = {
    "train": "60595d9df9ec7e5e19ba9a55d3f5118113633f368a87a581ade1e2954ea32175",
    "test": "f64c94953f2fc3e34256fb94f8366685a22538f5dd00d9bdbd173f71535f8668",
}


@pytest.fixture(scope="module")
def split() -> Split:
    return load("shapes")


def test_the_shapes_have_the_same_bytes_everywhere(split: Split) -> None:
    for name, expected in SHA256.items():
        part = getattr(split, name)
        contents = part.images.tobytes() + part.labels.astype("u1").tobytes()
        assert hashlib.sha256(contents).hexdigest() == expected, name


def test_the_shapes_are_balanced_color_images_at_hand(split: Split) -> None:
    assert is_local("shapes")
    for part, count in ((split.train, 10_000), (split.test, 2_000)):
        assert part.images.shape == (count, 3, 32, 32)
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
        assert len(np.unique(part.images.reshape(count, -1)[:, ::97], axis=0)) == count
        for channel in range(3):
            assert 100 < part.images[:, channel].mean() < 120
    assert split.train.classes[3] == "star"


def test_sets_of_different_seeds_share_no_image(split: Split) -> None:
    one, two = ({image.tobytes() for image in draw(300, seed).images} for seed in (0, 1))
    assert not one & two
    np.testing.assert_array_equal(draw(300, 0).images, draw(300, 0).images)


def test_each_class_covers_what_its_name_says(split: Split) -> None:
    # Without noise, light and color: the share of the pixels near the center and in all.
    images = split.train.images.mean(axis=1)
    mean = {
        name: images[split.train.labels == label].mean(axis=0)
        for label, name in enumerate(split.train.classes)
    }
    middle = np.s_[13:19, 13:19]
    for name in ("circle", "square", "triangle", "star", "cross"):
        assert mean[name][middle].mean() > mean[name][:4].mean() + 50, name
    assert mean["ring"][middle].mean() < mean["ring"].max() - 10
    assert mean["gradient"][:, -4:].mean() > mean["gradient"][:, :4].mean() + 50
    for name in ("stripes", "checkerboard", "dots"):
        assert np.ptp(mean[name]) < 0.4 * np.ptp(mean["circle"]), name
