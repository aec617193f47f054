"""A new op in ten lines: swish, x·σ(x), with its derivative, checked and used in a model.

The derivative stands beside the function. It is written with operators and ops, so it serves arrays
and Tensors alike, and the second derivative comes with it. Two checks say that it is right: central
differences of the function, and the Jacobian, which has to be diagonal.

    python examples/new_op.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


@tg.op(formula="x·σ(x)", latex=r"x\,\sigma(x)", elementwise=True, role="activation")
def swish(x: np.ndarray) -> np.ndarray:
    return x * tg.sigmoid(x)


@swish.derivative("x", formula="g·(σ(x) + y·(1 − σ(x)))", latex=r"g\,(s + y\,(1-s))")
def _(g: np.ndarray, *, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    s = tg.sigmoid(x)
    return g * (s + y * (1 - s))


def central_differences(
    f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, h: float = 1e-5
) -> np.ndarray:
    """Return the derivative of an elementwise function by differences of its values."""
    return (f(x + h) - f(x - h)) / (2 * h)


def check() -> dict[str, float]:
    """Return by how much autograd differs from what it should be."""
    x = np.linspace(-5, 5, 41)
    jacobian = tg.jacobian(swish)(x)
    second = tg.hessian(lambda x: swish(x).sum())(x)
    first_slopes = central_differences(lambda x: np.diag(tg.jacobian(swish)(x)), x)
    return {
        "derivative against central differences": np.abs(
            np.diag(jacobian) - central_differences(swish, x)
        ).max(),
        "Jacobian off its diagonal": np.abs(jacobian - np.diag(np.diag(jacobian))).max(),
        "second derivative against differences of the first": np.abs(
            np.diag(second) - first_slopes
        ).max(),
    }


class Curve(nn.Module):
    """A function of one variable: one hidden layer of swish."""

    def __init__(self, width: int, *, rng: np.random.Generator) -> None:
        self.hidden = nn.Linear(1, width, rng=rng)
        self.output = nn.Linear(width, 1, rng=rng)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Return the function's values, (N, 1), at `x`, (N, 1)."""
        return self.output(swish(self.hidden(x)))


def fit(steps: int = 400) -> list[float]:
    """Fit one period of a sine, and return the mean squared error of every step."""
    x = np.linspace(-np.pi, np.pi, 64, dtype=np.float32).reshape(-1, 1)
    y = np.sin(x)
    model = Curve(16, rng=np.random.default_rng(0))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    losses: list[float] = []
    for _ in range(steps):
        loss = tg.mse(model(tg.Tensor(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> tuple[dict[str, float], list[float]]:
    print(swish)
    differences = check()
    for name, difference in differences.items():
        print(f"{name:52} {difference:.1e}")
    losses = fit()
    print("\nfitting sin x with one hidden layer of swish:")
    for step in (0, 100, 200, len(losses) - 1):
        print(f"step {step:3}   mean squared error {losses[step]:.5f}")
    return differences, losses


if __name__ == "__main__":
    main()
