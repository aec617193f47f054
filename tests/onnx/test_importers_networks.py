"""Operators of networks agree with onnxruntime at sizes in use, and have right gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.onnx_nodes import agree, imported

import tinygrad_cnn as tg
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator


def values(*shape: int, dtype: Any = np.float32) -> Any:
    """Return numbers from a fixed generator."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


@st.composite
def windows(draw: st.DrawFn, pooling: bool = False) -> tuple[list[int], dict[str, Any]]:
    """Return the sizes of an image, and attributes of windows on it that onnxruntime takes.

    It pads otherwise with auto_pad where the stride is above the kernel, or with dilation.
    """
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    sizes = [draw(st.integers(8, {1: 30, 2: 15, 3: 9}[rank])) for _ in range(rank)]
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if auto_pad == "NOTSET":
        limits = [k - 1 if pooling else k + 1 for k in kernel]
        attributes["pads"] = [draw(st.integers(0, limit)) for limit in limits * 2]
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in kernel]
        if pooling:
            attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attributes["auto_pad"] = auto_pad
    most = kernel if auto_pad.startswith("SAME") else [3] * rank
    attributes["strides"] = [draw(st.integers(1, m)) for m in most]
    return sizes, attributes


@given(windows(), st.sampled_from([(4, 6, 1), (4, 6, 2), (4, 4, 4)]), st.booleans())
def test_conv_agrees_with_onnxruntime(at: Any, channels: Any, biased: bool) -> None:
    (sizes, attributes), (c, oc, groups) = at, channels
    x, w = values(2, c, *sizes), values(oc, c // groups, *attributes["kernel_shape"])
    agree("Conv", x, w, *[values(oc)] * biased, group=groups, **attributes)


@given(windows(pooling=True))
def test_max_pool_agrees_with_onnxruntime(at: Any) -> None:
    sizes, attributes = at
    agree("MaxPool", values(2, 3, *sizes), outputs=2, **attributes)


@given(windows(pooling=True), st.integers(0, 1))
def test_average_pool_agrees_with_onnxruntime(at: Any, border: int) -> None:
    sizes, attributes = at
    agree("AveragePool", values(2, 3, *sizes), count_include_pad=border, **attributes)


@given(windows(), st.sampled_from([(4, 6, 1), (4, 6, 2)]), st.booleans(), st.data())
def test_conv_transpose_agrees_with_onnxruntime(
    at: Any, channels: Any, biased: bool, data: Any
) -> None:
    (sizes, attributes), (c, oc, groups) = at, channels
    x, w = values(2, c, *sizes), values(c, oc // groups, *attributes["kernel_shape"])
    if "auto_pad" not in attributes:
        steps = attributes["strides"]
        attributes["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in steps]
    agree("ConvTranspose", x, w, *[values(oc)] * biased, group=groups, **attributes)


@pytest.mark.parametrize("transformation", ["half_pixel", "asymmetric", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@given(st.data())
def test_resize_agrees_with_onnxruntime(mode: str, transformation: str, data: Any) -> None:
    x = values(2, 3, *data.draw(st.tuples(st.integers(4, 30), st.integers(4, 30))))
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transformation}
    if mode == "nearest":
        rounding = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        options["nearest_mode"] = data.draw(st.sampled_from(rounding))
    elif data.draw(st.booleans()):
        options["antialias"] = 1
    if mode == "cubic":
        options["exclude_outside"] = data.draw(st.integers(0, 1))
        options["cubic_coeff_a"] = data.draw(st.sampled_from([-0.75, -0.5]))
    if data.draw(st.booleans()):
        size = data.draw(st.tuples(st.integers(2, 40), st.integers(2, 40)))
        agree("Resize", x, None, None, np.array([2, 3, *size]), atol=1e-4, **options)
    else:
        factors = st.sampled_from([0.25, 0.5, 0.75, 1.5, 2, 3])
        scales = np.array([1, 1, data.draw(factors), data.draw(factors)], np.float32)
        agree("Resize", x, None, scales, atol=1e-4, **options)


@given(st.data(), st.sampled_from(["forward", "reverse", "bidirectional"]), st.booleans())
@pytest.mark.parametrize(("op_type", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_networks_agree_with_onnxruntime(
    op_type: str, gates: int, data: Any, direction: str, reset: bool
) -> None:
    ways, steps, batch, size = 1 + (direction == "bidirectional"), 5, 3, 4
    lengths = np.array(data.draw(st.lists(st.integers(1, steps), min_size=3, max_size=3)), np.int32)
    arrays = [
        values(steps, batch, 6),
        values(ways, gates * size, 6),
        values(ways, gates * size, size),
        values(ways, 2 * gates * size),
        data.draw(st.sampled_from([None, lengths])),
        values(ways, batch, size),
    ]
    options: dict[str, Any] = {"hidden_size": size, "direction": direction, "outputs": 2}
    if op_type == "GRU":
        options["linear_before_reset"] = int(reset)
    agree(op_type, *arrays, opset=14, **options)


def test_recurrent_networks_agree_at_sizes_of_text_recognizers() -> None:
    arrays = [values(26, 2, 96), values(2, 192, 96) / 8, values(2, 192, 48) / 8, values(2, 384)]
    agree("LSTM", *arrays, opset=14, hidden_size=48, direction="bidirectional", outputs=3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_joins_the_axes_before_opset_13(op_type: str, axis: int) -> None:
    agree(op_type, values(2, 3, 4), opset=11, axis=axis)
    agree(op_type, values(2, 3, 4), opset=13, axis=axis)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad_cuts_off_with_negative_widths(mode: str) -> None:
    x = values(2, 3, 6, 7)
    agree("Pad", x, np.array([0, 0, -1, 2, 0, 0, 2, -3]), opset=18, mode=mode)
    agree("Pad", x, opset=2, mode=mode, pads=[0, 0, 1, 2, 0, 0, 2, 3])


@pytest.mark.parametrize("size", [1, 2, 3, 4])  # onnxruntime refuses even sizes
def test_lrn_sums_over_more_channels_after_than_before(size: int) -> None:
    x = values(2, 6, 4, 4)
    near = [slice(max(0, c - (size - 1) // 2), c + size // 2 + 1) for c in range(6)]
    sums = np.stack([(x[:, at] ** 2).sum(1) for at in near], 1)
    y = imported("LRN", x, size=size, alpha=0.5, beta=0.6, bias=1.5)
    np.testing.assert_allclose(y, x / (1.5 + 0.5 / size * sums) ** 0.6, rtol=1e-5)


def test_batch_normalization_uses_the_statistics_in_the_file() -> None:
    x, channels = values(8, 5, 7, 7), [abs(values(5)) + k for k in range(4)]
    agree("BatchNormalization", x, *channels, opset=9)
    agree("BatchNormalization", x[:, :, 0, 0], *channels, epsilon=0.1)


GRADIENTS: dict[str, tuple[str, list[tuple[int, ...]], dict[str, Any]]] = {
    "conv, uneven border": (
        "Conv",
        [(2, 2, 5, 4), (4, 1, 3, 2), (4,)],
        {"pads": [0, 1, 2, 0], "strides": [2, 1], "group": 2},
    ),
    "conv of volumes": (
        "Conv",
        [(1, 2, 3, 4, 3), (2, 2, 2, 2, 1), (2,)],
        {"pads": [1, 0, 0, 0, 1, 0], "strides": [2, 1, 1], "dilations": [1, 2, 1]},
    ),
    "transposed conv, uneven border": (
        "ConvTranspose",
        [(1, 2, 3, 3), (2, 2, 3, 2), (2,)],
        {"pads": [0, 1, 1, 0], "strides": [2, 2]},
    ),
    "transposed conv of volumes": (
        "ConvTranspose",
        [(1, 2, 2, 3, 2), (2, 1, 3, 2, 2), (1,)],
        {"pads": [1, 0, 0, 0, 0, 1], "strides": [2, 1, 2]},
    ),
    "maximum of volumes": (
        "MaxPool",
        [(1, 2, 4, 3, 4)],
        {"kernel_shape": [2, 2, 3], "strides": [2, 1, 1]},
    ),
    "average of volumes": (
        "AveragePool",
        [(1, 1, 4, 3, 4)],
        {"kernel_shape": [2, 2, 2], "pads": [1, 0, 1, 0, 0, 0]},
    ),
    "average with dilation": (
        "AveragePool",
        [(1, 2, 5, 6)],
        {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1] * 4},
    ),
    "p-norm": ("LpPool", [(1, 2, 4, 4)], {"kernel_shape": [2, 2], "p": 3}),
    "batch statistics": ("BatchNormalization", [(4, 2, 3), (2,), (2,)], {"training_mode": 1}),
    "layer": ("LayerNormalization", [(3, 2, 4), (2, 4), (2, 4)], {"axis": 1}),
    "root mean square": ("RMSNormalization", [(3, 4), (4,)], {}),
    "channel neighbors": ("LRN", [(2, 5, 2)], {"size": 2, "alpha": 0.5}),
    "norm": ("LpNormalization", [(3, 4)], {"p": 2}),
    "gemm": (
        "Gemm",
        [(3, 2), (4, 3), (2, 4)],
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    "slopes": ("PRelu", [(2, 3, 4), (3, 1)], {}),
    "shrink": ("Shrink", [(3, 4)], {"lambd": 0.3, "bias": 0.1}),
    "recurrence": (
        "GRU",
        [(3, 2, 2), (2, 9, 2), (2, 9, 3), (2, 18)],
        {"direction": "bidirectional"},
    ),
    "memory": (
        "LSTM",
        [(3, 2, 2), (1, 12, 2), (1, 12, 3), (1, 24)],
        {"direction": "reverse"},
    ),
    "moved windows": (
        "DeformConv",
        [(1, 2, 4, 4), (2, 1, 2, 2), (1, 16, 3, 3), (2,), (1, 8, 3, 3)],
        {"group": 2, "offset_group": 2},
    ),
    "attention": ("Attention", [(2, 2, 3, 4), (2, 1, 3, 4), (2, 1, 3, 5)], {"is_causal": 1}),
}
"""By name: an operator, the shapes of its inputs and its attributes."""


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    op_type, shapes, attributes = GRADIENTS[name]
    arrays = [values(*shape, dtype=np.float64) for shape in shapes]
    rest = [np.zeros(2), np.ones(2)] if op_type == "BatchNormalization" else []

    def f(*inputs: Any) -> Any:
        y = imported(op_type, *inputs, *rest, **attributes)
        return y[0] if isinstance(y, tuple) else y

    tg.check.check_gradients(f, *arrays)


@pytest.mark.parametrize("options", [
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "antialias": 1},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    {"mode": "nearest", "nearest_mode": "ceil"},
])  # fmt: skip
def test_resize_gradient(options: Any) -> None:
    x, sizes = values(2, 2, 4, 5, dtype=np.float64), np.array([2, 2, 3, 7])
    tg.check.check_gradients(lambda x: imported("Resize", x, None, None, sizes, **options), x)


def test_resize_leaves_what_is_beyond_a_region_without_gradient() -> None:
    x, roi = tg.Tensor(values(1, 1, 4, 4), requires_grad=True), np.array([0, 0, 2, 2, 1, 1, 3, 3])
    options = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    y = imported("Resize", x, roi.astype(np.float32), None, np.array([1, 1, 3, 3]), **options)
    assert not y.numpy().any()
    assert not tg.grad(y.sum(), x)[0].any()


def test_dropout_drops_in_train_mode() -> None:
    x = tg.Tensor(np.ones((50, 50), np.float32), requires_grad=True)
    node = Operator("Dropout", opset=13, outputs=2)
    y, mask = IMPORTERS["Dropout"](node, x)
    assert y is x
    assert mask.all()
    tg.manual_seed(0)
    y, mask = IMPORTERS["Dropout"](replace(node, training=True), x, np.float32(0.25))
    assert 0.7 < mask.mean() < 0.8
    np.testing.assert_allclose(y, mask / 0.75, rtol=1e-6)
    np.testing.assert_allclose(tg.grad(y.sum(), x)[0], mask / 0.75, rtol=1e-6)


@pytest.mark.parametrize("opset", [12, 13])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
def test_the_softmax_of_no_values_is_as_onnxruntime_has_it(op_type: str, opset: int) -> None:
    agree(op_type, np.zeros((3, 0), np.float32), opset=opset, axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_center_crop_pad_agrees_with_onnxruntime(dtype: Any) -> None:
    x = np.arange(5 * 4 * 3).reshape(5, 4, 3).astype(dtype)
    agree("CenterCropPad", x, np.array([2, 7]), opset=18, axes=[0, 1])
    agree("CenterCropPad", x, np.array([8, 3, 3]), opset=18)


def test_an_operator_of_the_package_is_declared_once() -> None:
    def again(node: Operator, x: Any) -> Any:
        return x

    again.__module__ = "tinygrad_cnn.onnx.importers.again"
    relu = IMPORTERS["Relu"]
    with pytest.raises(ValueError, match=r"Relu is declared in .*\.again and in .*\.activation"):
        tg.onnx.importer("Relu")(again)
    assert IMPORTERS["Relu"] is relu
