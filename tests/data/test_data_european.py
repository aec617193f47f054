"""The European digits: MNIST's form, the same bytes everywhere, and the test images of `digits`."""

from __future__ import annotations

import hashlib

import numpy as np

from tinygrad_cnn.data import digits, european_digits, is_local, load

SHA256 = "98973067a3141a4e77f4214cd1b64e6b97485d5d5d4c22cd6fd416f5022c317f"


def test_drawn_digits_have_the_form_of_mnist_and_the_same_bytes_everywhere():
    train = load("european-digits").train
    embedded = digits().train
    assert is_local("european-digits")
    np.testing.assert_array_equal(train.images[:10_000], embedded.images)
    np.testing.assert_array_equal(train.labels[:10_000], embedded.labels)
    drawn = train.images[10_000:, 0]
    assert np.bincount(train.labels[10_000:]).tolist() == [0, 300, 0, 0, 0, 0, 0, 300]
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == SHA256
    for pixels in drawn:
        places = np.arange(28)
        for axis in (0, 1):
            line = pixels.sum(axis=axis)
            assert abs(line @ places / line.sum() - 14) < 0.1
        spans = [np.ptp(np.flatnonzero(pixels.any(axis=axis))) + 1 for axis in (0, 1)]
        assert 19 <= max(spans) <= 21
        assert pixels.max() >= 250


def test_the_test_images_are_the_embedded_ones():
    test = european_digits().test
    assert (test.name, len(test)) == ("digits", 2000)
    np.testing.assert_array_equal(test.images, digits().test.images)
