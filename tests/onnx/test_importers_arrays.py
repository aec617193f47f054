"""Operators of arrays agree with onnxruntime, in old versions too; integers stay exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.onnx_nodes import agree, imported

import tinygrad_cnn as tg
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.onnx import OnnxError

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
FILLED = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


def values(shape: Any, dtype: Any = np.float32) -> Any:
    """Return numbers from a fixed generator."""
    return (3 * np.random.default_rng(len(shape)).normal(size=shape)).astype(dtype)


# --- integers ------------------------------------------------------------------------------------

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)


@given(INT64, INT64.filter(bool))
def test_integers_divide_exactly_and_towards_zero(a: int, b: int) -> None:
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    result = imported("Div", np.array(a), np.array([b]))
    assert result.tolist() == [quotient]
    assert result.dtype == np.int64
    agree("Div", np.array([a]), np.array([b]))


@given(st.integers(0, 255), st.integers(0, 255))
def test_integers_wrap_in_their_dtype(a: int, b: int) -> None:
    x, y = np.array([a], np.uint8), np.array(b, np.uint8)
    wrapped = {"Add": a + b, "Sub": a - b, "Mul": a * b, "Neg": -a, "Sum": a + b}
    for op_type, exact in wrapped.items():
        result = imported(op_type, x, *[y] * (op_type != "Neg"))
        assert (result.dtype, result.tolist()) == (np.uint8, [exact % 256])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("exponent", [np.int32, np.int64, np.float32, np.float64])
def test_pow_has_the_dtype_of_the_base(dtype: Any, exponent: Any) -> None:
    agree("Pow", np.array([[1], [2], [7]], dtype), np.array([0, 1, 2, 5], exponent), opset=15)


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32])
def test_mod_agrees_with_onnxruntime(dtype: Any, fmod: int) -> None:
    a = np.array([[-7], [-6], [0], [5], [7]], dtype)
    b = np.array([-4, -3, 2, 5], dtype)
    if dtype != np.float32 or fmod:
        agree("Mod", a, b, fmod=fmod)


# --- shapes --------------------------------------------------------------------------------------


@given(SHAPES, st.data())
def test_reshape_agrees_with_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    sizes = list(data.draw(st.permutations(shape)))
    x = values(shape)
    if 0 not in shape:
        kept = [0 if n == m else n for n, m in zip(sizes, shape, strict=True)]
        result = imported("Reshape", tg.Tensor(x), np.array(kept))
        np.testing.assert_array_equal(result.numpy(), x.reshape(sizes))
    exact = imported("Reshape", tg.Tensor(x), np.array(sizes), allowzero=1)
    np.testing.assert_array_equal(exact.numpy(), x.reshape(sizes))


def test_reshape_infers_a_size_and_refuses_what_does_not_exist() -> None:
    assert imported("Reshape", values((2, 0, 3)), np.array([0, -1, 3])).shape == (2, 0, 3)
    assert imported("Reshape", np.arange(4), np.array([2, -1])).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(OnnxError, match="0 stands for an axis"):
        imported("Reshape", values((2, 3)), np.array([2, 3, 0]))
    with pytest.raises(OnnxError, match="axes are"):
        imported("Squeeze", values((2, 3)), np.array([1]))
    with pytest.raises(OnnxError, match="axis is 2"):
        imported("Concat", values((2, 3)), axis=2)


@given(FILLED, st.data())
def test_slice_agrees_with_onnxruntime(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    bounds = st.sampled_from([-(2**63), -9, *range(-4, 5), 9])  # onnxruntime reads 2⁶³ − 1 its way
    starts, ends = ([data.draw(bounds) for _ in axes] for _ in range(2))
    steps = [data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in axes]
    agree("Slice", values(shape), *map(np.array, (starts, ends, axes, steps)))
    old = imported("Slice", values(shape), opset=9, axes=axes, starts=starts, ends=ends)
    new = imported("Slice", values(shape), *map(np.array, (starts, ends, axes)))
    np.testing.assert_array_equal(old, new)


@given(st.integers(1, 9), st.integers(2, 5))
def test_split_into_parts_that_differ(length: int, parts: int) -> None:
    if -(-length // parts) * (parts - 1) <= length:
        x = values((2, length))
        agree("Split", x, axis=1, num_outputs=parts, outputs=parts, opset=18)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "result"),
    [
        ("Unsqueeze", [np.array([1.5])], {"axes": [0, 2]}, [[[1.5]]]),
        ("Squeeze", [np.array([[1.5]])], {"axes": [1]}, [1.5]),
        ("Split", [np.array([1, 2, 3])], {"split": [1, 2], "axis": 0}, None),
        ("Clip", [np.array([-2.0, 0.5, 9.0])], {"min": -1.0, "max": 1.0}, [-1, 0.5, 1]),
        ("Clip", [np.array([-2.0, 0.5])], {"max": 0.0}, [-2, 0]),
        ("TopK", [np.array([1.0, 3.0, 2.0])], {"k": 2, "axis": 0}, None),
        ("Tile", [np.array([[1, 2]]), np.array(2), np.array(1)], {}, [[1, 2, 1, 2]]),
        ("ReduceSum", [np.array([[1.0, 2.0]])], {"axes": [1], "keepdims": 0}, [3.0]),
        ("Add", [np.zeros((2, 3, 1)), np.array([1.0, 2.0])], {"broadcast": 1, "axis": 0},
         [[[1.0]] * 3, [[2.0]] * 3]),
        ("And", [np.ones((2, 2), bool), np.array([True, False])], {"broadcast": 1},
         [[True, False], [True, False]]),
        ("Concat", [np.array([[1]]), np.array([[2]])], {}, [[1, 2]]),
    ],
)  # fmt: skip
def test_attributes_of_old_versions(
    op_type: str, inputs: Any, attributes: Any, result: Any
) -> None:
    outputs = imported(op_type, *inputs, opset=1 if op_type == "Tile" else 3, **attributes)
    if result is not None:
        assert outputs.tolist() == result
    elif op_type == "Split":
        assert [part.tolist() for part in outputs] == [[1], [2, 3]]
    else:
        assert [part.tolist() for part in outputs] == [[3.0, 2.0], [1, 2]]


# --- reductions and searches ---------------------------------------------------------------------

REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp")


@given(FILLED, st.sampled_from(REDUCTIONS), st.integers(0, 1), st.integers(0, 1), st.data())
def test_reductions_agree_with_onnxruntime(
    shape: tuple[int, ...], name: str, keepdims: int, noop: int, data: st.DataObject
) -> None:
    axes = data.draw(st.lists(st.integers(-len(shape), -1), unique=True))
    # where there are no axes, onnxruntime leaves out more than the reduction
    noop = noop if axes or name in ("Sum", "Mean", "Max", "Min", "Prod") else 0
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int32]))
    if name == "LogSumExp" and dtype == np.int32:
        dtype = np.float32
    x = (
        np.abs(values(shape, dtype))
        if name == "Mean" and dtype == np.int32
        else values(shape, dtype)
    )
    agree(
        f"Reduce{name}", x, np.array(axes, np.int64),
        keepdims=keepdims, noop_with_empty_axes=noop, opset=18,
    )  # fmt: skip


@given(FILLED, st.sampled_from(["ArgMax", "ArgMin"]), st.booleans(), st.booleans(), st.data())
def test_arg_max_agrees_with_onnxruntime(
    shape: tuple[int, ...], op_type: str, keepdims: bool, last: bool, data: st.DataObject
) -> None:
    x = np.round(values(shape) / 2)  # with ties
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    agree(op_type, x, axis=axis, keepdims=int(keepdims), select_last_index=int(last), opset=13)


@given(FILLED, st.booleans(), st.sampled_from([np.float32, np.int64]), st.data())
def test_top_k_agrees_with_onnxruntime(
    shape: tuple[int, ...], largest: bool, dtype: Any, data: st.DataObject
) -> None:
    x = np.round(values(shape) / 2).astype(dtype)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[axis]))
    agree("TopK", x, np.array([k]), axis=axis, largest=int(largest), outputs=2, opset=11)


@given(st.integers(1, 12), st.integers(0, 1), st.data())
def test_non_max_suppression_agrees_with_onnxruntime(
    count: int, centered: int, data: st.DataObject
) -> None:
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 1, (2, count, 4)).astype(np.float32)
    scores = rng.uniform(0, 1, (2, 3, count)).astype(np.float32)
    limits = (
        np.array([data.draw(st.integers(1, 5))]),
        np.array([0.3], "f4"),
        np.array([0.2], "f4"),
    )
    agree("NonMaxSuppression", boxes, scores, *limits, center_point_box=centered, opset=11)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 1))
def test_unique_agrees_with_onnxruntime(numbers: list[int], is_sorted: int) -> None:
    agree("Unique", np.array(numbers, np.float32), sorted=is_sorted, outputs=4, opset=11)


# --- picking and setting -------------------------------------------------------------------------


@given(st.sampled_from(["none", "add", "mul", "max", "min"]), st.booleans(), st.data())
def test_scattering_agrees_with_onnxruntime(
    reduction: str, is_float: bool, data: st.DataObject
) -> None:
    dtype = np.float32 if is_float else np.int64
    x, axis = values((4, 3), dtype), data.draw(st.integers(0, 1))
    shape = (6, 3) if axis == 0 else (4, 6)
    if reduction == "none":  # of a repeated index, any update may stay
        shape = (3, 3) if axis == 0 else (4, 2)
        order = np.random.default_rng(1).permuted(np.indices(x.shape)[axis], axis=axis)
        indices = order[: shape[0], : shape[1]]
    else:
        indices = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, x.shape[axis] - 1)))
    updates = np.random.default_rng(2).integers(-4, 5, shape).astype(dtype)
    options = {"axis": axis, "reduction": reduction, "opset": 18}
    agree("ScatterElements", x, indices, updates, **options)
    rows = indices[:, 0] % 4 if reduction != "none" else np.arange(len(indices)) % 4
    rows = rows[:4]
    agree("ScatterND", x, rows[:, np.newaxis], updates[: len(rows), :1] + np.zeros((1, 3), dtype),
          reduction=reduction, opset=18)  # fmt: skip


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_gradients_of_scattering_where_an_index_repeats(reduction: str) -> None:
    indices = np.array([[0, 1], [0, 2], [2, 1], [0, 1]])

    def f(x: Any, updates: Any) -> Any:
        return imported("ScatterElements", x, indices, updates, reduction=reduction)

    rng = np.random.default_rng(0)
    points = rng.normal(size=(3, 3)), rng.normal(size=(4, 2))
    tg.check.check_gradients(f, *points, method="central", entries=4)


@given(FILLED, st.data())
def test_gathering_agrees_with_onnxruntime(shape: tuple[int, ...], data: st.DataObject) -> None:
    x, axis = values(shape), data.draw(st.integers(0, len(shape) - 1))
    places = st.integers(-shape[axis], shape[axis] - 1)
    indices = data.draw(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
                                   elements=places))  # fmt: skip
    agree("Gather", x, indices, axis=axis)
    smaller = tuple(data.draw(st.integers(1, n)) for n in shape)
    agree("GatherElements", x, data.draw(hnp.arrays(np.int64, smaller, elements=places)), axis=axis)


@given(st.integers(0, 1), st.data())
def test_reverse_sequence_agrees_with_onnxruntime(time: int, data: st.DataObject) -> None:
    x = values((4, 4, 2))
    lengths = np.array([data.draw(st.integers(1, 4)) for _ in range(4)])
    agree("ReverseSequence", x, lengths, time_axis=time, batch_axis=1 - time, opset=10)


@given(st.data())
def test_columns_to_images_agrees_with_onnxruntime(data: st.DataObject) -> None:
    rank = 2  # onnxruntime is wrong for lines
    image, block, dilations, strides = (
        [data.draw(st.integers(*limits)) for _ in range(rank)]
        for limits in ((4, 6), (1, 2), (1, 2), (1, 2))
    )
    pads = [data.draw(st.integers(0, 1)) for _ in range(2 * rank)]
    counts = [
        (n + pads[a] + pads[a + rank] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1
        for a, n in enumerate(image)
    ]
    x = values((2, 3 * int(np.prod(block)), int(np.prod(counts))))
    agree("Col2Im", x, np.array(image), np.array(block),
          dilations=dilations, strides=strides, pads=pads, opset=18)  # fmt: skip


# --- others --------------------------------------------------------------------------------------


@given(st.booleans(), st.booleans(), st.data())
def test_running_sums_agree_with_onnxruntime(
    exclusive: bool, reverse: bool, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from([np.float32, np.int64]))
    x, axis = values((3, 4), dtype), np.array(data.draw(st.integers(-2, 1)))
    agree("CumSum", x, axis, exclusive=int(exclusive), reverse=int(reverse), opset=14)


@given(st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_regions_agree_with_onnxruntime(ratio: int, half: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(-4, 24, (5, 2, 2)), 1).reshape(5, 4).astype(np.float32)
    mode = "half_pixel" if half else "output_half_pixel"
    agree("RoiAlign", values((2, 3, 8, 9)), corners, rng.integers(0, 2, 5), spatial_scale=0.5,
          sampling_ratio=ratio, output_height=3, output_width=2, opset=16,
          coordinate_transformation_mode=mode)  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_determinants_agree_with_onnxruntime(n: int) -> None:
    x = values((2, 3, n, n))
    x[0, 0, -1] = x[0, 0, 0] * (n > 1)  # singular
    agree("Det", x, opset=11)


@pytest.mark.parametrize("op_type", ["Asinh", "Atanh", "Acosh", "Asin", "Acos"])
def test_inverse_functions_keep_their_digits(op_type: str) -> None:
    limits = {"Asinh": (-1e9, 1e9), "Acosh": (1, 1e9)}.get(op_type, (-1, 1))
    small = [1e-9, -1e-9, 1e-4, -1e-4, 0.3, -0.3]
    at = [*small, *limits] if op_type != "Acosh" else [1 + 1e-9, 1.0, 1.5, 1e9]
    x = np.array([v for v in at if op_type != "Atanh" or abs(v) < 1])
    exact = getattr(np, f"arc{op_type[1:].lower()}")(x)
    np.testing.assert_allclose(imported(op_type, tg.Tensor(x)).numpy(), exact, rtol=1e-14)


@pytest.mark.parametrize("block", [0, 2])
def test_quantization_agrees_with_onnxruntime(block: int) -> None:
    shape = (2, 3, 2) if block else (3,)
    scale = np.abs(values(shape)) + 0.1
    zero = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    x = values((2, 3, 4))
    options = {"axis": 2 if block else 1, "opset": 21, **({"block_size": block} if block else {})}
    agree("QuantizeLinear", x, scale, zero, **options)
    agree("DequantizeLinear", x.astype(np.uint8), scale, zero, **options)


def test_floats_are_tensors_and_other_values_arrays() -> None:
    x = tg.Tensor(values((2, 3)), requires_grad=True)
    floats = [
        imported("Where", np.array([True]), x, x), imported("Cast", x, to=11),
        *imported("Split", x), imported("Clip", x, np.float32(0)), imported("Trilu", x),
        imported("Mod", x, x, fmod=1),
        imported("OneHot", np.array([1]), np.array(3), x[0, :2]), imported("Expand", x, [2, 2, 3]),
    ]  # fmt: skip
    assert all(isinstance(y, Variable) and y.requires_grad for y in floats)
    others = [
        imported("Shape", x), imported("Size", x), imported("Cast", x, to=7), imported("IsNaN", x),
        imported("Greater", x, x), imported("ArgMax", x), imported("NonZero", x),
        imported("EyeLike", x), imported("Cast", x, to=8),
    ]  # fmt: skip
    assert all(type(y) is np.ndarray for y in others)


def test_text_is_compared_chosen_and_cast() -> None:
    text = np.array(["1.5", "-2", "NaN"], object)
    assert imported("Equal", text, np.array(["1.5"], object)).tolist() == [True, False, False]
    np.testing.assert_array_equal(imported("Cast", text, to=1), np.float32([1.5, -2, np.nan]))
    assert imported("Cast", np.float32([0.1, 2.0, np.inf]), to=8).tolist() == ["0.1", "2", "INF"]
    chosen = imported("Where", np.array([True, False, True]), text, text[::-1])
    assert chosen.tolist() == ["1.5", "-2", "NaN"]
