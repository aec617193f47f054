"""Gradient clipping, between ``backward()`` and ``step()``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.optim.optimizer import gradient_of, leaves
from tinygrad_cnn.support.arguments import positive

BLOCK = 1 << 13  # values squared at once: in the cache, and too few for a thread of BLAS


@effect
def clip_grad_norm_(parameters: Iterable[Variable], max_norm: float) -> float:
    """Scale all gradients down together, so that their Euclidean norm is at most `max_norm`.

    Parameters
    ----------
    parameters : iterable of Parameter
        Frozen parameters, and those without a gradient, are skipped.
    max_norm : float
        Above 0.

    Returns
    -------
    float
        The norm before clipping: √(Σ g²) over all gradients, computed in float64.

    Raises
    ------
    FloatingPointError
        If a gradient contains NaN or infinity; the message says which. Nothing is changed.
    ValueError
        If `max_norm` is out of range, there are no parameters, one is repeated, or the shape or
        dtype of a gradient differs from its parameter's.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Notes
    -----
    g ← g · min(1, max_norm / norm): Pascanu, Mikolov and Bengio, "On the difficulty of training
    recurrent neural networks", 2013, algorithm 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.5, 2.0])
    >>> (x * x).sum().backward()
    >>> tg.optim.clip_grad_norm_([x], max_norm=1.0)
    5.0
    >>> x.grad
    array([0.6, 0.8], dtype=float32)
    """
    owner = "clip_grad_norm_"
    found = leaves(owner, "parameters", parameters)
    limit = positive(owner, "max_norm", max_norm)
    gradients = [_writable(owner, i, p) for i, p in enumerate(found)]
    norms = []
    for i, g in enumerate(gradients):
        if g is not None:
            norms.append(_norm(g))
            if not math.isfinite(norms[-1]):
                raise FloatingPointError(
                    f"{owner}: the gradient of parameters[{i}] ({found[i].name or 'unnamed'}, "
                    f"shape {g.shape}) holds {norms[-1]}"
                )
    norm = math.hypot(*norms)
    if norm > limit:
        for g in _each_once(gradients):
            np.multiply(g, limit / norm, out=g)
    return norm


@effect
def clip_grad_value_(parameters: Iterable[Variable], clip_value: float) -> None:
    """Clip every value of every gradient to [−clip_value, clip_value]; NaN stays NaN.

    Parameters
    ----------
    parameters : iterable of Parameter
        Frozen parameters, and those without a gradient, are skipped.
    clip_value : float
        Above 0.

    Raises
    ------
    ValueError
        If `clip_value` is out of range, there are no parameters, one is repeated, or the shape or
        dtype of a gradient differs from its parameter's.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([-3.0, 0.25])
    >>> (x * x).sum().backward()
    >>> tg.optim.clip_grad_value_([x], 1.0)
    >>> x.grad
    array([-1. ,  0.5], dtype=float32)
    """
    owner = "clip_grad_value_"
    found = leaves(owner, "parameters", parameters)
    limit = positive(owner, "clip_value", clip_value)
    for g in _each_once([_writable(owner, i, p) for i, p in enumerate(found)]):
        g.clip(-limit, limit, out=g)


def _writable(owner: str, i: int, p: Variable) -> NDArray[Any] | None:
    g = gradient_of(owner, f"parameters[{i}]", p)
    if g is not None and not g.flags.writeable:
        p._grad = g = g.copy()
    return g


def _each_once(gradients: list[NDArray[Any] | None]) -> list[NDArray[Any]]:
    """Return the gradients, each once: one shared by two parameters must be scaled once."""
    return list({id(g): g for g in gradients if g is not None}.values())


def _norm(g: NDArray[Any]) -> float:
    """Return √(Σ g²); it overflows only if the norm itself does."""
    values, squares = g.ravel("K"), 0.0
    with np.errstate(over="ignore"):
        for start in range(0, values.size, BLOCK):
            block = values[start : start + BLOCK].astype(np.float64)
            squares += float(block @ block)
    if 1e-280 < squares < math.inf:  # none overflowed, and none that matters vanished
        return math.sqrt(squares)
    largest = float(np.max(np.abs(g), initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(np.sum(np.square(g / np.float64(largest)))))
