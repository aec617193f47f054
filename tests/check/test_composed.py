"""Models, layers, losses and optimizers: whole functions of all that they read, to order 2."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.check import GradientReport, check_gradients
from tinygrad_cnn.nn.models.mobilenet import InvertedResidual

Array = np.ndarray[Any, Any]


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def with_parameters(module: nn.Module, values: dict[str, Any]) -> nn.Module:
    """Return a copy of a module, random generators and buffers as well, with other parameters."""
    fresh = copy.deepcopy(module)
    modules = dict(fresh.named_modules())
    for name, value in values.items():
        owner, _, attribute = name.rpartition(".")
        setattr(modules[owner], attribute, value)
    return fresh


def check_module(
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    loss: Callable[[Any], Any] = lambda y: y,
    order: int = 2,
) -> GradientReport:
    """Check the gradients of a module for its input and all its parameters."""
    with tg.default_dtype("f8"):
        module = make()
    x = rng(1).standard_normal(shape)
    start = {name: p.data + rng().normal(0, 0.1, p.shape) for name, p in module.named_parameters()}

    def function(x: tg.Tensor, *values: tg.Tensor) -> tg.Tensor:
        fresh = with_parameters(module, dict(zip(start, values, strict=True)))
        with warnings.catch_warnings():  # running statistics take the real part of a complex step
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            return loss(fresh(x))

    report = check_gradients(function, x, *start.values(), order=order, names=["x", *start])
    assert {row.input for row in report.rows} >= {"x", *start}
    y = function(tg.Tensor(x), *map(tg.Tensor, start.values()))
    for name in start:  # else nothing would have been checked
        moved = {**start, name: start[name] + rng(9).standard_normal(start[name].shape)}
        other = map(tg.Tensor, moved.values())
        assert (function(tg.Tensor(x), *other).numpy() != y.numpy()).any(), name
    return report


class Scaled(nn.Module):
    """The input times vectors of a table, one of them twice."""

    def __init__(self, table: nn.Embedding) -> None:
        self.table = table

    def forward(self, x: Any) -> Any:
        return x * self.table([0, 2, 2])


# --- layers --------------------------------------------------------------------------------------

IMAGES, ROWS = (2, 2, 5, 4), (3, 4)
LAYERS: dict[str, list[tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {
    "AdaptiveAvgPool1d": [(lambda: nn.AdaptiveAvgPool1d(3), (2, 5))],
    "AdaptiveAvgPool2d": [(lambda: nn.AdaptiveAvgPool2d((3, None)), IMAGES)],
    "AdaptiveMaxPool1d": [(lambda: nn.AdaptiveMaxPool1d(3), (2, 5))],
    "AdaptiveMaxPool2d": [(lambda: nn.AdaptiveMaxPool2d((3, None)), IMAGES)],
    "AvgPool1d": [(lambda: nn.AvgPool1d(2, 1, 1), (2, 2, 5))],
    "Conv1d": [(lambda: nn.Conv1d(2, 4, 3, 2, "same", groups=2, rng=rng()), (2, 2, 5))],
    "ConvTranspose1d": [(lambda: nn.ConvTranspose1d(2, 3, 3, 2, 1, 1, rng=rng()), (2, 2, 3))],
    "MaxPool1d": [(lambda: nn.MaxPool1d(3, 2, 1), (2, 2, 5))],
    "PixelShuffle": [(lambda: nn.PixelShuffle(2), (4, 2, 2))],
    "PixelUnshuffle": [(lambda: nn.PixelUnshuffle(2), (1, 4, 2))],
    "Upsample": [(lambda: nn.Upsample(scale_factor=1.5, mode="bicubic"), IMAGES)],
    "ReflectionPad2d": [(lambda: nn.ReflectionPad2d((1, 0, 2, 1)), IMAGES)],
    "ReplicationPad2d": [(lambda: nn.ReplicationPad2d((1, 0, 2, 1)), IMAGES)],
    "CircularPad2d": [(lambda: nn.CircularPad2d((1, 0, 2, 1)), IMAGES)],
    "Fold": [(lambda: nn.Fold(3, 2, stride=(1, 2)), (8, 2))],
    "Unfold": [(lambda: nn.Unfold(2, 1, 1, 2), IMAGES)],
    "ZeroPad2d": [(lambda: nn.ZeroPad2d((1, 0, 2, 1)), IMAGES)],
    "AvgPool2d": [(lambda: nn.AvgPool2d(2, 1, 1, ceil_mode=True), IMAGES)],
    "BatchNorm1d": [(lambda: nn.BatchNorm1d(4), ROWS), (lambda: nn.BatchNorm1d(4), (2, 4, 3))],
    "BatchNorm2d": [
        (lambda: nn.BatchNorm2d(2, affine=False), IMAGES),
        (lambda: nn.BatchNorm2d(2), IMAGES),
        (lambda: nn.BatchNorm2d(2).eval(), IMAGES),
    ],
    "Conv2d": [
        (lambda: nn.Conv2d(2, 4, (3, 2), 2, (1, 0), rng=rng()), IMAGES),
        (lambda: nn.Conv2d(2, 4, 2, padding="same", dilation=2, groups=2, rng=rng()), IMAGES),
        (lambda: nn.Conv2d(2, 1, 3, bias=False, rng=rng()), IMAGES),
        (lambda: nn.Conv2d(2, 1, 3, 2, 1, padding_mode="circular", rng=rng()), IMAGES),
    ],
    "ConvTranspose2d": [
        (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1, rng=rng()), IMAGES),
    ],
    "Dropout": [
        (lambda: nn.Dropout(0.5, rng=rng()), ROWS),
        (lambda: nn.Dropout(0.5, rng=rng()).eval(), ROWS),
    ],
    "CELU": [(lambda: nn.CELU(0.5), ROWS)],
    "ELU": [(lambda: nn.ELU(0.5), ROWS)],
    "Hardsigmoid": [(lambda: nn.Hardsigmoid(), ROWS)],
    "Hardswish": [(lambda: nn.Hardswish(), ROWS)],
    "Hardtanh": [(lambda: nn.Hardtanh(-0.5, 1.0), ROWS)],
    "LogSigmoid": [(lambda: nn.LogSigmoid(), ROWS)],
    "LogSoftmax": [(lambda: nn.LogSoftmax(1), ROWS)],
    "Mish": [(lambda: nn.Mish(), ROWS)],
    "ReLU6": [(lambda: nn.ReLU6(), ROWS)],
    "SELU": [(lambda: nn.SELU(), ROWS)],
    "SiLU": [(lambda: nn.SiLU(), ROWS)],
    "Softplus": [(lambda: nn.Softplus(2.0, 3.0), ROWS)],
    "Softsign": [(lambda: nn.Softsign(), ROWS)],
    "Tanhshrink": [(lambda: nn.Tanhshrink(), ROWS)],
    "PReLU": [(lambda: nn.PReLU(2), IMAGES), (lambda: nn.PReLU(), ROWS)],
    "Dropout1d": [(lambda: nn.Dropout1d(0.5, rng=rng()), (2, 4, 3))],
    "Dropout2d": [(lambda: nn.Dropout2d(0.5, rng=rng()), IMAGES)],
    "Embedding": [(lambda: Scaled(nn.Embedding(3, 4, rng=rng())), ROWS)],
    "InstanceNorm2d": [
        (lambda: nn.InstanceNorm2d(2, affine=True), IMAGES),
        (lambda: nn.InstanceNorm2d(2, track_running_stats=True).eval(), IMAGES),
    ],
    "LayerNorm": [
        (lambda: nn.LayerNorm((5, 4)), IMAGES),
        (lambda: nn.LayerNorm(4, bias=False), ROWS),
    ],
    "LocalResponseNorm": [(lambda: nn.LocalResponseNorm(3, 0.5), (2, 4, 3))],
    "GELU": [(lambda: nn.GELU(), ROWS), (lambda: nn.GELU("tanh"), ROWS)],
    "Flatten": [(lambda: nn.Flatten(), IMAGES)],
    "Identity": [(lambda: nn.Identity(), ROWS)],
    "GlobalAvgPool2d": [(lambda: nn.GlobalAvgPool2d(), IMAGES)],
    "GroupNorm": [
        (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
        (lambda: nn.GroupNorm(1, 4, affine=False), ROWS),
    ],
    "LeakyReLU": [(lambda: nn.LeakyReLU(0.1), ROWS)],
    "Linear": [
        (lambda: nn.Linear(4, 2, rng=rng()), ROWS),
        (lambda: nn.Linear(4, 2, bias=False, rng=rng()), (2, *ROWS)),
        (lambda: nn.Linear(4, 2, bias="per_connection", rng=rng()), ROWS),
    ],
    "MaxPool2d": [(lambda: nn.MaxPool2d(3, 2, 1), IMAGES)],
    "ReLU": [(lambda: nn.ReLU(), ROWS)],
    "Sequential": [(lambda: nn.Sequential(nn.Linear(4, 3, rng=rng()), nn.Tanh()), ROWS)],
    "Sigmoid": [(lambda: nn.Sigmoid(), ROWS)],
    "Softmax": [(lambda: nn.Softmax(dim=0, temperature=0.5), ROWS)],
    "Tanh": [(lambda: nn.Tanh(), ROWS)],
}
CONTAINERS = {"ModuleDict", "ModuleList", "ParameterDict", "ParameterList"}  # without forward
MODEL_CLASSES = {"LeNet5", "MLP", "VGG"}
LOSS_CLASSES = {name for name in nn.__all__ if name.endswith("Loss")}  # nn/test_losses.py


def test_every_layer_and_every_model_is_here() -> None:
    public = {name: getattr(nn, name) for name in nn.__all__}
    modules = {name for name, value in public.items() if isinstance(value, type)
               and issubclass(value, nn.Module)} - {"Module", "SizedLayer"}  # fmt: skip
    others = MODEL_CLASSES | LOSS_CLASSES | CONTAINERS
    assert modules == set(LAYERS) | others, "add a line to LAYERS, above"
    ready = {name for name in nn.models.__all__ if isinstance(getattr(nn.models, name), type)}
    ready = ready - {"MobileNetV2"} | {"InvertedResidual"}  # its block, instead of 17 of them
    assert ready == {type(make()).__name__ for make in MODELS.values()}


@pytest.mark.parametrize(
    ("make", "shape"), [c for cases in LAYERS.values() for c in cases],
    ids=[f"{name}-{k}" for name, cases in LAYERS.items() for k in range(len(cases))],
)  # fmt: skip
def test_layer(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    check_module(make, shape)


# --- models --------------------------------------------------------------------------------------

MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.build("mlp", input_shape=(4,), classes=3, hidden=(5, 4), rng=rng()),
    "mlp-text": lambda: nn.MLP(
        (4, 3, 2), output="softmax", bias="per_connection", rng=rng(),
        bias_init=nn.init.standard_normal,
    ),
    "mlp-relu": lambda: nn.MLP((4, 6, 2), activation="relu", rng=rng()),
    "lenet5": lambda: nn.build("lenet5", input_shape=(1, 12, 12), classes=3, rng=rng()),
    "lenet5-tanh": lambda: nn.LeNet5(
        3, activation="tanh", pooling="average", image_size=12, rng=rng()
    ),
    "vgg": lambda: nn.build(
        "vgg", input_shape=(2, 4, 4), classes=3, widths=(2, 3), hidden=4, rng=rng()
    ),
    "vgg-all": lambda: nn.VGG(
        3, 2, (4, 4), (2, 3), 4, batch_norm=True, dropout=0.25, rng=rng()
    ),
    "resnet": lambda: nn.models.ResNet(2, 1, (1, 1), (2, 3), rng=rng()),
    "resnet-bottleneck": lambda: nn.models.ResNet(
        2, 1, (1,), (1,), "bottleneck", shortcut="projected", rng=rng()
    ),
    "mobilenet-block": lambda: InvertedResidual(1, 1, 1, 2, rng()),
    "densenet": lambda: nn.models.DenseNet(2, 1, (1, 1), 1, 2, 1, rng=rng()),
    "unet": lambda: nn.models.UNet(2, 1, 1, 1, rng=rng()),
    "generator": lambda: nn.models.DCGANGenerator(3, 1, 1, 8, rng=rng()),
    "discriminator": lambda: nn.models.DCGANDiscriminator(1, 1, 8, rng=rng()),
    "autoencoder": lambda: nn.models.ConvAutoencoder(1, (2,), rng=rng()),
}  # fmt: skip
SMALL_IMAGES = {"resnet": 4, "mobilenet": 3, "densenet": 4, "unet": 4, "autoencoder": 4}
"""The size of images of the models that take any size."""


@pytest.mark.parametrize("name", MODELS)
def test_model_with_its_loss(name: str) -> None:
    size = SMALL_IMAGES.get(name.partition("-")[0])
    shape = (2, 1, size, size) if size else (2, *MODELS[name]().input_shape)
    target = np.array([[0.0, 1.0], [1.0, 0.0]])
    if name == "mlp-text":
        check_module(MODELS[name], shape, lambda y: tg.squared_error(y, target))
    elif name in ("generator", "discriminator", "autoencoder", "unet", "mobilenet-block"):
        half = lambda y: tg.squared_error(y, np.full(y.shape, 0.5))  # noqa: E731
        check_module(MODELS[name], shape, half, order=1)
    else:
        order = 1 if size else 2
        check_module(MODELS[name], shape, lambda y: tg.cross_entropy(y, [1, 0]), order=order)


# --- losses --------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[Any], Any]] = {
    "mse": lambda y: tg.mse(y, np.eye(3)[[0, 2]]),
    "squared_error": lambda y: tg.squared_error(tg.softmax(y), np.eye(3)[[0, 2]]),
    "cross_entropy": lambda y: tg.cross_entropy(y, [0, 2], label_smoothing=0.1),
    "cross_entropy of one-hot rows": lambda y: tg.cross_entropy(y, np.eye(3)[[0, 2]], "sum"),
    "cross_entropy by hand": lambda y: -(tg.log_softmax(y) * np.eye(3)[[0, 2]]).sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_a_network(loss: str) -> None:
    def network() -> nn.Module:
        layers = nn.Linear(4, 5, rng=rng()), nn.Sigmoid(), nn.Linear(5, 3, rng=rng())
        return nn.Sequential(*layers)

    check_module(network, (2, 4), LOSSES[loss], order=3)


# --- optimizers ----------------------------------------------------------------------------------

LR, MOMENTUM, DECAY, EPSILON = 0.25, 0.75, 0.125, 0.5
BETA1, BETA2, ALPHA = 0.5, 0.75, 0.75


def descent(p: Any, g: Any, s: dict[str, Any]) -> Any:
    return p - LR * (g + DECAY * p)


def momentum(p: Any, g: Any, s: dict[str, Any]) -> Any:
    s["v"] = MOMENTUM * s.get("v", 0.0) + g + DECAY * p
    return p - LR * s["v"]


def nesterov(p: Any, g: Any, s: dict[str, Any]) -> Any:
    s["v"] = MOMENTUM * s.get("v", 0.0) + g + DECAY * p
    return p - LR * (g + DECAY * p + MOMENTUM * s["v"])


def adam(p: Any, g: Any, s: dict[str, Any]) -> Any:
    s["t"] = s.get("t", 0) + 1
    s["m"] = BETA1 * s.get("m", 0.0) + (1 - BETA1) * g
    s["v"] = BETA2 * s.get("v", 0.0) + (1 - BETA2) * g * g
    mean, square = s["m"] / (1 - BETA1 ** s["t"]), s["v"] / (1 - BETA2 ** s["t"])
    return p - LR * mean / (tg.sqrt(square) + EPSILON)


def adam_with_decay(p: Any, g: Any, s: dict[str, Any]) -> Any:
    return adam(p, g + DECAY * p, s)


def adamw(p: Any, g: Any, s: dict[str, Any]) -> Any:
    return adam(p - LR * DECAY * p, g, s)


def rmsprop(p: Any, g: Any, s: dict[str, Any]) -> Any:
    g = g + DECAY * p
    s["v"] = ALPHA * s.get("v", 0.0) + (1 - ALPHA) * g * g
    s["u"] = MOMENTUM * s.get("u", 0.0) + g / (tg.sqrt(s["v"]) + EPSILON)
    return p - LR * s["u"]


def adagrad(p: Any, g: Any, s: dict[str, Any]) -> Any:
    s["t"] = s.get("t", 0) + 1
    g = g + DECAY * p
    s["v"] = s.get("v", EPSILON) + g * g
    return p - LR / (1 + (s["t"] - 1) * MOMENTUM) * g / (tg.sqrt(s["v"]) + EPSILON)


def adadelta(p: Any, g: Any, s: dict[str, Any]) -> Any:
    g = g + DECAY * p
    s["v"] = ALPHA * s.get("v", 0.0) + (1 - ALPHA) * g * g
    change = tg.sqrt((s.get("u", 0.0) + EPSILON) / (s["v"] + EPSILON)) * g
    s["u"] = ALPHA * s.get("u", 0.0) + (1 - ALPHA) * change * change
    return p - LR * change


P = list[nn.Parameter]
adaptive = {"lr": LR, "betas": (BETA1, BETA2), "eps": EPSILON, "weight_decay": DECAY}
OPTIMIZERS: dict[str, tuple[Callable[[P], optim.Optimizer], Callable[..., Any]]] = {
    "SGD": (lambda p: optim.SGD(p, LR, weight_decay=DECAY), descent),
    "SGD-momentum": (lambda p: optim.SGD(p, LR, MOMENTUM, weight_decay=DECAY), momentum),
    "SGD-nesterov": (lambda p: optim.SGD(p, LR, MOMENTUM, 0.0, DECAY, True), nesterov),
    "Adam": (lambda p: optim.Adam(p, **adaptive), adam_with_decay),
    "AdamW": (lambda p: optim.AdamW(p, **adaptive), adamw),
    "RMSprop": (lambda p: optim.RMSprop(p, LR, ALPHA, EPSILON, DECAY, MOMENTUM), rmsprop),
    "Adagrad": (lambda p: optim.Adagrad(p, LR, MOMENTUM, DECAY, EPSILON, EPSILON), adagrad),
    "Adadelta": (lambda p: optim.Adadelta(p, LR, ALPHA, EPSILON, DECAY), adadelta),
}


def test_every_optimizer_is_here() -> None:
    public = [getattr(optim, name) for name in optim.__all__]
    kinds = [value for value in public if isinstance(value, type)]
    found = {kind.__name__ for kind in kinds if issubclass(kind, optim.Optimizer)}
    found -= {"Optimizer", "LBFGS"}  # which computes no update of a single parameter
    listed = {name.partition("-")[0] for name in OPTIMIZERS}
    assert found == listed, "add its formula, and a line to OPTIMIZERS, above"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_step_of_an_optimizer_has_the_value_and_slopes_of_its_formula(name: str) -> None:
    """The optimizer's own code is differentiated by a complex step, the formula by backward."""
    make, formula = OPTIMIZERS[name]

    def coded(p: Array, *gradients: Array) -> Array:
        optimizer = make([nn.Parameter(np.zeros(p.shape))])
        p = np.array(p)
        state: dict[str, Any] = {slot: np.zeros_like(p) for slot in optimizer.slots}
        for state["steps"], g in enumerate(gradients, start=1):
            optimizer.update(p, g, state)
        return p

    def written(p: tg.Tensor, *gradients: tg.Tensor) -> tg.Tensor:
        state: dict[str, Any] = {}
        for g in gradients:
            p = formula(p, g, state)
        return p

    points = [rng(k).standard_normal(3) for k in range(3)]
    leaves = [tg.Tensor(point, requires_grad=True) for point in points]
    y = written(*leaves)
    np.testing.assert_allclose(y.numpy(), coded(*points), rtol=1e-14)
    for k, slopes in enumerate(tg.grad(y, leaves, gradient=np.ones(3))):
        moved = [point + 1e-20j * (i == k) for i, point in enumerate(points)]
        np.testing.assert_allclose(slopes, coded(*moved).imag / 1e-20, rtol=1e-13)
    check_gradients(written, *points, order=2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_loss_after_a_step_can_be_differentiated_through_it(name: str) -> None:
    make, formula = OPTIMIZERS[name]
    x, target = rng(0).standard_normal((4, 3)), np.array([0, 1, 1, 0])

    def loss(w: tg.Tensor) -> tg.Tensor:
        return tg.cross_entropy(tg.linear(x, w), target)

    def after_a_step(w: tg.Tensor) -> tg.Tensor:
        (g,) = tg.grad(loss(w), w, create_graph=True)
        return loss(formula(w, g, {}))

    w = rng(1).standard_normal((2, 3))
    check_gradients(after_a_step, w)

    parameter = nn.Parameter(w)
    loss(parameter).backward()
    make([parameter]).step()
    expected = after_a_step(tg.Tensor(w, requires_grad=True))
    assert loss(parameter).item() == pytest.approx(expected.item(), rel=1e-14)
