"""Layers: what they compute against NumPy written out, what they refuse, and their dtypes."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from support.every_layer import LAYERS

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

NAMES = st.sampled_from(sorted(LAYERS))
SEEDS = st.integers(0, 2**32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_table_has_every_layer() -> None:
    layers = set(nn.layers.__all__)
    assert {name.split()[0] for name in LAYERS} == layers, "add a line to LAYERS, above"
    assert layers <= set(nn.__all__), "export it in nn/__init__.py too"


# --- properties of every layer -------------------------------------------------------------------


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_one_dtype_goes_through_forward_backward_and_state(
    name: str, dtype: str, mode: bool
) -> None:
    make, shape = LAYERS[name]
    with tg.default_dtype(dtype):
        layer = make(rng()).train(mode)
    x = tg.Tensor(rng(1).normal(size=shape).astype(dtype), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    held = [y, x.grad, *(p.grad for p in layer.parameters()), *layer.state_dict().values()]
    counts = (
        [np.dtype("i8")] if any(name.endswith("tracked") for name in layer.state_dict()) else []
    )
    assert {array.dtype for array in held} == {np.dtype(dtype), *counts}


@given(NAMES, SEEDS)
def test_the_same_seed_gives_the_same_bits(name: str, seed: int) -> None:
    make, shape = LAYERS[name]
    x = tg.Tensor(rng(1).normal(size=shape).astype("f4"))
    first, second = make(rng(seed)), make(rng(seed))
    for key, array in first.state_dict().items():
        assert array.tobytes() == second.state_dict()[key].tobytes()
    assert first(x).numpy().tobytes() == second(x).numpy().tobytes()


@pytest.mark.parametrize("name", LAYERS)
def test_plain_arrays_and_an_empty_batch_are_taken(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make(rng()).eval()
    x = rng(1).normal(size=shape).astype("f4")
    np.testing.assert_array_equal(np.asarray(layer(x)), layer(tg.Tensor(x)).numpy())
    empty = layer(tg.Tensor(x[:0]))
    assert empty.shape == (0, *layer(tg.Tensor(x)).shape[1:])


# --- weights -------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 4), SEEDS)
def test_biases_per_connection_are_those_of_equation_25(n: int, m: int, seed: int) -> None:
    with tg.default_dtype("float64"):
        layer = nn.Linear(n, m, "per_connection", rng=rng(seed), bias_init=nn.init.standard_normal)
    x = rng(seed + 1).normal(size=(3, n))
    w, b = layer.weight.data, layer.bias.data
    z = [[sum(x[k, p] * w[i, p] + b[i, p] for p in range(n)) for i in range(m)] for k in range(3)]
    y = layer(x)
    np.testing.assert_allclose(y.numpy(), z, atol=1e-12)
    y.sum().backward()
    np.testing.assert_allclose(layer.bias.grad, np.full((m, n), 3.0))  # ∂z_i/∂b_ip = 1


@given(SEEDS)
def test_a_convolution_is_the_sum_over_its_windows(seed: int) -> None:
    with tg.default_dtype("float64"):
        layer = nn.Conv2d(
            4,
            6,
            (2, 3),
            (2, 1),
            (1, 2),
            (1, 2),
            2,
            rng=rng(seed),
            bias_init=nn.init.standard_normal,
        )
    x = rng(seed + 1).normal(size=(2, 4, 5, 6))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)])
    y = layer(x).numpy()
    expected = np.zeros_like(y)
    for o, i, j in np.ndindex(y.shape[1:]):
        group = slice(2 * (o // 3), 2 * (o // 3) + 2)
        window = padded[:, group, 2 * i : 2 * i + 2, j : j + 5 : 2]
        expected[:, o, i, j] = (window * layer.weight.data[o]).sum((1, 2, 3)) + layer.bias.data[o]
    np.testing.assert_allclose(y, expected, atol=1e-12)


@given(SEEDS, st.sampled_from([1, 2]))
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(seed: int, groups: int) -> None:
    with tg.default_dtype("float64"):
        down = nn.Conv2d(4, 6, 3, 2, 1, groups=groups, bias=False, rng=rng(seed))
        up = nn.ConvTranspose2d(6, 4, 3, 2, 1, groups=groups, bias=False, rng=rng(seed))
    up.load_state_dict(down.state_dict())
    x, u = rng(seed).normal(size=(1, 4, 5, 5)), rng(seed + 1).normal(size=(1, 6, 3, 3))
    np.testing.assert_allclose((down(x).numpy() * u).sum(), (x * up(u).numpy()).sum())


def test_a_transposed_convolution_is_drawn_with_its_own_fans() -> None:
    asked: list[tuple[int, ...]] = []

    def numbered(shape: Any, generator: Any, dtype: Any) -> Any:
        asked.append(shape)
        return np.arange(np.prod(shape), dtype=dtype).reshape(shape)

    layer = nn.ConvTranspose2d(4, 6, (1, 2), groups=2, rng=rng(), init=numbered)
    assert asked == [(3, 2, 1, 2)] * 2  # (OC / groups, C / groups, KH, KW), for each group
    kernels = numbered(asked[0], None, "f4")
    for group, i, o in np.ndindex(2, 2, 3):
        weight = layer.weight.data[2 * group + i, o]
        np.testing.assert_array_equal(weight, kernels[o, i])


@pytest.mark.parametrize("groups", [1, 4, 64])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_each_group_is_drawn_with_its_own_fans(kind: Any, groups: int) -> None:
    """With the fans of the whole, Glorot's variance of 64 groups of 3 × 3 is 32 times too small."""
    layer = kind(64, 64, 3, groups=groups, rng=rng(), init=nn.init.xavier_normal)
    fan = 9 * 64 // groups  # in as out: 64 / groups channels, 9 cells
    assert layer.weight.data.std() == pytest.approx(math.sqrt(2 / (fan + fan)), rel=0.1)
    assert layer.weight.shape == (64, 64 // groups, 3, 3)


def test_the_groups_of_a_seed_are_the_same_kernels_as_before() -> None:
    """Drawn group by group or at once, a generator gives the same numbers."""
    layer = nn.Conv2d(4, 6, 3, groups=2, rng=np.random.default_rng(5))
    at_once = nn.init.kaiming_uniform((6, 2, 3, 3), np.random.default_rng(5))
    np.testing.assert_array_equal(layer.weight.data, at_once)


def test_an_initializer_is_used_and_what_it_returns_is_checked() -> None:
    ones = nn.init.constant(1.0)
    layer = nn.Linear(2, 2, rng=rng(), init=ones, bias_init=nn.init.constant(2.0))
    assert layer.weight.data.tolist() == [[1, 1], [1, 1]]
    assert layer.bias.data.tolist() == [2, 2]
    with pytest.raises(ValueError, match="Linear: init returned float64 of shape"):
        nn.Linear(2, 2, rng=rng(), init=lambda shape, rng, dtype: np.zeros(shape))
    with pytest.raises(ValueError, match="Linear: bias_init returned list of shape"):
        nn.Linear(2, 2, rng=rng(), bias_init=lambda shape, rng, dtype: [0.0, 0.0])
    for layer_type in (nn.Conv2d, nn.ConvTranspose2d):
        with pytest.raises(TypeError, match="init is 'he', expected a function"):
            layer_type(2, 2, 1, rng=rng(), init="he")


def test_weights_are_he_uniform_and_biases_zero_if_not_told_otherwise() -> None:
    layer = nn.Conv2d(3, 8, 5, rng=rng(3))
    expected = nn.init.kaiming_uniform((8, 3, 5, 5), rng(3), "f4")
    np.testing.assert_array_equal(layer.weight.data, expected)
    assert not layer.bias.data.any()


# --- pooling, shapes, activations ----------------------------------------------------------------


def test_layers_pass_their_options_to_their_op() -> None:
    x = rng().normal(size=(2, 3, 7, 6))
    for layer, expected in (
        (
            nn.MaxPool2d((3, 2), 2, 1, (1, 2), ceil_mode=True),
            tg.maxpool(x, (3, 2), 2, 1, (1, 2), True),
        ),
        (nn.AvgPool2d(3, 2, 1, True, False), tg.avgpool(x, 3, 2, 1, True, False)),
        (nn.GlobalAvgPool2d(), x.mean((2, 3))),
        (nn.MaxPool2d(2, padding="same"), tg.maxpool(x, 2, padding="same")),
        (nn.AdaptiveAvgPool2d((None, 4)), tg.adaptive_avgpool(x, (None, 4))),
        (nn.AdaptiveMaxPool2d([3, 4]), tg.adaptive_maxpool(x, (3, 4))),
        (nn.AdaptiveAvgPool1d((2,)), tg.adaptive_avgpool1d(x[0], 2)),
        (nn.AdaptiveMaxPool1d(2), tg.adaptive_maxpool1d(x[0], 2)),
        (nn.MaxPool1d(3, 2, 1, 2, ceil_mode=True), tg.maxpool1d(x[0], 3, 2, 1, 2, True)),
        (
            nn.AvgPool1d((3,), 1, (0, 1), False, False),
            tg.avgpool1d(x[0], 3, 1, (0, 1), False, False),
        ),
        (nn.Upsample(scale_factor=(2, 1.5)), tg.interpolate(x, scale_factor=(2, 1.5))),
        (nn.Upsample(9, None, "bicubic", True), tg.interpolate(x, (9, 9), None, "bicubic", True)),
        (nn.ZeroPad2d((1, 2, 3, 4)), np.pad(x, [(0, 0), (0, 0), (3, 4), (1, 2)])),
        (nn.ZeroPad2d(2), np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)])),
        (nn.ReflectionPad2d((1, 2, 3, 4)), np.pad(x, [(0, 0), (0, 0), (3, 4), (1, 2)], "reflect")),
        (nn.ReplicationPad2d((1, 2, 3, 4)), np.pad(x, [(0, 0), (0, 0), (3, 4), (1, 2)], "edge")),
        (nn.CircularPad2d((1, 2, 3, 4)), np.pad(x, [(0, 0), (0, 0), (3, 4), (1, 2)], "wrap")),
        (nn.Unfold((3, 2), 2, 1, (2, 1)), tg.unfold(x, (3, 2), 2, 1, (2, 1))),
        (nn.PixelUnshuffle(1), x),
        (nn.PixelShuffle(1), x),
        (nn.Flatten(), x.reshape(2, -1)),
        (nn.Flatten(0, -2), x.reshape(-1, 6)),
        (nn.LeakyReLU(0.3), np.where(x >= 0, x, 0.3 * x)),
        (nn.Softmax(1, 2.0), np.exp(x / 2) / np.exp(x / 2).sum(1, keepdims=True)),
        (nn.GELU(), x * special.ndtr(x)),
        (nn.GELU("tanh"), tg.gelu(x, "tanh")),
        (nn.Sigmoid(), 1 / (1 + np.exp(-x))),
        (nn.Tanh(), np.tanh(x)),
        (nn.ReLU(), np.maximum(x, 0)),
        (nn.CELU(0.5), np.where(x > 0, x, 0.5 * np.expm1(x / 0.5))),
        (nn.ELU(0.5), np.where(x > 0, x, 0.5 * np.expm1(x))),
        (nn.Hardtanh(-0.5, 1.0), np.clip(x, -0.5, 1.0)),
        (nn.Hardsigmoid(), np.clip(x / 6 + 0.5, 0, 1)),
        (nn.Hardswish(), x * np.clip(x / 6 + 0.5, 0, 1)),
        (nn.ReLU6(), np.clip(x, 0, 6)),
        (nn.Tanhshrink(), x - np.tanh(x)),
        (nn.LogSigmoid(), np.log(special.expit(x))),
        (nn.Softsign(), x / (1 + np.abs(x))),
        (nn.LogSoftmax(1), special.log_softmax(x, 1)),
        (nn.LogSoftmax(temperature=2.0), special.log_softmax(x / 2, -1)),
        (nn.SiLU(), x * special.expit(x)),
        (nn.Mish(), x * np.tanh(np.log1p(np.exp(x)))),
        (nn.SELU(), tg.selu(x)),
        (nn.Softplus(2.0, 1.0), np.where(2 * x > 1, x, np.log1p(np.exp(2 * x)) / 2)),
    ):
        images = x[0] if "1d" in type(layer).__name__ else x
        np.testing.assert_allclose(layer(tg.Tensor(images)).numpy(), expected, err_msg=repr(layer))


def test_prelu_learns_a_slope_for_each_channel() -> None:
    x = rng().normal(size=(2, 3, 4, 4))
    with tg.default_dtype("f8"):
        layer = nn.PReLU(3, 0.5)
    layer.weight.data[:] = [0.5, 0.25, -1.0]
    w = np.array([0.5, 0.25, -1.0]).reshape(3, 1, 1)
    y = layer(tg.Tensor(x))
    np.testing.assert_allclose(y.numpy(), np.where(x > 0, x, w * x))
    y.sum().backward()
    np.testing.assert_allclose(layer.weight.grad, np.minimum(x, 0).sum((0, 2, 3)))


def test_layers_pass_the_slope_at_0_on() -> None:
    x = tg.Tensor([0.0], requires_grad=True)
    for layer, slope in (
        (nn.ReLU(), 1), (nn.ReLU(at_zero=0.0), 0), (nn.LeakyReLU(0.25), 1),
        (nn.LeakyReLU(2.0, at_zero=2.0), 2), (nn.LeakyReLU(0.25, at_zero=0.5), 0.5),
    ):  # fmt: skip
        assert tg.grad(layer(x), x)[0] == [slope]
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.ReLU(at_zero=0.0)) == "ReLU(at_zero=0.0)"


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_images_or_signals_takes_one_without_a_batch_axis(name: str) -> None:
    if not re.search(r"Conv|Pool|Pad|Pixel|old", name):
        return
    make, shape = LAYERS[name]
    x = rng(1).normal(size=shape).astype("f4")
    layer = make(rng()).eval()
    np.testing.assert_allclose(np.asarray(layer(x[0])), np.asarray(layer(x))[0], rtol=2e-6)


# --- refusing ------------------------------------------------------------------------------------

R = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(0, 1, rng=R), "Linear: in_features is 0, expected an integer"),
        (lambda: nn.Linear(1, 2.5, rng=R), "Linear: out_features is 2.5"),
        (lambda: nn.Linear(1, True, rng=R), "Linear: out_features is True"),
        (lambda: nn.Linear(1, 1, "each", rng=R), "Linear: bias is 'each', expected one of True"),
        (lambda: nn.Linear(1, 1, 1, rng=R), "Linear: bias is 1, expected"),
        (lambda: nn.Conv2d(3, 4, 0, rng=R), "Conv2d: kernel_size is 0"),
        (lambda: nn.Conv2d(3, 4, (1, 2, 3), rng=R), r"Conv2d: kernel_size is \(1, 2, 3\)"),
        (lambda: nn.Conv2d(3, 4, 3, stride=-1, rng=R), "Conv2d: stride is -1"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1, rng=R), "Conv2d: padding is -1"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full", rng=R), "padding is 'full', expected one of"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=0, rng=R), "Conv2d: dilation is 0"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2, rng=R), "in_channels is 3, expected a multiple of"),
        (lambda: nn.Conv2d(2, 3, 3, groups=2, rng=R), "out_channels is 3, expected a multiple of"),
        (lambda: nn.Conv2d(2, 3, 3, bias="per_connection", rng=R), "Conv2d: bias is"),
        (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 0, 2, rng=R), "output_padding is 2, expected less"),
        (lambda: nn.ConvTranspose2d(2, 3, 3, 1, 0, 2, dilation=2, rng=R), "stride 1 or dilation 2"),
        (lambda: nn.ConvTranspose2d(2, 3, 3, (2,), rng=R), r"stride is \(2,\), expected .* a pair"),
        (lambda: nn.Conv2d(2, 3, 3, dilation=[2], rng=R), r"dilation is \[2\], expected .* a pair"),
        (lambda: nn.ConvTranspose2d(2, 3, 3, padding="same", rng=R), "padding is 'same'"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size is 0"),
        (lambda: nn.MaxPool2d(2, 0), "MaxPool2d: stride is 0"),
        (lambda: nn.MaxPool2d(2, padding=2), "at most half of a window"),
        (lambda: nn.AvgPool2d(3, padding=3, wide_padding=True), "padding is 3, expected less"),
        (lambda: nn.MaxPool2d((2,)), r"MaxPool2d: kernel_size is \(2,\)"),
        (lambda: nn.MaxPool2d(2, ceil_mode=1), "MaxPool2d: ceil_mode is 1"),
        (lambda: nn.AvgPool2d(2, count_include_pad=None), "AvgPool2d: count_include_pad is None"),
        (lambda: nn.Conv2d(2, 3, 3, padding_mode="edge", rng=R), "padding_mode is 'edge', exp"),
        (lambda: nn.Conv1d(2, 3, (3, 3), rng=R), r"Conv1d: kernel_size is \(3, 3\)"),
        (lambda: nn.Conv1d(2, 3, 3, padding="full", rng=R), "padding is 'full', expected one of"),
        (lambda: nn.Conv1d(2, 3, 3, padding=(1, -1), rng=R), r"Conv1d: padding\[1\] is -1"),
        (lambda: nn.Conv2d(2, 3, 3, padding=((1, 1),), rng=R), "top, bottom"),
        (lambda: nn.ConvTranspose1d(2, 3, 3, 2, 0, 2, rng=R), "output_padding is 2, expected less"),
        (lambda: nn.MaxPool1d(2, padding=2), r"MaxPool1d: padding is \(0, 2\), expected at"),
        (lambda: nn.AvgPool1d(2, 0), "AvgPool1d: stride is 0"),
        (lambda: nn.AdaptiveAvgPool2d(0), "AdaptiveAvgPool2d: output_size is 0"),
        (lambda: nn.AdaptiveMaxPool2d((1, 2, 3)), r"output_size is \(1, 2, 3\), expected"),
        (lambda: nn.AdaptiveMaxPool1d((1, 2)), r"AdaptiveMaxPool1d: output_size is \(1, 2\)"),
        (lambda: nn.Upsample(), "Upsample: size is None and scale_factor None, expected exactly"),
        (lambda: nn.Upsample(2, mode="cubic"), "Upsample: mode is 'cubic', expected one of"),
        (lambda: nn.ZeroPad2d(-1), "ZeroPad2d: padding is -1, expected an integer >= 0"),
        (lambda: nn.ZeroPad2d((1, 2)), r"padding is \(1, 2\), expected .* \(left, right, top"),
        (lambda: nn.Unfold(0), "Unfold: kernel_size is 0, expected an integer >= 1"),
        (lambda: nn.Fold(2, 1, padding=-1), "Fold: padding is -1, expected an integer >= 0"),
        (lambda: nn.PixelShuffle(0), "PixelShuffle: upscale_factor is 0"),
        (lambda: nn.PixelUnshuffle(1.5), "PixelUnshuffle: downscale_factor is 1.5"),
        (lambda: nn.Dropout(1.5, rng=R), "Dropout: p is 1.5, expected a number from 0 to 1"),
        (lambda: nn.Embedding(0, 3, rng=R), "Embedding: num_embeddings is 0"),
        (lambda: nn.Embedding(3, 0, rng=R), "Embedding: embedding_dim is 0"),
        (lambda: nn.Embedding(3, 1, 3, rng=R), "Embedding: padding_idx is 3, expected less than 3"),
        (lambda: nn.Embedding(3, 1, -4, rng=R), "Embedding: padding_idx is -4"),
        (lambda: nn.LayerNorm(()), r"LayerNorm: normalized_shape is \(\)"),
        (lambda: nn.LayerNorm((2, 0)), r"LayerNorm: normalized_shape\[1\] is 0"),
        (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size is 0"),
        (lambda: nn.Dropout(float("nan"), rng=R), "Dropout: p is nan"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features is 0"),
        (lambda: nn.BatchNorm2d(1, -1.0), "BatchNorm2d: eps is -1.0"),
        (lambda: nn.BatchNorm2d(1, momentum=1.1), "BatchNorm2d: momentum is 1.1"),
        (lambda: nn.GroupNorm(0, 1), "GroupNorm: num_groups is 0, expected an integer >= 1"),
        (lambda: nn.GroupNorm(1, 2.0), "GroupNorm: num_channels is 2.0"),
        (lambda: nn.GroupNorm(4, 6), "num_channels is 6, expected a multiple of num_groups=4"),
        (lambda: nn.GroupNorm(1, 1, -1.0), "GroupNorm: eps is -1.0, expected .* >= 0"),
        (lambda: nn.GroupNorm(1, 1, affine=1), "GroupNorm: affine is 1, expected one of True"),
        (lambda: nn.LeakyReLU("a"), "LeakyReLU: negative_slope is 'a'"),
        (lambda: nn.GELU("erf"), "GELU: approximate is 'erf', expected one of 'none', 'tanh'"),
        (lambda: nn.Softmax(temperature=0), "Softmax: temperature is 0, expected .*> 0"),
        (lambda: nn.Softmax(dim=1.0), "Softmax: dim is 1.0"),
        (lambda: nn.ReLU(at_zero=2), "ReLU: at_zero is 2, expected a number from 0 to 1"),
        (lambda: nn.LeakyReLU(0.1, at_zero=-1), "LeakyReLU: at_zero is -1, expected a number"),
        (lambda: nn.ELU(-1), "ELU: alpha is -1, expected a finite number >= 0"),
        (lambda: nn.CELU(0), "CELU: alpha is 0, expected a finite number > 0"),
        (lambda: nn.PReLU(0), "PReLU: num_parameters is 0, expected an integer >= 1"),
        (lambda: nn.PReLU(init="x"), "PReLU: init is 'x', expected a finite number"),
        (lambda: nn.Hardtanh(1, 1), "Hardtanh: max_val is 1, expected a finite number >= 1"),
        (lambda: nn.Softplus(0), "Softplus: beta is 0, expected a finite number > 0"),
        (lambda: nn.Softplus(1, -1), "Softplus: threshold is -1, expected a finite number >= 0"),
        (lambda: nn.LogSoftmax(1.5), "LogSoftmax: dim is 1.5, expected an integer"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused_by_class_and_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("came", [0, np.random])
@pytest.mark.parametrize(
    "make",
    [
        lambda **rng: nn.Linear(1, 1, **rng),
        lambda **rng: nn.Conv2d(1, 1, 1, **rng),
        lambda **rng: nn.ConvTranspose2d(1, 1, 1, **rng),
        lambda **rng: nn.Dropout(**rng),
        lambda **rng: nn.MLP((2, 1), **rng),
        lambda **rng: nn.LeNet5(**rng),
        lambda **rng: nn.VGG(**rng),
    ],
)
def test_what_is_no_generator_is_refused_with_one_to_copy(make: Any, came: Any) -> None:
    with pytest.raises(TypeError, match=r"rng=numpy\.random\.default_rng\(0\)"):
        make(rng=came)


def test_a_flat_input_of_no_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Flatten: x has shape \(\), expected axes 1 to -1"):
        nn.Flatten()(tg.Tensor(1.0))


def test_layers_learn() -> None:
    """All of them in one model fit a handful of random images."""
    source = rng()
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", rng=source),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 4, 2, 2, rng=source),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 16, rng=source),
        nn.Tanh(),
        nn.Linear(16, 3, "per_connection", rng=source),
    )
    x, labels = source.normal(size=(12, 1, 8, 8)).astype("f4"), np.arange(12) % 3
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = tg.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(x).numpy().argmax(1) == labels).all()
