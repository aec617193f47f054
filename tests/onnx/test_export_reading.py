"""Functions that read values: the export refuses them, or the file is right for other values."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.exported_files import assert_same

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch
from tinygrad_cnn.capture import CaptureError, captured
from tinygrad_cnn.compat.torch.nn import functional
from tinygrad_cnn.onnx import OnnxError

SMALL = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
SMALL[0, 0] = abs(SMALL[0, 0])
LARGE = 1000 * np.abs(SMALL[::-1, ::-1])
NANS = np.where(SMALL > 0, SMALL, np.float32(np.nan))
NEGATIVE = -1000 * np.abs(SMALL)

CONDITIONS: dict[str, Callable[[Any], Any]] = {
    "bool": lambda x: x.max() > 100,
    "any": lambda x: (x > 100).any(),
    "not all": lambda x: not (x < 100).all(),
    "np.any": lambda x: np.any(x > 100),
    "np.isnan": lambda x: np.isnan(x).any(),
    "np.isfinite": lambda x: tg.all(np.isfinite(x)),
    "np.max": lambda x: np.max(x) > 100,
    "np.allclose": lambda x: np.allclose(x, abs(x)),
    "np.isclose": lambda x: np.isclose(x, abs(x)).all(),
    "np.array_equal": lambda x: np.array_equal(x, abs(x)),
    "np.count_nonzero": lambda x: np.count_nonzero(x > 100) > 0,
    "np.searchsorted": lambda x: np.searchsorted([100.0], x.max()) > 0,
    "np.nonzero": lambda x: len(np.nonzero(x > 100)[0]) > 0,
    "np.unique": lambda x: len(np.unique(x > 100)) > 1,
    "np.median": lambda x: np.median(x) > 100,
    "np.trunc": lambda x: np.trunc(x).max() > 100,
    "np.full_like": lambda x: np.full_like(SMALL, x.max()).max() > 100,
    "np.array of a list": lambda x: np.array([x[0, 0], x[0, 1]]).max() > 100,
    "np.asarray": lambda x: np.asarray(x).max() > 100,
    "count_nonzero": lambda x: tg.count_nonzero(x > 100) > 0,
    "argmax": lambda x: tg.argmax(x) == 0,
    "argmin in an index": lambda x: [True, False, True, False, True, False][tg.argmin(x)],
    "range": lambda x: len(range(tg.argmax(x))) > 2,
    "argmax over an axis": lambda x: (tg.argmax(x, 1) == 0).any(),
    "argmax as an int": lambda x: int(x.argmax()) == 0,
    "argmax in a dict": lambda x: x.argmax().tolist() in {0: 1},
    "argmax of shape": lambda x: x.argmax(1).nonzero()[0].shape[0] > 1,
    "a method of arrays": lambda x: x.argmax(1).copy()[0] > 1,
    "argsort": lambda x: x.argsort(1)[0, 0] == 1,
    "topk": lambda x: tg.topk(x, 1)[1][0, 0] == 1,
    "topk unpacked": lambda x: next(iter(tg.topk(x, 2)[1][0])) == 1,
    "sort": lambda x: tg.sort(x, 1)[0, -1] > 100,
    "float": lambda x: float(x.sum()) > 100,
    "int": lambda x: int(x.sum()) > 100,
    "math": lambda x: math.floor(x.max()) > 100,
    "round": lambda x: round(x.max()) > 100,
    "item": lambda x: x.max().item() > 100,
    "numpy": lambda x: x.numpy().max() > 100,
    "data": lambda x: x.data.max() > 100,
    "iteration": lambda x: any(v > 100 for v in x.ravel()),
    "max": lambda x: max(x.ravel()) > 100,
    "sorted": lambda x: sorted(x.ravel())[0] is None,
    "in": lambda x: 5.0 in x,
    "format": lambda x: "00" in f"{x.max():.0f}",
    "pickle": lambda x: pickle.loads(pickle.dumps(x)).max() > 100,
    "deepcopy": lambda x: copy.deepcopy(x).max() > 100,
    "copy": lambda x: copy.copy(x).max() > 100,
    "Tensor": lambda x: tg.Tensor(x).max() > 100,
    "Tensor of a dtype": lambda x: tg.Tensor(x, dtype="f8").max() > 100,
    "Tensor of a list": lambda x: tg.Tensor([x[0, 0], x[0, 1]]).max() > 100,
    "Parameter": lambda x: tg.nn.Parameter(x).max() > 100,
    "detach": lambda x: x.detach().max() > 100,
    "astype": lambda x: x.astype("i8").max() > 100,
    "length of a mask": lambda x: len(x[x > 100]) > 0,
    "shape of a mask": lambda x: x[:, (x > 100)[0]].shape[1] > 0,
    "sum of a mask": lambda x: (x > 100).sum() > 0,
    "assignment": lambda x: _assigned(x).max() > 100,
}  # fmt: skip
"""Conditions of a Tensor: some hold only for SMALL, others only for LARGE or for NANS."""


def _assigned(x: Any) -> Any:
    y = tg.Tensor(np.zeros((2, 3), np.float32))
    y[...] = x
    return y


TORCH: dict[str, Callable[[Any], Any]] = {
    "any": lambda x: (x > 100).any(),
    "isnan": lambda x: torch.isnan(x).any(),
    "isfinite": lambda x: torch.isfinite(x).all(),
    "logical_and": lambda x: torch.logical_and(x > 0, x > 100).any(),
    "logical_not": lambda x: torch.logical_not(x > 100).all(),
    "equal": lambda x: torch.equal(x, x.abs()),
    "allclose": lambda x: torch.allclose(x, x.abs()),
    "isclose": lambda x: torch.isclose(x, x.abs()).all(),
    "isin": lambda x: torch.isin(x.long(), torch.tensor([0])).all(),
    "nonzero": lambda x: len((x > 100).nonzero()) > 0,
    "unique": lambda x: len(torch.unique(x > 100)) > 1,
    "bincount": lambda x: torch.bincount(x.abs().long().flatten()).shape[0] > 100,
    "length of a mask": lambda x: x[x > 100].shape[0] > 0,
    "numel": lambda x: x[x > 100].numel() > 0,
    "masked_select": lambda x: x.masked_select(x > 100).numel() > 0,
    "long": lambda x: x.long().max() > 100,
    "int": lambda x: x.int().sum() > 100,
    "bool": lambda x: x.relu().bool().all(),
    "double": lambda x: x.double().max() > 100,
    "to": lambda x: x.to(torch.int64).max() > 100,
    "tolist": lambda x: x.tolist()[0][0] > 100,
    "tensor": lambda x: torch.tensor(x).max() > 100,
    "as_tensor": lambda x: torch.as_tensor(x).max() > 100,
    "clone": lambda x: x.clone().max() > 100,
    "max over an axis": lambda x: x.max(1).indices[0] == 0,
    "sort": lambda x: x.sort(1)[1][0, 0] == 1,
    "topk": lambda x: x.topk(1)[1][0, 0] == 1,
    "argsort": lambda x: torch.argsort(x, 1)[0, 0] == 1,
    "kthvalue": lambda x: x.kthvalue(1).indices[0] == 1,
    "median": lambda x: x.median() > 100,
    "rounded division": lambda x: torch.div(x, 3.0, rounding_mode="floor").max() > 30,
    "powers of integers": lambda x: (x.long() ** 2).max() > 10000,
    "one_hot": lambda x: functional.one_hot((x > 100).long(), 2)[0, 0, 1] > 0,
    "arange": lambda x: len(torch.arange(x.relu().long().max())) > 100,
    "full": lambda x: torch.full((2,), x.max()).max() > 100,
    "fill_": lambda x: torch.zeros(2).fill_(x.max()).max() > 100,
    "assignment": lambda x: _written(x).tolist()[0][0] > 100,
    "assignment of an entry": lambda x: bool(_written(x)[0, 0] > 100),
    "new in place": lambda x: torch.zeros(2, 3).add_(x).max() > 100,
}  # fmt: skip


def _written(x: Any) -> Any:
    y = torch.zeros(2, 3)
    y[:, :2] = x[:, :2]
    return y


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_on_values_are_refused(name: str) -> None:
    condition = CONDITIONS[name]
    check_refused_or_right(lambda x: x * 2.0 if condition(x) else x * 3.0, tg.Tensor)


@pytest.mark.parametrize("name", TORCH)
def test_conditions_of_pytorch_on_values_are_refused(name: str) -> None:
    condition = TORCH[name]
    check_refused_or_right(lambda x: x * 2.0 if condition(x) else x * 3.0, torch.tensor)


def check_refused_or_right(function: Callable[[Any], Any], made: Callable[[Any], Any]) -> None:
    """Export without the check by a run, which must not be what finds the mistake."""
    for example in (SMALL, LARGE):
        try:
            file = tg.onnx.export(function, made(example), dynamic={}, check=False)
        except OnnxError as error:
            assert "reads a value" in str(error) or "depends on the input" in str(error)  # noqa: PT017
            continue
        with np.errstate(all="ignore"):
            for x in (SMALL, LARGE, NEGATIVE):
                assert_same(file, function, made(x))


@pytest.mark.parametrize("function", [
    lambda x: tg.argmax(x, 1) + 1, lambda x: x * (tg.argmax(x, 1) == 0)[:, None],
    lambda x: tg.take_along_axis(x, tg.argsort(x, 1), 1),
    lambda x: tg.where(tg.any(x > 0, 0), x, 0.0),
    lambda x: tg.all(x > 0, 1, keepdims=True) * x, lambda x: ~tg.any(x > 0, 1),
    lambda x: tg.topk(x, 2), lambda x: tg.topk(x, 2)[1][:, 0], lambda x: tg.Tensor(x) * 2.0,
    lambda x: tg.Tensor(x, dtype="f8"), lambda x: tg.count_nonzero(x > 0, 1).astype("f4"),
    lambda x: x.argmax(1).reshape(-1, 1), lambda x: copy.deepcopy(x) + x,
    lambda x: (x, None, {"a": None, "b": x * 2.0}),
])  # fmt: skip
def test_choices_are_part_of_the_file(function: Callable[[Any], Any]) -> None:
    file = tg.onnx.export(function, SMALL)
    assert_same(file, lambda x: _without_none(function(x)), tg.Tensor(SMALL))
    assert_same(file, lambda x: _without_none(function(x)), tg.Tensor(np.tile(LARGE, (2, 1))))


def _without_none(result: Any) -> Any:
    if isinstance(result, dict):
        result = tuple(result.values())
    if not isinstance(result, tuple | list):
        return result
    return tuple(_without_none(part) for part in result if part is not None)


def test_results_are_plain_after_a_capture() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.extend([x * 2.0, tg.argmax(x, 1), x])
        return x

    captured(function, {"x": SMALL})
    np.testing.assert_array_equal(kept[0].numpy(), SMALL * 2)
    assert kept[1].numpy().tolist() == SMALL.argmax(1).tolist()
    assert repr(kept[0]) == repr(tg.Tensor(SMALL * 2))
    assert kept[2].sum().item() == pytest.approx(SMALL.sum())
    assert type(pickle.loads(pickle.dumps(kept[0]))) is tg.Tensor
    assert type(copy.deepcopy(kept[0] * 2.0)) is tg.Tensor
    assert len(kept[0].data) == 2
    with pytest.raises(AttributeError, match="no attribute 'copy'"):
        kept[1].copy()


def test_a_captured_tensor_shows_no_values() -> None:
    shown: list[str] = []
    for kind in (tg.Tensor, torch.Tensor):
        captured(lambda x: (shown.append(f"{x!r} {x!s}"), x)[1], {"x": kind(SMALL)})
    assert {*shown} == {" ".join(["Tensor(shape=(2, 3), dtype=float32, captured)"] * 2)}


def test_an_index_without_the_method_of_an_array_says_so() -> None:
    with pytest.raises(CaptureError, match=r"\.copy of an array that depends on the input"):
        captured(lambda x: tg.argmax(x, 1).copy(), {"x": SMALL})


@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "i8", "?"])
@pytest.mark.parametrize("function", [
    lambda x: x / 255.0, lambda x: x * 0.5, lambda x: x - 0.5, lambda x: 1.5 - x,
    lambda x: tg.maximum(x, 0.5), lambda x: x**0.5, lambda x: tg.clip(x, 0, 1.5),
    lambda x: tg.where(x > 1, x, 0.5), lambda x: tg.where(x > 1, 1.0, -1.0) * 0.1,
    lambda x: (x / 255.0 - 0.5) / np.float32(0.25), lambda x: tg.concatenate([x / 2.0, x * 0.1], 1),
])  # fmt: skip
def test_integers_with_numbers_are_floats(function: Callable[[Any], Any], dtype: str) -> None:
    x = np.random.default_rng(1).integers(0, 127, (2, 3)).astype(dtype)
    file = tg.onnx.export(function, x)
    with np.errstate(all="ignore"):
        for given in (x, np.tile(x[:, ::-1], (3, 1))):
            assert_same(file, function, tg.Tensor(given), tolerance=1e-6)


def test_large_integers_keep_their_digits() -> None:
    x = np.array([[2**40 + 1, 2**40 + 3]])
    file = tg.onnx.export(lambda x: x - float(2**40), x)
    assert_same(file, lambda x: x - float(2**40), tg.Tensor(x + 5), tolerance=0.0)


def in_place(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        y = x.clone()
        change(y, x)
        return y

    return function


def _zeros(x: Any) -> Any:
    y = torch.zeros(x.shape[0], 6)
    y[:, 1:5] = x
    return y


@pytest.mark.parametrize("function", [
    in_place(lambda y, x: y.__setitem__(np.s_[:, 0], 0)),
    in_place(lambda y, x: y.__setitem__(np.s_[:, 1:], x[:, :-1])),
    in_place(lambda y, x: y.__setitem__(np.s_[..., ::2], x[:, :1])),
    in_place(lambda y, x: y.__setitem__(x > 0, 0.25)),
    in_place(lambda y, x: y.__setitem__(x[:, 0] > 0, x.sum())),
    in_place(lambda y, x: y.__setitem__((slice(None), [2, 0]), x[:, :2])),
    in_place(lambda y, x: y.__setitem__(0, x[0] * 2.0)),
    in_place(lambda y, x: y.add_(1.0).mul_(x)),
    _zeros,
    lambda x: tg.index_put(x, (slice(None), [0, 0, 1]), x[:, :3], accumulate=True),
])  # fmt: skip
def test_assignments_for_any_batch(function: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(2)
    file = tg.onnx.export(function, torch.tensor(rng.normal(size=(2, 4)).astype("f4")))
    for batch in (1, 2, 5):
        assert_same(file, function, torch.tensor(rng.normal(size=(batch, 4)).astype("f4")))


@pytest.mark.parametrize("function", [
    lambda x, i: x[torch.arange(x.shape[0]), i],
    lambda x, i: x[np.arange(x.shape[0])[:, None], i[:, None], [[0, 2]]],
    lambda x, i: x + torch.arange(x.shape[1])[:, None] * 0.5,
    lambda x, i: x * (torch.arange(x.shape[1])[None, :] < i[:, None])[:, :, None].float(),
    lambda x, i: functional.one_hot(i, 5)[:, :, None] * x.sum(1, keepdim=True),
    lambda x, i: x.sum(2) + np.arange(x.shape[0], dtype="f4")[:, None],
    lambda x, i: tg.index_put(x, (np.arange(x.shape[0]), i), 0.5),
])  # fmt: skip
def test_counting_along_an_axis_of_any_length(function: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    axes = {"x": {0: "batch", 1: "time"}, "i": {0: "batch"}}

    def given(batch: int, time: int) -> tuple[Any, Any]:
        return (torch.tensor(rng.normal(size=(batch, time, 3)).astype("f4")),
                torch.tensor(rng.integers(0, 3, batch)))  # fmt: skip

    for example in (given(2, 4), given(1, 3)):
        file = tg.onnx.export(function, example, dynamic=axes, input_names=["x", "i"])
        for batch, time in ((1, 5), (3, 3), (4, 7)):
            assert_same(file, function, *given(batch, time))


def test_masks_with_several_values_are_refused() -> None:
    function = in_place(lambda y, x: y.__setitem__(x > 0, torch.zeros(int((SMALL > 0).sum()))))
    with pytest.raises(OnnxError):
        tg.onnx.export(function, torch.tensor(SMALL), dynamic={})
