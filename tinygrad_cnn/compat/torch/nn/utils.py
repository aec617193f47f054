"""``torch.nn.utils``: gradients and parameters of a whole model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch.tensor import Tensor, wrapped
from tinygrad_cnn.core.variable import Variable, array_of


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Any:
    """Scale the gradients so that the norm of all is at most `max_norm`; return the norm."""
    gradients = _gradients(parameters)
    order = np.inf if norm_type in ("inf", np.inf) else float(norm_type)
    norms = [np.linalg.norm(g.ravel(), order) for g in gradients]
    norm = float(np.linalg.norm(norms, order)) if norms else 0.0
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    for g in gradients:
        if not factor >= 1.0:
            g *= factor
    return Tensor([norm])[0]


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Limit each entry of the gradients to −clip_value ≤ g ≤ clip_value."""
    for g in _gradients(parameters):
        np.clip(g, -clip_value, clip_value, out=g)


def _gradients(parameters: Any) -> list[Any]:
    given = [parameters] if isinstance(parameters, Variable) else list(parameters)
    return [array_of(p._grad) for p in given if p._grad is not None]


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """Return all values in one axis."""
    return wrapped(ops.concatenate([ops.ravel(p) for p in parameters]))


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Write the values of `vec` to the parameters, in order."""
    place = 0
    for parameter in parameters:
        size = parameter.numel()
        parameter.data.copy_(vec.detach()[place : place + size].view_as(parameter))
        place += size
