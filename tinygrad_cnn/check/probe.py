"""Probes: a call with its result and gradients, as the reference for other computations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.functional import random_weights
from tinygrad_cnn.check.rounding import Peak, Rounding
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.observer import observe
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.support.arguments import first_index

Property = Callable[..., None]
"""A function of a `Probe`, and of the enlarged axes of a large call, that raises on failure."""
Properties = dict[str, Property]
"""Properties, by name."""


class PropertyError(AssertionError):
    """A property fails, for the input `parameter` if it concerns one input."""

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


class Probe:
    """A call with its result and gradients in float64, for a gradient `u` flowing in.

    If `u` is None, it is random. `every` requires a derivative for every array of floats.
    """

    def __init__(
        self,
        call: Call,
        u: Array | None = None,
        reference: Callable[..., Any] | None = None,
        every: bool = False,
    ) -> None:
        self.call = call
        self.reference = reference
        self.every = every
        self.leaves = call.leaves()
        self.y: Tensor = call(*self.leaves)
        self.u = random_weights(np.random.default_rng(0), self.y.shape) if u is None else u

    @cached_property
    def gradients(self) -> list[Array]:
        """The gradient for each input."""
        return grad(self.y, self.leaves, gradient=self.u, retain_graph=True)

    @cached_property
    def rounding(self) -> Rounding:
        """The rounding of the result (0) and of the gradient for each input (1, ...)."""
        sizes = [self.y.size, *[x.size for x in self.call.inputs]]
        cost = self.call.cost(self.y._array)
        lengths = [max(cost, *sizes) / max(size, 1) for size in sizes]
        if not self.call.op.elementwise:  # it may sum along an axis and keep it, as softmax does
            axes = [n for x in (self.y._array, *self.call.inputs) for n in x.shape]
            lengths = [max(length, *axes, 1) for length in lengths]

        def results(*inputs: Array) -> list[Array]:
            *xs, u = inputs
            leaves = [Tensor(x, requires_grad=True) for x in xs]
            y = self.call(*leaves)
            return [y._array, *grad(y, leaves, gradient=u)]

        with observe(peak := Peak()):
            grad(self.y, self.leaves, gradient=self.u, create_graph=True)
        largest = float(np.max(np.abs(self.y._array), initial=0.0))
        peaks = [0.0]
        for label in self.call.labels:  # a rule that reads y starts from rounded values
            rule = self.call.op.derivatives[label.partition("[")[0]]
            peaks.append(max(peak.value, largest if "y" in rule.needs else 0.0))
        return Rounding(results, [*self.call.inputs, self.u], lengths, peaks)

    def compare_result(
        self,
        got: Any,
        what: str,
        other: str = "expected",
        dtype: Any = np.float64,
        floor: float = 0.0,
    ) -> None:
        """Raise unless `got` equals the result, up to rounding and `floor`."""
        self._compare(0, got, self.y._array, what, other, "", dtype, floor)

    def compare_gradients(
        self, got: Sequence[Any], what: str, dtype: Any = np.float64, times: float = 1.0
    ) -> None:
        """Raise unless `got` equals `times` times the gradients, up to rounding."""
        for i, gradient in enumerate(got):
            self.compare_gradient(i, gradient, what, dtype, times)

    def compare_gradient(
        self,
        i: int,
        got: Any,
        what: str,
        dtype: Any = np.float64,
        times: float = 1.0,
        floor: float = 0.0,
    ) -> None:
        """Raise unless `got` is `times` times gradient `i`, up to rounding and `floor`."""
        label = self.call.labels[i]
        what = f"the gradient for {label} {what}"
        self._compare(i + 1, got, times * self.gradients[i], what, "expected", label, dtype, floor)

    def compare_sum(self, got: Any, places: tuple[int, int], what: str) -> None:
        """Raise unless `got` equals the sum of the gradients for two inputs, up to rounding."""
        a, b = places
        label = self.call.labels[a]
        allowed = sum(self.rounding.allowed(place + 1) for place in places)
        self._check(got, self.gradients[a] + self.gradients[b], allowed, what, "expected", label)

    def _compare(
        self,
        i: int,
        got: Any,
        expected: Array,
        what: str,
        other: str,
        label: str,
        dtype: Any,
        floor: float = 0.0,
    ) -> None:
        allowed = self.rounding.allowed(i, dtype) + floor
        self._check(got, expected, allowed, what, other, label)

    def _check(
        self, got: Any, expected: Array, allowed: float, what: str, other: str, label: str
    ) -> None:
        if np.shape(got) != expected.shape:
            raise PropertyError(f"{what}: shape {np.shape(got)}, {other}: {expected.shape}", label)
        difference = np.abs(np.asarray(got, np.float64) - expected)
        same = (difference <= allowed) | (got == expected)
        if not same.all():
            at = first_index(~same)
            raise PropertyError(
                f"{what}: {np.asarray(got)[at]:.17g}, {other}: {expected[at]:.17g}, at {at}", label
            )


def lister(properties: Properties) -> Callable[[str], Callable[[Property], Property]]:
    """Return a decorator that lists functions in `properties`, by name."""

    def holds(text: str) -> Callable[[Property], Property]:
        def decorate(function: Property) -> Property:
            properties[text] = function
            return function

        return decorate

    return holds


def as_leaf(x: Array) -> Tensor:
    """Return a leaf that holds `x` itself, with its memory layout."""
    leaf = Tensor._of(x)
    leaf.requires_grad = True
    return leaf
