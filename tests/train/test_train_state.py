"""Nested state in safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from safetensors.numpy import load, load_file, save_file

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
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
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.integers(0, 3), inner, max_size=2)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
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
    elif isinstance(a, list | tuple):
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


@pytest.mark.parametrize("contents", [b"", b"\xff" * 64, b"0" * 7])
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
    with pytest.raises(TypeError, match=r"write_state: state/a/1 is object; expected numbers"):
        write_state(tmp_path / "s", {"a": [1, object()]})
    for bad, message in (
        (np.array(["a"]), r"save: a/b/1 is an array of <U1; expected"),
        ({1, 2}, "save: a/b/1 is set; expected"),
        (b"bytes", "save: a/b/1 is bytes; expected"),
        (nn.ReLU, "save: a/b/1 is type; expected"),
    ):
        with pytest.raises(TypeError, match=message):
            tg.save(tmp_path / "s", a={"b": (0, bad)})
    with pytest.raises(TypeError, match="save: nothing to save"):
        tg.save(tmp_path / "s")
    assert not list(tmp_path.iterdir())


# --- models and optimizers -----------------------------------------------------------------------


def test_a_model_an_optimizer_and_other_values_come_back(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(None, 2))
    x = np.random.default_rng(0).normal(size=(3, 1, 5, 5)).astype("f4")
    model(x)
    optimizer = optim.Adam(model.parameters(), 0.01)
    schedule = optim.StepLR(optimizer, 2)
    tg.cross_entropy(model(x), np.array([0, 1, 0])).backward()
    optimizer.step()
    schedule.step()
    rest = {
        "tensor": model[3].weight, "view": x.T, "complex": np.array([[1 + 2j], [3j]], ">c8"),
        "nested": [1, (2.5, None, [True, "text"]), {}, ()], "z": 3 - 1j, "count": np.int64(7),
        "keys": {1: "a", (2, "b"): {None: np.zeros(2)}, "$array": 5}, "single": {"$tuple": [1]},
    }  # fmt: skip
    path = tmp_path / "all.safetensors"
    tg.save(path, model=model, optimizer=optimizer, schedule=schedule, rest=rest, own=[model])
    saved = tg.load(path)
    assert_same(saved["model"], model.state_dict())
    assert_same(saved["own"], [model.state_dict()])
    again = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(None, 2))
    again.load_state_dict(saved["model"])
    other = optim.Adam(again.parameters(), 0.5)
    timer = optim.StepLR(other, 2)
    other.load_state_dict(saved["optimizer"])
    timer.load_state_dict(saved["schedule"])
    for net, update in ((model, optimizer), (again, other)):
        update.zero_grad()
        tg.cross_entropy(net(x), np.array([0, 1, 0])).backward()
        update.step()
    assert_same(again.state_dict(), model.state_dict())
    found = saved["rest"]
    np.testing.assert_array_equal(found["tensor"], saved["model"]["3.weight"])
    np.testing.assert_array_equal(found.pop("view"), x.T)
    np.testing.assert_array_equal(found["complex"], rest["complex"])
    assert found["complex"].dtype == np.dtype("c8")
    np.testing.assert_array_equal(found["keys"].pop((2, "b"))[None], np.zeros(2))
    assert found["keys"] == {1: "a", "$array": 5}
    assert repr(found["nested"]) == repr(rest["nested"])
    assert (found["z"], found["count"], found["single"]) == (3 - 1j, 7, {"$tuple": [1]})
    tg.save(path, **saved)  # what was loaded can be saved
    assert repr(tg.load(path)) == repr(saved)


def test_a_failed_save_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tg.save(path, a=1)
    with pytest.raises(TypeError):
        tg.save(path, a=2, b=object())
    assert tg.load(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_files_of_other_programs_are_read_or_named(tmp_path: Path) -> None:
    save_file({"w": np.arange(3.0)}, tmp_path / "other.safetensors")
    assert_same(tg.load(tmp_path / "other.safetensors"), {"w": np.arange(3.0)})
    with pytest.raises(FileNotFoundError, match=r"load: .*none: there is no such file"):
        tg.load(tmp_path / "none")
    tg.save(tmp_path / "cut", w=np.zeros(100))
    whole = (tmp_path / "cut").read_bytes()
    for contents in (whole[:-1], whole[:50], whole[:-9] + b"\1" + whole[-8:]):
        (tmp_path / "cut").write_bytes(contents)
        with pytest.raises(ValueError, match="cut: is damaged, truncated"):
            tg.load(tmp_path / "cut")
