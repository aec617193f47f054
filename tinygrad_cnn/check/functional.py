"""The scalars whose derivatives are compared: φ₁ = ⟨u, f⟩, and one for each higher order.

For order k + 1 it is φₖ₊₁ = Σᵢ ⟨vᵢ, ∂φₖ/∂xᵢ⟩, a sum over all gradients of φₖ. All are linear in u,
so from order 2 on, u is an input like any other: its derivative shows whether a rule passes on the
gradient flowing in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.core.calculus import Function
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.engine.arrays import Array


@dataclass(frozen=True, slots=True)
class Functional:
    """The functionals φ of `f`; `weights` holds the v of each order from the second on.

    They are functions of points: the inputs of `f` and finally u.
    """

    f: Function
    weights: tuple[tuple[Array, ...], ...]

    def terms(self, order: int, points: Sequence[Array], recorded: bool = False) -> list[Array]:
        """Return the terms that φ of `order` sums; complex at complex points.

        With `recorded`, backward passes are recorded too, so that observers see every op in them.
        """
        leaves = [leaf(point) for point in points]
        if order == 1:
            return [points[-1] * self.f(*leaves[:-1])._array]
        inner = list(map(array_of, self._gradients(order - 1, leaves, recorded)))
        return [v * g for v, g in zip(self.weights[order - 2], inner, strict=False)]

    def gradients(self, order: int, points: Sequence[Array], recorded: bool = False) -> list[Array]:
        """Return backward's gradients of φ for the inputs and, from order 2 on, for u."""
        gradients = self._gradients(order, [leaf(point) for point in points], recorded)
        return list(map(array_of, gradients))

    def _gradients(self, order: int, leaves: list[Tensor], create_graph: bool) -> list[Any]:
        *inputs, u = leaves
        if order == 1:
            y = self.f(*inputs)
            return _grad(y, inputs, u if create_graph else u._array, create_graph)
        inner = self._gradients(order - 1, leaves, create_graph=True)
        terms = [(g * v).sum() for v, g in zip(self.weights[order - 2], inner, strict=False)]
        return _grad(sum(terms[1:], start=terms[0]), leaves, None, create_graph)


def functional(
    f: Function, inputs: Sequence[Array], y_shape: tuple[int, ...], order: int, seed: int
) -> tuple[Functional, list[Array]]:
    """Return the functionals of `f` up to `order` with random u and v, and their points."""
    rng = np.random.default_rng(seed)
    u = random_weights(rng, y_shape)
    weights = [tuple(random_weights(rng, x.shape) for x in inputs) for _ in range(order - 1)]
    return Functional(f, tuple(weights)), [*inputs, u]


def random_weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return random numbers of absolute value 1/2 to 3/2, to avoid special values."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


def leaf(point: Array) -> Tensor:
    """Return a copy of `point` as a leaf; complex ones bypass Tensor, which rejects them."""
    made = Tensor._of(np.array(point))
    made.requires_grad = True
    return made


def _grad(y: Tensor, wrt: list[Tensor], gradient: Any, create_graph: bool) -> list[Any]:
    if y.requires_grad:
        return grad(y, wrt, gradient=gradient, create_graph=create_graph)
    zeros = [np.zeros(x.shape, x.dtype) for x in wrt]
    return [Tensor._of(zero) for zero in zeros] if create_graph else zeros
