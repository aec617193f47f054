"""Gradients from nothing but the forward, to hold those of the graph against.

The complex step: for an analytic f that is real on real arguments, f(x + ih) = f(x) + ih f'(x) + …
So Im f(x + ih) / h is f'(x) up to h², without a difference that cancels: h = 1e-20 gives all
digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_cnn as tg

STEP = 1e-20
DIFFERENCE = 2.0**-17

Array = np.ndarray[Any, Any]
Arrays = list[Array]


def slope(f: Callable[[Any], Any], complex_step: bool) -> float:
    """Return f'(0) of a function of one number."""
    if complex_step:
        return float(np.imag(f(1j * STEP)) / STEP)
    return float((f(DIFFERENCE) - f(-DIFFERENCE)) / (2 * DIFFERENCE))


def reference_gradients(
    f: Callable[..., Array], xs: Sequence[Array], u: Array, complex_step: bool = True
) -> Arrays:
    """Return the gradient of ⟨u, f(*xs)⟩ for each of `xs`, one element after the other."""
    gradients = []
    for i, x in enumerate(xs):
        gradient = np.zeros(x.shape)
        for k in np.ndindex(x.shape):

            def along_element(t: Any, i: int = i, x: Array = x, k: Any = k) -> Any:
                moved = np.array(x, dtype=np.result_type(x, type(t)))
                moved[k] += t
                return np.sum(u * f(*xs[:i], moved, *xs[i + 1 :]))

            gradient[k] = slope(along_element, complex_step)
        gradients.append(gradient)
    return gradients


def random_like(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return odd multiples of 1/32 within ±1: exact, short to print, never 0."""
    return np.asarray((2 * rng.integers(-16, 16, size=shape) + 1) / 32)


def assert_close(got: Any, expected: Any, what: str, tolerance: float = 1e-9) -> None:
    """Assert equality up to `tolerance` of the largest expected value."""
    expected = np.asarray(expected)
    assert np.shape(got) == expected.shape, f"{what}: {np.shape(got)}, expected {expected.shape}"
    scale = np.max(np.abs(expected), initial=1.0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def check_gradients(
    f: Callable[..., Any],
    xs: Sequence[Array],
    names: Sequence[str],
    rng: np.random.Generator,
    complex_step: bool = True,
) -> None:
    """Check the gradients of `f`, which takes arrays as well as Tensors, against its values."""
    leaves = [tg.Tensor(x, requires_grad=True) for x in xs]
    y = f(*leaves)
    u = random_like(rng, y.shape)
    got = tg.grad(y, leaves, gradient=u)
    expected = reference_gradients(f, xs, u, complex_step)
    for name, a, b in zip(names, got, expected, strict=True):
        assert_close(a, b, f"gradient for {name}")


def check_second_gradients(
    f: Callable[..., Any],
    xs: Sequence[Array],
    names: Sequence[str],
    rng: np.random.Generator,
    complex_step: bool = True,
) -> None:
    """Check the gradients of ⟨v, gradient(x, u)⟩ for x and u against the first-order gradient.

    For each of x and u along one random direction: what differs, differs in almost all of them.
    """
    leaves = [tg.Tensor(x, requires_grad=True) for x in xs]
    y = f(*leaves)
    points = [*xs, random_like(rng, y.shape)]
    vs = [random_like(rng, x.shape) for x in xs]

    u = tg.Tensor(points[-1], requires_grad=True)
    first = tg.grad(y, leaves, gradient=u, create_graph=True)
    terms = [(v * g).sum() for v, g in zip(vs, first, strict=True)]
    total = sum(terms[1:], start=terms[0])
    got = tg.grad(total, [*leaves, u])

    for i, (name, second) in enumerate(zip([*names, "the gradient"], got, strict=True)):
        direction = random_like(rng, points[i].shape)

        def along_direction(t: Any, i: int = i, direction: Array = direction) -> Any:
            *moved, seed = [p + t * direction if j == i else p for j, p in enumerate(points)]
            gradients = _first_order(f, moved, seed, np.result_type(type(t), float))
            return sum(np.sum(v * g) for v, g in zip(vs, gradients, strict=True))

        expected = slope(along_direction, complex_step)
        scale = np.abs(second * direction).sum(initial=1.0)
        assert second.shape == points[i].shape
        np.testing.assert_allclose(
            np.sum(second * direction), expected, rtol=0, atol=1e-9 * scale,
            err_msg=f"second derivative for {name}",
        )  # fmt: skip


def _first_order(f: Callable[..., Any], xs: Arrays, u: Array, dtype: Any) -> Arrays:
    """Return the first-order gradients at points that may be complex."""
    leaves = []
    for x in xs:
        leaf = tg.Tensor(np.real(x), requires_grad=True)
        leaf.array = np.array(x, dtype=dtype)  # past Tensor, which refuses complex leaves
        leaves.append(leaf)
    return tg.grad(f(*leaves), leaves, gradient=u)
