"""How ops are exported: onnxruntime computes the same from the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.composed import COMPOSED
from support.example_calls import calls
from support.onnxruntime_runs import (
    NoKernelError,
    assert_exported,
    computed,
    reversed_values,
)

import tinygrad_cnn as tg
from tinygrad_cnn.check import strategies
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.cases import cases_of
from tinygrad_cnn.core.composition import COMPOSITIONS
from tinygrad_cnn.core.numpy_dispatch import DISCRETE
from tinygrad_cnn.onnx.exporters import REFUSED
from tinygrad_cnn.onnx.graph import EXPORTERS

OURS = [name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")]
EXPORTED = [name for name in OURS if name in EXPORTERS]
LENGTHY = "TINYGRAD_CNN_LENGTHY" in os.environ
ROUNDED = {
    "gelu": "onnxruntime's constants of the approximation are of float32",
    "layer_norm": "the attribute epsilon is a float32",
}
"""The ops whose files lose digits of float64, and why."""
NO_EMPTY_BATCH = {"group_norm", "unfold"}
"""The ops that reshape with −1, which is undefined of an empty array."""


def test_each_op_has_an_exporter_or_the_reason_why_not() -> None:
    assert {*OURS} <= {*EXPORTERS} ^ {*REFUSED}
    assert {*REFUSED} <= {*OURS}


@pytest.mark.parametrize("name", EXPORTED)
def test_file_computes_what_the_op_does(name: str) -> None:
    for case in cases_of(tg.OPS[name]):
        for arguments in case.always:
            check(case.call(arguments), np.float32)

    @settings(max_examples=60 if LENGTHY else 4)
    @given(calls(name), st.sampled_from([np.float32, np.float32, np.float64]))
    def compare(call: Call, dtype: Any) -> None:
        check(call, dtype)

    compare()


def check(call: Call, dtype: Any) -> None:
    inputs = [x.astype(dtype) for x in call.inputs]
    if call.op.name in NO_EMPTY_BATCH and not all(x.size for x in inputs):
        return
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    if dtype == np.float64 and call.op.name in ROUNDED:
        tolerance = 1e-7
    try:
        assert_exported(call, inputs, [reversed_values(inputs)], tolerance)
    except NoKernelError:
        assert dtype == np.float64


@pytest.mark.parametrize("name", sorted(COMPOSED))
def test_file_computes_what_the_composition_does(name: str) -> None:
    composed = COMPOSED[name]
    function = composed.function or COMPOSITIONS[name].function

    @settings(max_examples=20 if LENGTHY else 2)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        arrays, options = composed.calls(data.draw, strategies)
        inputs = [np.asarray(array, np.float32) for array in arrays]
        assert_exported(lambda *x: function(*x, **options), inputs, [reversed_values(inputs)])

    compare()


# --- comparisons, logical operations and integers ------------------------------------------------

FLOATS = np.array([[-1.5, 0.0, 2.0], [np.inf, np.nan, -np.inf]], np.float32)
WHOLE = np.array([[-7, 0, 2], [5, -5, 3]])
BOOLS = np.array([[True, False, True], [False, True, True]])
PAIRS = {
    "floats": (FLOATS, FLOATS[:, ::-1].copy()),
    "integers": (WHOLE, WHOLE[::-1].copy()),
    "bools": (BOOLS, BOOLS[:, ::-1].copy()),
    "mixed": (WHOLE.astype(np.int32), FLOATS),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("ufunc", sorted(DISCRETE, key=lambda ufunc: ufunc.__name__))
def test_comparisons_and_logical_operations(ufunc: np.ufunc, pair: str) -> None:
    arrays = PAIRS[pair][: ufunc.nin]
    try:
        ufunc(*arrays)
    except TypeError:
        return  # of other dtypes only
    if ufunc in {np.isnan, np.isinf, np.isfinite, np.signbit} and pair != "floats":
        return  # constants
    assert_exported(lambda *x: ufunc(*x), arrays)


@pytest.mark.parametrize("function", [
    lambda a, b: a // b,
    lambda a, b: a % b,
    lambda a, b: (a.astype("float32") // b, a.astype("float64") % b),
])  # fmt: skip
def test_quotients_have_the_signs_of_numpy(function: Callable[..., Any]) -> None:
    a, b = np.arange(-7, 8)[:, np.newaxis], np.array([-3, -1, 2, 5])
    assert_exported(function, [a, b])


def test_floor_of_a_quotient_that_is_rounded_to_an_integer() -> None:
    a = np.array([1.0, 1.0, -1.0, 0.0, 6.0, 1.0, -1.0], np.float32)
    b = np.array([0.1, -0.1, 0.1, 3.0, 0.2, 0.0, 0.0], np.float32)
    with np.errstate(all="ignore"):
        assert_exported(tg.floor_divide, [a, b])


@pytest.mark.parametrize("call", [
    lambda x: tg.relu(x), lambda x: tg.abs(x), lambda x: tg.clip(x, -2, 3), lambda x: x.sum(0),
    lambda x: tg.max(x, 1), lambda x: tg.floor(x), lambda x: tg.round(x, -1), tg.sign,
    lambda x: tg.round(x, 2), lambda x: x.cumsum(0), lambda x: tg.pad(x, 1, value=0.5),
    lambda x: tg.pad(x, 1, "symmetric"), lambda x: tg.clip(x, 0.5), lambda x: x * 2 + 1,
    lambda x: tg.maxpool(x.reshape(1, 1, 2, 3)), lambda x: tg.exp(x / 8), lambda x: tg.argmax(x, 1),
    lambda x: tg.unfold(x.reshape(1, 2, 3), 2, padding=1), lambda x: x.mean(),
    lambda x: tg.where(x > 0, x, 0), lambda x: tg.sort(x, 0), lambda x: x.astype("float32") / 3,
    lambda x: tg.prod(x, 0), lambda x: x[:, [2, 0]], lambda x: tg.any(x > 4, 1),
])  # fmt: skip
def test_integers(call: Callable[..., Any]) -> None:
    assert_exported(call, [WHOLE])


@pytest.mark.parametrize("call", [
    tg.relu, tg.sign, lambda x: x.sum(1), lambda x: tg.maximum(x, x[::-1]),
    lambda x: tg.minimum(x, x[::-1]), lambda x: tg.where(x[:, :1] > 0, x, x[::-1]),
    lambda x: tg.max(x, 0), lambda x: tg.pad(x, 1), lambda x: tg.concatenate([x, x], 1), tg.flip,
    lambda x: tg.maxpool(x[np.newaxis]), lambda x: tg.cumsum(x, 1), lambda x: x @ x.T,
    lambda x: tg.unfold(x[np.newaxis], 2, padding=1), lambda x: tg.clip(x, 0, 1),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32"])
def test_bools_and_short_integers(call: Callable[..., Any], dtype: str) -> None:
    x = np.array([[1, 0, 3], [0, 0, 2]]).astype(dtype)
    assert_exported(call, [x], [reversed_values([x])])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_integers_and_numbers(dtype: str) -> None:
    x = np.array([[1, 0, 3], [0, 0, 2]]).astype(dtype)

    def function(x: Any) -> Any:
        return [x / 255.0, x * 0.5 + 1, x - 0.5, x**0.5, tg.maximum(x, 0.5), tg.minimum(x, 2),
                tg.where(x > 0, x, 0.5), tg.where(x > 0, x, 3), x + 3, x * 3, x + np.ones(3, "f4"),
                x / 2, np.float32(2) - x, tg.concatenate([x / 3, x])]  # fmt: skip

    assert_exported(function, [x], [reversed_values([x])])


# --- values --------------------------------------------------------------------------------------

EDGES = np.array([-np.inf, -1e4, -2.5, -1.0, -0.5, 0.0, 0.5, 1.5, 2.5, 1e4, np.inf, np.nan], "f4")


@pytest.mark.parametrize("function", [
    tg.relu, tg.leaky_relu, tg.sigmoid, tg.tanh, tg.softplus, tg.exp, tg.expm1, tg.log, tg.log1p,
    tg.sqrt, tg.erf, tg.erfc, tg.sign, tg.floor, tg.ceil, tg.round, tg.hardtanh, tg.elu, tg.abs,
    tg.hardsigmoid, tg.selu, tg.square, tg.arctan,
    lambda x: tg.pow(x, 3.0), lambda x: tg.pow(x, -2.0), lambda x: tg.pow(x, 2.5),
    lambda x: tg.clip(x, -1.0, 1.0), lambda x: tg.maximum(x, 0.0), lambda x: tg.minimum(x, 0.0),
])  # fmt: skip
def test_values_at_the_edges(function: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        assert_exported(function, [EDGES])


@pytest.mark.parametrize("function", [
    lambda x: tg.gelu(x), lambda x: tg.gelu(x, "tanh"), lambda x: tg.elu(x, 2.0),
    lambda x: tg.celu(x, 0.5), lambda x: tg.leaky_relu(x, -0.25), lambda x: tg.softmax(x, 0, 0.5),
    lambda x: tg.hardtanh(x, -0.5, 2.0), lambda x: tg.round(x, 1), lambda x: tg.round(x, -1),
    lambda x: tg.logsumexp(x, 1, True), lambda x: tg.norm(x, 3.0, 0), lambda x: tg.clip(x, None, 1),
    lambda x: tg.prelu(x, x[0] * 0 + 0.5), lambda x: tg.layer_norm(x, (3, 8), eps=0.5),
    lambda x: tg.group_norm(x, 4, eps=0.5), lambda x: tg.instance_norm(x[None], eps=0.5),
    lambda x: tg.cumsum(x), lambda x: tg.cumsum(x, 1),
])  # fmt: skip
def test_options(function: Callable[..., Any]) -> None:
    assert_exported(function, [np.linspace(-4, 7, 24, dtype=np.float32).reshape(3, 8)])


def test_celu_of_float64_is_made_of_other_operators() -> None:
    file = tg.onnx.export(lambda x: tg.celu(x, 0.5), np.linspace(-3, 3, 8))  # checks itself
    assert [node.op_type for node in file.graph.node] == ["Div", "Elu", "Mul"]


def test_logarithms_and_exponentials_of_small_numbers_keep_their_digits() -> None:
    x = np.array([1e-30, -1e-20, 1e-9, -3e-8, 1e-7, 2e-4, -0.7])
    for function in (tg.log1p, tg.expm1):
        for dtype, tolerance in (("f4", 4e-7), ("f8", 1e-14)):
            file = assert_exported(function, [x.astype(dtype)])
            (found,) = computed(file, [x.astype(dtype)])
            np.testing.assert_allclose(found, function(x.astype(dtype)), rtol=tolerance)


def test_sums_of_exponentials_do_not_overflow() -> None:
    x = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [-np.inf, 3.0]], np.float32)
    with np.errstate(divide="ignore"):
        assert_exported(lambda x: tg.logsumexp(x, 1), [x])
    assert_exported(tg.softmax, [x[[0, 2]]])
    assert_exported(lambda x: tg.log_softmax(x, temperature=0.5), [x[[0, 2]]])


def test_branches_are_taken_by_the_values_of_each_input() -> None:
    p, t = np.array([0.25, 0.5], np.float32), np.array([1.0, 0.5], np.float32)
    others = [[p * 0, t], [t, p], [t * 0 + 1, p]]
    assert_exported(lambda p, t: tg.binary_cross_entropy(p, t, "none"), [p, t], others)
    assert_exported(lambda p, t: tg.kl_div(p, t), [p, t], others)
    assert_exported(lambda x: tg.norm(x, 3.0), [p], [[p * 0], [p * np.float32(1e30)]])
    assert_exported(lambda x: tg.std(x), [p], [[p * 0]])


@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.5])])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_classifiers(reduction: str, weight: Any) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 4, 2)).astype("f4"), rng.integers(0, 4, (5, 2))
    labels[0] = 1, 3  # some that count
    rows = np.moveaxis(np.eye(4, dtype="f4")[labels], -1, 1) * np.float32(0.75)
    options = {"reduction": reduction, "weight": weight, "axis": 1}
    for smoothing in (0.0, 0.25):
        for target in (labels, rows):
            assert_exported(
                lambda x, t, s=smoothing: tg.cross_entropy(x, t, label_smoothing=s, **options),
                [x, target],
            )
    some = np.where(labels == 0, -100, labels)
    assert_exported(lambda x, t: tg.cross_entropy(x, t, **options), [x, some])
    assert_exported(lambda x, t: tg.nll(tg.log_softmax(x, 1), t, **options), [x, some])


def test_angles_of_all_quadrants() -> None:
    values = np.array([-np.inf, -2.0, 0.0, 0.5, 2.0, np.inf], np.float32)
    a, b = np.meshgrid(values, values)
    assert_exported(tg.arctan2, [a, b])
    assert_exported(tg.hypot, [a, b])
    assert_exported(tg.hypot, [a * np.float32(1e30), b * np.float32(1e30)])


# --- windows -------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).normal(size=(2, 4, 7, 6)).astype(np.float32)
KERNELS = np.random.default_rng(1).normal(size=(4, 2, 3, 2)).astype(np.float32)
POOLINGS = [
    {"kernel_size": k, "stride": s, "padding": p, "ceil_mode": c}
    for k in (2, 3, (3, 2))
    for s in (1, 2, 3)
    for p in (0, 1, ((0, 1), (1, 0)), "same")
    for c in (False, True)
]


@pytest.mark.parametrize("first", range(6))
def test_pooling_of_windows_beyond_the_edge(first: int) -> None:
    for options in POOLINGS[first::6]:
        assert_exported(lambda x, o=options: tg.maxpool(x, **o), [IMAGES])
        for border in (True, False):
            o = options | {"count_include_pad": border}
            assert_exported(lambda x, o=o: tg.avgpool(x, **o), [IMAGES])


VARYING = {"dynamic": {"x0": {0: "batch", 2: "height", 3: "width"}}}
BATCHES = {"dynamic": {"x0": {0: "batch"}}}
LARGER = [np.random.default_rng(2).normal(size=(3, 4, 9, 11)).astype(np.float32),
          np.random.default_rng(3).normal(size=(1, 4, 8, 7)).astype(np.float32)]  # fmt: skip


@pytest.mark.parametrize("function", [
    lambda x: tg.conv2d(x, KERNELS, groups=2, padding=1, stride=2),
    lambda x: tg.conv2d(x, KERNELS, groups=2, padding="same", dilation=2),
    lambda x: tg.conv2d(x, KERNELS, groups=2, padding="same", stride=2),
    lambda x: tg.conv2d(x, KERNELS, groups=2, padding="same", stride=(2, 3), dilation=(1, 3)),
    lambda x: tg.maxpool(x, (3, 2), (3, 2), padding="same", dilation=2),
    lambda x: tg.unfold(x, (3, 2), (2, 1), "same", 2),
    lambda x: tg.conv_transpose2d(x, KERNELS, stride=2, output_padding=(1, 0)),
    lambda x: tg.conv_transpose2d(x, KERNELS, dilation=3, output_padding=2),
    lambda x: tg.maxpool(x, 3, 2, ceil_mode=True),
    lambda x: tg.maxpool(x, 2, padding=2, dilation=2, wide_padding=True),
    lambda x: tg.avgpool(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    lambda x: tg.avgpool(x, 2, padding="same"),
    lambda x: tg.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)), "reflect"),
    lambda x: tg.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)), value=2.0),
    lambda x: tg.interpolate(x, scale_factor=2),
    lambda x: tg.interpolate(x, scale_factor=(1.75, 0.625), mode="bilinear"),
    lambda x: tg.interpolate(x, (5, 13), mode="bicubic", align_corners=True),
    lambda x: tg.interpolate(x[:, :, ::2, 1:], x.shape[2:], mode="bilinear"),
    lambda x: tg.interpolate(x[:, :, ::2, 1:], x.shape[2:]),
    lambda x: tg.interpolate(x, (5, x.shape[2]), mode="nearest-exact"),
    lambda x: tg.group_norm(x, 2, np.arange(4.0, dtype="f4"), np.ones(4, "f4")),
    lambda x: tg.instance_norm(x),
    lambda x: tg.layer_norm(x.transpose(0, 2, 3, 1), 4),
    lambda x: tg.unfold(x, 2, stride=2),
    lambda x: x.mean((2, 3)),
    lambda x: tg.softmax(x.reshape(x.shape[0], 4, -1), 1),
    lambda x: tg.flatten(x, 2).transpose(0, 2, 1) @ np.ones((4, 2), "f4"),
    lambda x: tg.flip(x, (2, 3))[:, 0, 1:-1, ::-2],
    lambda x: tg.concatenate([x, tg.maximum(x, 0.0)], 1)[..., np.newaxis, :],
    lambda x: tg.stack([x, x * 2], 2).sum(2),
    lambda x: tg.broadcast_to(x.max((2, 3), keepdims=True), x.shape),
    lambda x: tg.pixel_shuffle(x, 2),
    lambda x: tg.grid_sample(x, tg.tanh(tg.stack([x[:, 0], x[:, 1]], -1))),
    lambda x: tg.topk(x, 3, axis=3),
    lambda x: tg.sort(x, 2, descending=True),
    lambda x: x[:, [3, 0], :, 1],
    lambda x: tg.tril(x, 1) - tg.triu(x, -1),
    lambda x: tg.affine_grid(x.reshape(-1)[:6].reshape(1, 2, 3), (1, 1, *x.shape[2:])),
    lambda x: tg.fold(tg.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1),
    lambda x: tg.einsum("nchw,ndhw->ncd", x, x),
    lambda x: tg.repeat(tg.roll(x, 1, 3), 2, 2)[:, :, 1 : x.shape[2] - 1],
    lambda x: tg.adaptive_avgpool(x, 1) + tg.adaptive_maxpool(x, 1),
])  # fmt: skip
def test_sizes_vary(function: Callable[..., Any]) -> None:
    assert_exported(function, [IMAGES], [[x] for x in LARGER], 1e-4, **VARYING)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_interpolation_to_every_size(mode: str) -> None:
    for n in range(1, 13 if LENGTHY else 7):
        x = np.random.default_rng(n).normal(size=(1, 2, n)).astype(np.float32)

        def resized(x: Any) -> list[Any]:
            n = x.shape[2]
            sizes = [tg.interpolate(x, m, mode=mode) for m in range(1, 3 * n + 1)]
            factors = (0.5, 0.7, 1.0, 1.3, 1.5, 2.0, 2.6, 3.0)
            scaled = [f for f in factors if int(n * f)]
            return sizes + [tg.interpolate(x, scale_factor=f, mode=mode) for f in scaled]

        assert_exported(resized, [x])


# --- indexing ------------------------------------------------------------------------------------

CUBE = np.arange(60.0, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize("index", [
    1, -1, np.s_[1:], np.s_[::-2], np.s_[..., 2], np.s_[1, ..., ::2], np.s_[:, None, -2, 1:-1],
    np.s_[[2, 0, 0]], np.s_[:, [3, -1]], np.s_[[0, 2], [1, 3]], np.s_[[0, 2], :, [1, 3]],
    np.s_[:, [[0], [2]], [1, 3]], np.s_[0, :, [1, 3]], np.s_[:, 1, [0, 4]], np.s_[1, [0, 2]],
    np.s_[[0, 2], None, 1], np.s_[None, [1], :, None, 0], np.s_[::-1, [1, 2], ::2],
    np.s_[3:1], np.s_[[]], np.s_[4:1:-1, ::-1], np.s_[None], np.s_[()], CUBE > 20,
    np.s_[CUBE[..., 0] > 20], np.s_[:, CUBE[0] > 7], np.s_[CUBE[:, 0, 0] > 0, 1:, 2],
    np.s_[np.int64(1), np.array(2)],
])  # fmt: skip
def test_indices(index: Any) -> None:
    assert_exported(lambda x: x[index], [CUBE])
    selected = CUBE[index]
    assert_exported(lambda x: tg.put(x, index, CUBE.shape), [selected])


@pytest.mark.parametrize("options", [{}, VARYING])
@pytest.mark.parametrize("function", [
    lambda x: tg.group_norm(x, 2),
    lambda x: tg.unfold(x, 2, stride=2),
])  # fmt: skip
def test_a_batch_of_none(function: Callable[..., Any], options: Any) -> None:
    assert_exported(function, [IMAGES], [[IMAGES[:1]], [IMAGES[:0]]], **(options or BATCHES))


def test_values_put_in_an_empty_array() -> None:
    assert_exported(lambda x: tg.put(x, 1, (3, 0)), [np.zeros(0, np.float32)])


@pytest.mark.parametrize("function", [
    lambda x: tg.adaptive_avgpool(x, (2, 3)),
    lambda x: tg.interpolate(x, 5, mode="area"),
    lambda x: tg.pad(x, 1, "symmetric"),
    lambda x: tg.interpolate(x, scale_factor=0.58),
    lambda x: tg.interpolate(x, scale_factor=1.25, mode="bilinear"),
])  # fmt: skip
def test_ops_that_need_one_size_say_so(function: Callable[..., Any]) -> None:
    x = np.zeros((1, 1, 4, 6), np.float32)
    assert_exported(function, [x])
    message = r"(size of the input.*; leave that axis|whose size varies)"
    with pytest.raises(tg.onnx.OnnxError, match=message) as raised:
        assert_exported(function, [x], **VARYING)
    assert "test_exporters.py, line" in str(raised.value)


def test_computed_indices() -> None:
    rows, others = np.array([2, 0, -1, 1]), np.array([0, -3, 1, 1])
    other = [[CUBE, others]]
    assert_exported(lambda x, i: tg.take(x, i, 0), [CUBE, rows], other)
    assert_exported(lambda x, i: x[..., 1:, i], [CUBE, rows], other)
    assert_exported(
        lambda x, i: x[i], [CUBE, rows.astype(np.int32)], [[CUBE, other[0][1].astype("i4")]]
    )
    assert_exported(lambda x, i: x[i, i], [CUBE, rows], other)
    assert_exported(lambda x, i: x[i[:, None], :, [0, 4]], [CUBE, rows], other)
    assert_exported(lambda x, i: x[:, i, 1], [CUBE, rows], other)
    with pytest.raises(tg.onnx.OnnxError, match="getitem: the index is a mask that depends on the"):
        assert_exported(lambda x: tg.getitem(x, x > 20), [CUBE])


@pytest.mark.parametrize("largest", [True, False])
def test_the_first_of_equal_values_comes_first(largest: bool) -> None:
    x = np.array([[2.0, 1.0, 2.0, 1.0, 3.0], [0.0, 0.0, -1.0, -1.0, 0.0]], np.float32)
    others = [[x[:, ::-1].copy()]]
    assert_exported(lambda x: tg.topk(x, 3, largest=largest), [x], others)
    assert_exported(lambda x: tg.topk(x, 1, 0, largest=largest), [x], others)
    assert_exported(lambda x: tg.argsort(x, 1, descending=largest), [x], others)
    assert_exported(tg.argmax if largest else tg.argmin, [x], others)


# --- one's own ops -------------------------------------------------------------------------------


@pytest.mark.usefixtures("ops_of_its_own")
def test_an_op_of_ones_own() -> None:
    @tg.op(formula="x³", elementwise=True)
    def cube(x: Any) -> Any:
        return x * x * x

    class Cubed(tg.nn.Module):
        def forward(self, x: Any) -> Any:
            return cube(x)

    x = np.array([-2.0, 0.5], np.float32)
    with pytest.raises(tg.onnx.OnnxError, match=r"no exporter for cube in 0"):
        tg.onnx.export(tg.nn.Sequential(Cubed()), x)

    @tg.onnx.exporter(cube)
    def _(graph: tg.onnx.Graph, x: tg.onnx.Reference) -> Any:
        return graph.node("Pow", x, 3.0)

    try:
        file = assert_exported(cube, [x])
        assert [node.op_type for node in file.graph.node] == ["Pow"]
    finally:
        del EXPORTERS["cube"]


@pytest.mark.parametrize(("function", "name"), [
    (lambda x: tg.batch_norm(x), "batch_norm"),
    (lambda x: tg.dropout(x, IMAGES > 0), "dropout"),
    (lambda x: tg.avgpool_gradient(x, (2, 4, 14, 12)), "avgpool_gradient"),
])  # fmt: skip
def test_refused_ops_are_named(function: Callable[..., Any], name: str) -> None:
    with pytest.raises(tg.onnx.OnnxError, match=name):
        tg.onnx.export(function, IMAGES)
