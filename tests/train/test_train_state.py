"""Nested state in safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from safetensors.numpy import load, load_file

from tinygrad_cnn.train import RunError
from tinygrad_cnn.train.state import (
    pack_arrays,
    read_arrays,
    read_state,
    unpack_arrays,
    write_arrays,
    write_state,
)

arrays = st_numpy.arrays(
    st.sampled_from(["f4", "f8", "i8", "u8", "?"]),
    st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    plain | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert repr(a) == repr(b)


@given(st.dictionaries(st.text(), trees, max_size=3))
def test_state_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    write_state(path, state)
    assert_same(read_state(path), state)


def test_names_that_look_alike_do_not_collide(tmp_path: Path) -> None:
    state = {"a": {"b": np.zeros(1)}, "a/b": np.ones(1)}
    write_state(tmp_path / "s", state)
    assert_same(read_state(tmp_path / "s"), state)


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[:, ::-1], lambda a: a[::2]])
def test_arrays_of_any_layout_are_written_right(tmp_path: Path, view: Any) -> None:
    array = view(np.arange(12.0).reshape(3, 4))
    write_arrays(tmp_path / "w", {"w": array})
    np.testing.assert_array_equal(load_file(tmp_path / "w")["w"], array)


def test_every_flipped_bit_is_noticed_or_does_no_harm() -> None:
    """Harmless is one in the checksum's own name: the file is then read as one without."""
    arrays = {"w": np.arange(3.0), "é": np.array([[True, False]])}
    contents = pack_arrays(arrays, {"epoch": "3", "note": f'"sha256":"{"0" * 64}"'})
    assert_same(dict(sorted(unpack_arrays(contents, "w")[0].items())), arrays)
    missed = 0
    for i in range(8 * len(contents)):
        flipped = bytearray(contents)
        flipped[i // 8] ^= 1 << i % 8
        try:
            came, _ = unpack_arrays(bytes(flipped), "w")
        except RunError as error:
            assert str(error).startswith("w: is damaged")  # noqa: PT017  # the exception is optional
        else:
            assert_same(dict(sorted(came.items())), arrays)
            missed += 1
    assert missed < 8 * len("sha256")


def test_files_of_the_same_arrays_are_the_same_and_others_read_them() -> None:
    arrays = {"w": np.arange(3.0), "b": np.zeros((0, 2), "f4")}
    metadata = {"a": "1", "b": "2", "sha256": "mine", "c": "0" * 64}
    assert len({pack_arrays(arrays, metadata) for _ in range(20)}) == 1
    found = load(pack_arrays(arrays, metadata))
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
    read = unpack_arrays(pack_arrays(arrays, metadata), "w")[1]
    assert read == {"a": "1", "b": "2", "c": "0" * 64}


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_state(path, {"w": np.arange(4.0)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"s: is damaged, truncated or not"):
            read_state(path)


@pytest.mark.parametrize("contents", [b"", b"\x80\x04pickle", b"\xff" * 64, b"0" * 7])
def test_a_file_of_another_kind_is_named(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "w").write_bytes(contents)
    with pytest.raises(RunError, match=r"w: is damaged, truncated or not a safetensors file"):
        read_arrays(tmp_path / "w")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"w: there is no such file"):
        read_arrays(tmp_path / "w")


def test_arrays_alone_are_no_state(tmp_path: Path) -> None:
    write_arrays(tmp_path / "w", {"w": np.zeros(1)})
    with pytest.raises(RunError, match=r"w: has arrays but no state"):
        read_state(tmp_path / "w")


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state/a/1 is a object; expected plain values"):
        write_state(tmp_path / "s", {"a": [1, object()]})
    assert not list(tmp_path.iterdir())
