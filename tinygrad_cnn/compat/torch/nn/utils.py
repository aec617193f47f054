"""``torch.nn.utils``: gradients and parameters of a whole model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch import creation, names
from tinygrad_cnn.compat.torch.nn import functional
from tinygrad_cnn.compat.torch.recording import no_grad
from tinygrad_cnn.compat.torch.tensor import Parameter, Tensor, wrapped
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.variable import Variable, array_of

normalize: Any = functional.normalize


@effect
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


@effect
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


# --- weights computed from others ----------------------------------------------------------------


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Compute a weight from a direction and a length: ``weight_v · weight_g / ‖weight_v‖``."""

    def compute(module: Any, inputs: Any = None) -> None:
        v, g = getattr(module, f"{name}_v"), getattr(module, f"{name}_g")
        setattr(module, name, v * (g / _length(v, dim)))

    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(_length(weight.detach(), dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    return _computed_before_calls(module, name, compute)


def _length(v: Any, dim: int | None) -> Any:
    """Return the norm of each part along `dim`, or of all values."""
    axes = None if dim is None else tuple(k for k in range(v.dim()) if k != dim % v.dim())
    return v.norm() if axes is None else v.norm(2, axes, True)


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight by its largest singular value, estimated by power iteration."""
    transposed = getattr(module, "_transposed", False)
    axis = int(transposed) if dim is None else dim

    def rows(weight: Any) -> Any:
        order = [axis, *(k for k in range(weight.dim()) if k != axis)]
        return weight.permute(*order).reshape(weight.shape[axis], -1)

    def compute(module: Any, inputs: Any = None) -> None:
        weight, u, v = (getattr(module, f"{name}_{part}") for part in ("orig", "u", "v"))
        matrix = rows(weight)
        if module.training:
            with no_grad():
                for _ in range(n_power_iterations):
                    v.copy_(normalize(matrix.t() @ u, dim=0, eps=eps))
                    u.copy_(normalize(matrix @ v, dim=0, eps=eps))
        setattr(module, name, weight / (u.clone() * (matrix @ v.clone())).sum())

    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    for part, size in zip("uv", rows(weight).shape, strict=True):
        drawn = creation.randn(size, dtype=weight.dtype)
        module.register_buffer(f"{name}_{part}", normalize(drawn, dim=0, eps=eps))
    return _computed_before_calls(module, name, compute)


def _computed_before_calls(module: Any, name: str, compute: Any) -> Any:
    compute(module)
    handles = vars(module).setdefault("_computed", {})
    handles[name] = module.register_forward_pre_hook(compute)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight that was computed last a parameter again."""
    vars(module)["_computed"].pop(name).remove()
    weight = getattr(module, name).detach()
    for part in ("orig", "u", "v", "g"):
        if hasattr(module, f"{name}_{part}"):
            delattr(module, f"{name}_{part}")
    delattr(module, name)
    module.register_parameter(name, Parameter(weight.clone()))
    return module


remove_weight_norm = remove_spectral_norm
clip_grad_norm = clip_grad_norm_

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.nn.utils", "torch.nn.utils")
