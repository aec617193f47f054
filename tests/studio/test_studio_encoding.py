"""Arrays and inputs survive their way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_cnn.studio.encoding import decode, decode_input, encode, encode_input

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = st.sampled_from(["f4", "f8"]).flatmap(
    lambda dtype: arrays.arrays(
        dtype, SHAPES, elements={"min_value": -(2.0**100), "max_value": 2.0**100}
    )
)


@given(ARRAYS)
@example(np.array([0.0, 5e-324]))
@example(np.array(-3.25))
def test_an_array_comes_back_within_half_a_level(array):
    maps = encode(array)
    back = decode(json.loads(json.dumps(maps, allow_nan=False)))
    assert back.shape == array.shape == tuple(maps["shape"])
    if array.size:
        assert (maps["low"], maps["high"]) == (array.min(), array.max())
        spread = maps["high"] - maps["low"]
        allowed = spread / 510 + 1e-12 * max(abs(maps["low"]), abs(maps["high"])) + 5e-324
        assert np.max(np.abs(back - array)) <= allowed


@given(st.floats(-1e9, 1e9), SHAPES)
def test_an_array_of_one_value_comes_back_exactly(value, shape):
    array = np.full(shape, value)
    np.testing.assert_array_equal(decode(encode(array)), array)


def test_the_least_and_the_largest_value_are_exact():
    array = np.random.default_rng(0).normal(size=(6, 28, 28))
    back = decode(encode(array))
    assert (back.min(), back.max()) == (array.min(), pytest.approx(array.max(), rel=1e-15))


@pytest.mark.parametrize("array", [[np.nan, 1.0], [np.inf], [-1.7e308, 1.7e308]])
def test_what_has_no_finite_range_is_refused(array):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="expected finite numbers"):
        encode(array)


@given(arrays.arrays(np.uint8, (28, 28)))
def test_an_input_comes_back_from_both_alphabets(image):
    text = encode_input(image)
    for written in (text, text.replace("+", "-").replace("/", "_"), text.rstrip("=")):
        np.testing.assert_array_equal(decode_input(written)[0], image)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 bytes, expected 1×28×28"),
        ("AAAA", "3 bytes, expected 1×28×28"),
        ("A" * 1049, "not base64"),
        ("ä" * 1048, "not base64"),
        ("*" * 1048, "not base64"),
    ],
)
def test_what_is_no_input_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        decode_input(text)


@pytest.mark.parametrize("image", [np.zeros((28, 27), "u1"), np.zeros((28, 28), "f4")])
def test_only_an_input_is_encoded_as_one(image):
    with pytest.raises(ValueError, match="expected uint8 of shape"):
        encode_input(image)
