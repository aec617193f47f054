"""Whole networks on the engine: against plain ops, and with the less exact algorithm."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, ops

Array = np.ndarray[Any, Any]


def plain_conv2d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Any:  # fmt: skip
    """Add up a product of matrices for each kernel cell: only slices and `matmul`."""
    assert isinstance(stride, int)
    assert isinstance(padding, int)
    (_, channels, height, width), (out, _, kh, kw) = x.shape, w.shape
    padded = tg.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    rows = (height + 2 * padding - kh) // stride * stride + 1
    columns = (width + 2 * padding - kw) // stride * stride + 1
    parts = []
    for g in range(groups):
        own = slice(g * channels // groups, (g + 1) * channels // groups)
        kernels = w[g * out // groups : (g + 1) * out // groups]
        cells = [
            tg.transpose(padded[:, own, i : i + rows : stride, j : j + columns : stride],
                         (0, 2, 3, 1)) @ kernels[:, :, i, j].T
            for i, j in product(range(kh), range(kw))
        ]  # fmt: skip
        parts.append(tg.transpose(reduce(tg.add, cells), (0, 3, 1, 2)))
    y = tg.concatenate(parts, axis=1)
    return y if bias is None else y + tg.reshape(bias, (out, 1, 1))


def cells_of(x: Any, size: int) -> list[Any]:
    return [x[:, :, i::size, j::size] for i, j in product(range(size), repeat=2)]


def plain_maxpool(x: Any, kernel_size: int = 2, *options: Any, **named: Any) -> Any:
    return reduce(tg.maximum, cells_of(x, kernel_size))


def plain_avgpool(x: Any, kernel_size: int = 2, *options: Any, **named: Any) -> Any:
    return reduce(tg.add, cells_of(x, kernel_size)) * (1.0 / kernel_size**2)


def separable(rng: np.random.Generator) -> nn.Module:
    """Strides, groups and a convolution of each channel by itself."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1, rng=rng), nn.Tanh(),
        nn.Conv2d(6, 12, 3, padding=1, groups=6, rng=rng), nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(12, 8, 1, groups=2, rng=rng), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 7 * 7, 10, rng=rng),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[np.random.Generator], nn.Module]] = {
    "lenet5": lambda rng: nn.LeNet5(rng=rng),
    "vgg": lambda rng: nn.VGG(
        in_channels=1, image_size=28, widths=(16, 32), hidden=32, batch_norm=True, rng=rng
    ),
    "separable": separable,
}


def losses_and_gradients(make: Callable[..., nn.Module], images: Array) -> list[Array]:
    """Return the losses of three steps, and the gradients of the last."""
    with tg.default_dtype(np.float64):
        model = make(np.random.default_rng(0))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(3):
        loss = tg.cross_entropy(model(images), np.arange(len(images)) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.numpy())
    return [*losses, *[p.grad for p in model.parameters()]]


@pytest.mark.parametrize("images", [1, 18])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_float64_a_network_is_what_plain_ops_make_of_it(
    name: str, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(1).standard_normal((images, 1, 28, 28))
    fast = losses_and_gradients(NETWORKS[name], x)
    for op, plain in (("conv2d", plain_conv2d), ("maxpool", plain_maxpool),
                      ("avgpool", plain_avgpool)):  # fmt: skip
        monkeypatch.setattr(ops, op, plain)
    for a, b in zip(fast, losses_and_gradients(NETWORKS[name], x), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1.0, abs(b).max()))


def final_loss(seed: int, winograd: bool) -> float:
    """Return the mean loss of the last ten of fifty steps on digits."""
    digits = tg.data.digits().train[:800]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, rng=(rng := np.random.default_rng(seed))),
        nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10, rng=rng),
    )  # fmt: skip
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses: list[float] = []
    with tg.engine.options(winograd=winograd):
        for epoch in range(2):
            loader = tg.data.DataLoader(
                digits, batch_size=32, shuffle=True, seed=100 * seed + epoch
            )
            for images, labels in loader:
                loss = tg.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    return float(np.mean(losses[-10:]))


def test_training_with_winograd_ends_within_the_spread_of_seeds() -> None:
    with_it, without = ([final_loss(seed, on) for seed in range(3)] for on in (True, False))
    assert with_it != without  # it was used
    spread = max(without) - min(without)
    assert max(abs(a - b) for a, b in zip(with_it, without, strict=True)) < spread / 4
