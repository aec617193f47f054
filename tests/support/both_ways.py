"""Steps that run eagerly and compiled, from the same state, and are compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn


@dataclass
class Trained:
    """A step and what it changes.

    Attributes
    ----------
    step : callable
    models : sequence of Module
    others : sequence
        Optimizers, schedules and scalers, whose ``state_dict`` is compared.
    leaves : sequence of Tensor
        Those of no model.
    """

    step: Callable[..., Any]
    models: Sequence[nn.Module] = ()
    others: Sequence[Any] = ()
    leaves: Sequence[tg.Tensor] = field(default_factory=list)


Make = Callable[[], Trained]
Batch = tuple[Any, ...]


def arrays_of(value: Any, name: str = "result") -> Iterator[tuple[str, Any]]:
    """Yield the arrays in a result, each with its place, and other objects as they are."""
    if isinstance(value, tg.Tensor):
        yield name, value.data.copy()
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from arrays_of(part, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for k, part in enumerate(value):
            yield from arrays_of(part, f"{name}[{k}]")
    else:
        yield name, np.array(value) if isinstance(value, np.ndarray) else value


def state_of(trained: Trained) -> dict[str, Any]:
    """Return copies of everything that a step may change."""
    found: dict[str, Any] = {}
    tensors = {f"leaf {k}": leaf for k, leaf in enumerate(trained.leaves)}
    for k, model in enumerate(trained.models):
        tensors |= {f"{k}.{name}": p for name, p in model.named_parameters()}
        tensors |= {f"{k}.{name}": b for name, b in model.named_buffers()}
        for name, module in model.named_modules():
            if isinstance(generator := getattr(module, "rng", None), np.random.Generator):
                found[f"generator of {k}.{name}"] = str(generator.bit_generator.state)
    for name, tensor in tensors.items():
        found[name] = tensor.data.copy()
        found[f"gradient of {name}"] = None if tensor.grad is None else np.array(tensor.grad)
    for k, other in enumerate(trained.others):
        found |= arrays_of(other.state_dict(), f"others[{k}]")
    if (generator := tg.core.random.default.get()) is not None:
        found["the default generator"] = str(generator.bit_generator.state)
    return found


def run_of(
    make: Make,
    batches: Sequence[Batch],
    compiled: bool,
    between: Callable[[int, Trained], Any] | None = None,
) -> tuple[list[dict[str, Any]], Any]:
    """Return results and state after each call of a step, and the step that was called."""
    tg.manual_seed(0)
    trained = make()
    step = tg.compile(trained.step) if compiled else trained.step
    found = []
    for i, batch in enumerate(batches):
        if between is not None:
            between(i, trained)
        result = dict(arrays_of(step(*batch)))
        found.append(result | state_of(trained))
    return found, step


def same_bits(got: Any, expected: Any) -> bool:
    """Return whether two values are of one kind and have the same bits."""
    if isinstance(expected, np.ndarray | np.generic):
        got, expected = np.asarray(got), np.asarray(expected)
        alike = (got.shape, got.dtype) == (expected.shape, expected.dtype)
        return alike and got.tobytes() == expected.tobytes()
    return type(got) is type(expected) and bool(got == expected)


def assert_same_bits(
    make: Make,
    batches: Sequence[Batch],
    between: Callable[[int, Trained], Any] | None = None,
) -> Any:
    """Assert that a compiled step of NumPy gives the eager one's bits in each call; return it."""
    with tg.engine.options(fast=False):
        expected, _ = run_of(make, batches, False, between)
        got, step = run_of(make, batches, True, between)
    for i, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        assert ours.keys() == theirs.keys(), f"call {i}"
        differing = [name for name in theirs if not same_bits(ours[name], theirs[name])]
        assert not differing, f"call {i}: {', '.join(differing)} differ"
    return step


def assert_close_to_eager(
    make: Make,
    batches: Sequence[Batch],
    tolerance: float,
    between: Callable[[int, Trained], Any] | None = None,
) -> None:
    """Assert that a compiled step of kernels is near the eager one.

    The difference is at most `tolerance` of the largest value of each array. One and two threads,
    and poisoned memory, give the same bits.
    """
    with tg.engine.options(fast=False):
        expected, _ = run_of(make, batches, False, between)
    found = []
    for threads, poison in ((1, False), (1, True), (2, False)):
        with tg.num_threads(threads), tg.engine.options(fast=True, poison=poison):
            found.append(run_of(make, batches, True, between)[0])
    for i, (theirs, *ours) in enumerate(zip(expected, *found, strict=True)):
        assert_alike(ours[0], theirs, tolerance, f"call {i}")
        for what, each in zip(("poisoned", "two threads"), ours[1:], strict=True):
            differing = [name for name in theirs if not same_bits(each[name], ours[0][name])]
            assert not differing, f"call {i}, {what}: {', '.join(differing)} differ"


def assert_alike(
    got: dict[str, Any], expected: dict[str, Any], tolerance: float, call: str
) -> None:
    """Assert that floating arrays are close, and all else is equal."""
    assert got.keys() == expected.keys(), call
    for name, value in expected.items():
        what = f"{call}: {name}"
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f":
            atol = tolerance * np.max(np.abs(value), initial=1e-2, where=np.isfinite(value))
            np.testing.assert_allclose(got[name], value, rtol=0, atol=atol, err_msg=what)
            assert np.asarray(got[name]).dtype == value.dtype, what
        else:
            assert same_bits(got[name], value), what
