"""Methods of Tensor that need more than a line of the table: kinds, in-place changes, hooks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch import creation, functions, names, table
from tinygrad_cnn.compat.torch.creation import Generator, rng_of
from tinygrad_cnn.compat.torch.devices import check_device, target_of
from tinygrad_cnn.compat.torch.table import named_in, of_dtype, sizes_of
from tinygrad_cnn.compat.torch.tensor import Tensor, in_place, values_of
from tinygrad_cnn.core.variable import array_of


def in_place_names() -> list[str]:
    """Return the methods that PyTorch also has with an underscore, but those that reshape."""
    reshaping = {name for text in (table.VIEWS, table.VIEW_METHODS) for name in named_in(text)}
    found = {name[:-1] for name in names.known()["torch.Tensor"] if name.endswith("_")}
    return sorted(name for name in found - reshaping if hasattr(Tensor, name))


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return this Tensor in another dtype: ``x.to(torch.float64)``, ``x.to("cpu")``."""
    return of_dtype(self, target_of(*args, **kwargs))  # type: ignore[no-any-return]


def type_(self: Tensor, dtype: Any = None) -> Any:
    """Return this Tensor in another dtype; without one, the name of the class and dtype."""
    if dtype is None:
        return str(self.dtype)
    return of_dtype(self, np.dtype(getattr(dtype, "dtype", dtype)))


def cuda(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Raise RuntimeError: there is only the CPU."""
    check_device("cuda")
    return self


# --- in place ------------------------------------------------------------------------------------


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Write the values of `src` to this Tensor, broadcast and converted."""
    self._before_change("copy_")
    source = ops.broadcast_to(src, self._array.shape)
    return self._become("copy_", of_dtype(source, self.dtype))


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all values to a number."""
    self._before_change("fill_")
    return self._become("fill_", np.full(self._array.shape, values_of(value), self._array.dtype))


def zero_(self: Tensor) -> Tensor:
    """Set all values to 0."""
    return fill_(self, 0)


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Draw all values from a normal distribution."""
    self._before_change("normal_")
    return self._become("normal_", rng_of(generator).normal(mean, std, self._array.shape))


def uniform_(
    self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Draw all values from a ≤ x < b."""
    self._before_change("uniform_")
    return self._become("uniform_", rng_of(generator).uniform(a, b, self._array.shape))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Set each value to 1 with the probability `p`, else to 0."""
    self._before_change("bernoulli_")
    drawn = rng_of(generator).random(self._array.shape) < array_of(p)
    return self._become("bernoulli_", drawn.astype(self._array.dtype))


def random_(
    self: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Draw integers with low ≤ n < high."""
    low, high = (0, low) if high is None else (low, high)
    self._before_change("random_")
    drawn = rng_of(generator).integers(low, high, self._array.shape)
    return self._become("random_", drawn.astype(self._array.dtype))


def squeeze_(self: Any, dim: Any = None) -> Tensor:
    """Drop axes of length 1 of this Tensor."""
    return _reshaped(self, self.squeeze(dim))


def unsqueeze_(self: Any, dim: int) -> Tensor:
    """Add an axis of length 1 to this Tensor."""
    return _reshaped(self, self.unsqueeze(dim))


def _reshaped(self: Tensor, view: Any) -> Tensor:
    self._array, self.node = view._array, view.node
    return self


# --- new Tensors of the same dtype ---------------------------------------------------------------


def new_tensor(self: Tensor, data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a Tensor of `data` in the dtype of this one."""
    return creation.tensor(data, self.dtype if dtype is None else dtype, device)


def new_zeros(self: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return zeros in the dtype of this Tensor."""
    return new_full(self, sizes_of(size), 0, dtype, device)


def new_ones(self: Tensor, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return ones in the dtype of this Tensor."""
    return new_full(self, sizes_of(size), 1, dtype, device)


def new_full(
    self: Tensor, size: Any, fill_value: Any, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `fill_value` in a shape and in the dtype of this Tensor."""
    return creation.full(size, fill_value, self.dtype if dtype is None else dtype, device)


OWN = (
    to, cuda, copy_, fill_, zero_, normal_, uniform_, bernoulli_, random_, squeeze_, unsqueeze_,
    new_tensor, new_zeros, new_ones, new_full,
)  # fmt: skip
FUNCTIONS = """
    add sub div pow max min maximum minimum amax amin median kthvalue var std norm cumprod gather
    index_add sort argsort topk scatter nonzero unique narrow diff select split chunk unbind
    unfold unflatten expand diag
"""
"""Functions of ``torch`` that are methods too."""


def add_methods() -> None:
    """Add the methods of all tables to `Tensor`."""
    module = "tinygrad_cnn.compat.torch"
    named = [table.functions(text, module) for text in (table.EVERYWHERE, table.METHODS)]
    named += [
        table.functions(text, module, view=True) for text in (table.VIEWS, table.VIEW_METHODS)
    ]
    named.append({name: getattr(functions, name) for name in FUNCTIONS.split()})
    named.append({function.__name__: function for function in OWN})
    named.append({"type": type_, "new_empty": new_zeros})
    for functions_ in named:
        for name, function in functions_.items():
            setattr(Tensor, name, function)
    for name in in_place_names():
        if not hasattr(Tensor, f"{name}_"):
            setattr(Tensor, f"{name}_", in_place(getattr(Tensor, name)))
    Tensor.__pow__ = Tensor.pow  # type: ignore[attr-defined]
    for name in ("add", "sub", "mul", "div"):
        operator = "truediv" if name == "div" else name
        setattr(Tensor, f"__i{operator}__", getattr(Tensor, f"{name}_"))
