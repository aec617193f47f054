"""New Tensors: from data, constant, or random."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.compat.torch.devices import check_device
from tinygrad_cnn.compat.torch.table import of_dtype, sizes_of
from tinygrad_cnn.compat.torch.tensor import Tensor, values_of
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.random import default_generator
from tinygrad_cnn.core.variable import Variable, array_of


class Generator:
    """A source of random numbers: ``torch.Generator().manual_seed(0)``.

    PyTorch draws other numbers from the same seed.
    """

    def __init__(self, device: Any = None) -> None:
        check_device(device)
        self.rng = np.random.default_rng(0)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`."""
        self.rng = np.random.default_rng(seed)
        return self


def rng_of(generator: Generator | None) -> np.random.Generator:
    """Return the generator to draw from: by default the one that `manual_seed` sets."""
    return default_generator() if generator is None else generator.rng


# --- from data -----------------------------------------------------------------------------------


def tensor(
    data: Any,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a Tensor with a copy of `data`: integers stay integers, floats are `float32`."""
    check_device(device)
    if isinstance(data, Variable):
        return Tensor(data, requires_grad=requires_grad, dtype=dtype)
    array = np.array(_values(data))
    if dtype is None and array.dtype == np.float64 and not _has_dtype(data):
        dtype = float_dtype.get()
    return Tensor(array, requires_grad=requires_grad, dtype=dtype)


def as_tensor(data: Any, dtype: DTypeLike | None = None, device: Any = None) -> Any:
    """Return `data` as a Tensor; an array or Tensor of that dtype is not copied."""
    check_device(device)
    if isinstance(data, Tensor):
        return data if dtype in (None, data.dtype) else of_dtype(data, dtype)
    if isinstance(data, np.ndarray):
        return from_numpy(data if dtype is None else data.astype(dtype, copy=False))
    return tensor(data, dtype)


def from_numpy(array: Any) -> Tensor:
    """Return a Tensor of the memory of an array. Writing to the array is not noticed."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: got {type(array).__name__}, expected an ndarray")
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"from_numpy: the array holds {array.dtype}, expected numbers")
    return Tensor._of(array.view(np.ndarray))


def _values(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_values(part) for part in data]
    return values_of(data)


def _has_dtype(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, np.ndarray | np.generic | Variable)


# --- constant ------------------------------------------------------------------------------------


def _made(array: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    made = Tensor._of(np.asarray(array, float_dtype.get() if dtype is None else dtype))
    return made.requires_grad_() if requires_grad else made


def zeros(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return full(
        sizes_of(shape if size is None else (size,)), 0, _float(dtype), device, requires_grad
    )


def ones(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return full(
        sizes_of(shape if size is None else (size,)), 1, _float(dtype), device, requires_grad
    )


def empty(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros, to be written to."""
    return zeros(*shape, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Any,
    fill_value: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `fill_value` in a shape."""
    value = values_of(fill_value)
    if dtype is None and np.asarray(value).dtype.kind in "biu":
        dtype = np.asarray(value).dtype
    shape = size if isinstance(size, tuple | list) else (size,)
    return _made(np.full(shape, value), dtype, device, requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return ones on the diagonal and zeros elsewhere."""
    return _made(np.eye(n, m), dtype, device, False)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return start, start + step, ... below `end`; ``arange(end)`` starts at 0."""
    first, last = (0, start) if end is None else (start, end)
    numbers = [values_of(v) for v in (first, last, step)]
    whole = builtins.all(np.asarray(v).dtype.kind in "iu" for v in numbers)
    chosen = np.dtype("i8") if dtype is None and whole else dtype
    return _made(np.arange(*numbers), chosen, device, requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `steps` numbers from `start` to `end`, at equal distances."""
    return _made(np.linspace(start, end, steps), dtype, device, requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return ``base`` to the powers `linspace`."""
    return _made(np.logspace(start, end, steps, base=base), dtype, device, False)


def _float(dtype: Any) -> Any:
    return float_dtype.get() if dtype is None else dtype


# --- random --------------------------------------------------------------------------------------


@effect
def rand(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return uniform numbers in [0, 1)."""
    return _made(
        rng_of(generator).random(sizes_of(shape if size is None else (size,))),
        dtype,
        device,
        requires_grad,
    )


@effect
def randn(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return normal numbers of mean 0 and variance 1."""
    return _made(
        rng_of(generator).normal(size=sizes_of(shape if size is None else (size,))),
        dtype,
        device,
        requires_grad,
    )


@effect
def randint(
    low: Any,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Return integers with low ≤ n < high; ``randint(high, size)`` starts at 0."""
    if size is None and isinstance(high, tuple | list):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    drawn = rng_of(generator).integers(low, high, tuple(size))
    return _made(drawn, np.int64 if dtype is None else dtype, device, False)


@effect
def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return the integers below `n` in random order."""
    drawn = rng_of(generator).permutation(n)
    return _made(drawn, np.int64 if dtype is None else dtype, device, False)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return normal numbers, with a mean and deviation for all or for each."""
    drawn = rng_of(generator).normal(array_of(mean), array_of(std), size)
    return _made(drawn, getattr(mean, "dtype", None), None, False)


def bernoulli(input: Any, *, generator: Generator | None = None) -> Tensor:
    """Return ones with the probabilities `input`, else zeros."""
    drawn = rng_of(generator).random(input.shape) < input._array
    return _made(drawn, input.dtype, None, False)


def multinomial(
    input: Any,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return indices drawn with the weights in each row."""
    rows = input._array.reshape(-1, input.shape[-1])
    rng, count = rng_of(generator), rows.shape[1]
    drawn = [rng.choice(count, num_samples, replacement, row / row.sum()) for row in rows]
    return Tensor._of(np.array(drawn, np.int64).reshape(*input.shape[:-1], num_samples))


# --- like another --------------------------------------------------------------------------------


def zeros_like(input: Any, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    """Return zeros in the shape and dtype of `input`."""
    return full_like(input, 0, dtype, device, **options)


def ones_like(input: Any, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    """Return ones in the shape and dtype of `input`."""
    return full_like(input, 1, dtype, device, **options)


def empty_like(input: Any, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    """Return zeros in the shape and dtype of `input`, to be written to."""
    return full_like(input, 0, dtype, device, **options)


def full_like(
    input: Any,
    fill_value: Any,
    dtype: Any = None,
    device: Any = None,
    *,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return `fill_value` in the shape and dtype of `input`."""
    return _made(np.full(input.shape, fill_value), _or_own(dtype, input), device, requires_grad)


def rand_like(input: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return uniform numbers in the shape and dtype of `input`."""
    return rand(*input.shape, dtype=_or_own(dtype, input), device=device)


def randn_like(input: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return normal numbers in the shape and dtype of `input`."""
    return randn(*input.shape, dtype=_or_own(dtype, input), device=device)


def _or_own(dtype: Any, input: Any) -> Any:
    return input.dtype if dtype is None else dtype
