"""Properties checked first: each names a cause that would break many others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from tinygrad_cnn.check.calls import Array
from tinygrad_cnn.check.functional import random_weights
from tinygrad_cnn.check.ops.probe import Probe, Properties, PropertyError, as_leaf, lister
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.observer import BackwardEvent, Observer, observe

OF_FORWARD: Properties = {}
OF_RULES: Properties = {}
holds = lister(OF_FORWARD)
holds_for_rules = lister(OF_RULES)


@holds("nothing that is given is written to")
def _(at: Probe) -> None:
    given = {
        **dict(zip(at.call.labels, (x.copy() for x in at.call.inputs), strict=True)),
        **{k: v for k, v in at.call.constants.items() if isinstance(v, np.ndarray)},
    }
    before = {name: value.copy() for name, value in given.items()}
    inputs = [given[label] for label in at.call.labels]
    at.call(*inputs)
    at.call(*[as_leaf(x) for x in inputs])
    for name, value in given.items():
        if not np.array_equal(value, before[name], equal_nan=True):
            raise PropertyError(f"{name} was written to", name)


@holds("the forward depends on its arguments alone")
def _(at: Probe) -> None:
    inputs = at.call.inputs
    for given, other in ((inputs, _moved(inputs)), (_moved(inputs), inputs)):
        try:
            at.call(*given)
        except Exception:
            if given is inputs:
                raise
            continue  # outside the op's domain
        _check_function("forward", partial(_results, at, given), partial(at.call, *other))


def _results(at: Probe, given: Sequence[Array]) -> list[Array]:
    return [np.array(at.call(*[x.copy() for x in given]))]


@holds("every array of floats that the result depends on has a derivative")
def _(at: Probe) -> None:
    for name, value in at.call.constants.items():
        if not at.every or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue
        other = {**at.call.constants, name: value * (1.0 + 2.0**-20) + 2.0**-20}
        for inputs in (at.call.inputs, _moved(at.call.inputs)):  # a 0 may hide its factor
            given = at.call.named(inputs)
            try:
                a, b = (at.call.op(**given, **rest) for rest in (at.call.constants, other))
            except Exception:  # outside the op's domain
                continue
            if not _same([a], [b]):
                raise PropertyError(
                    f"the result depends on {name}, which has no derivative: declare one with "
                    f"@{at.call.op.name}.derivative({name!r}, ...), or say with of=... of which "
                    "operands there are derivatives",
                    name,
                )


@holds_for_rules("no rule writes to what it is given")
def _(at: Probe) -> None:
    leaves = [as_leaf(x) for x in _moved(at.call.inputs)]  # an overwritten 0 often stays 0
    try:
        y = at.call(*leaves)
    except Exception:  # outside the op's domain
        leaves = at.call.leaves()
        y = at.call(*leaves)
    given = {
        **dict(zip(at.call.labels, (leaf.array for leaf in leaves), strict=True)),
        **{k: v for k, v in at.call.constants.items() if isinstance(v, np.ndarray)},
        "the result": y.array,
    }
    before = {name: value.copy() for name, value in given.items()}
    flowing: list[Any] = []

    class Watch(Observer):
        def backward(self, event: BackwardEvent) -> None:
            flowing.append(event.gradient)

    with observe(Watch()):
        try:
            grad(y, leaves, gradient=at.u.copy())
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise PropertyError(f"a rule writes to what it is given: {error}") from None
    if not np.array_equal(flowing[0], at.u):
        raise PropertyError("a rule writes to g, the gradient that flows in: work in a copy")
    for name, value in given.items():
        if not np.array_equal(value, before[name], equal_nan=True):
            raise PropertyError(f"a rule writes to {name}: work in a copy", name)


@holds_for_rules("a rule depends on what it is given alone")
def _(at: Probe) -> None:
    y = at.call(*at.leaves)
    other = random_weights(np.random.default_rng(1), at.y.shape)
    _check_function(
        "rule",
        lambda: [np.array(g) for g in grad(y, at.leaves, gradient=at.u, retain_graph=True)],
        lambda: grad(y, at.leaves, gradient=other, retain_graph=True),
    )


@holds_for_rules("no NaN comes from finite numbers")
def _(at: Probe) -> None:
    hint = "mend it, or draw inputs where it is defined"
    _check_nan(at.y.array, "result", "", hint)
    for label, gradient in zip(at.call.labels, at.gradients, strict=True):
        _check_nan(gradient, f"gradient for {label}", label, hint)


def _moved(inputs: Sequence[Array]) -> list[Array]:
    return [np.asarray(x * 0.75 + 0.0625) for x in inputs]


def _check_function(
    what: str, results: Callable[[], list[Array]], elsewhere: Callable[[], Any]
) -> None:
    """Raise unless `results` is reproducible, also after using the `what` `elsewhere`."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002  # to detect draws
    first, second = results(), results()
    if not _same_state(state, np.random.get_state(legacy=False)):  # noqa: NPY002
        raise PropertyError(
            f"the {what} draws random numbers from np.random: take them as an argument"
        )
    if not _same(first, second):
        raise PropertyError(
            f"the {what} gives other values when it is called again with the same arguments: it "
            "draws random numbers, or keeps state between calls; take both as arguments"
        )
    with suppress(Exception):  # the op may not take other numbers
        elsewhere()
    if not _same(first, results()):
        raise PropertyError(
            f"the {what} gives other values after a call with other numbers: it keeps state "
            "between calls; compute all from the arguments"
        )


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _same_state(a: Any, b: Any) -> bool:
    return bool(
        a["state"]["pos"] == b["state"]["pos"]
        and np.array_equal(a["state"]["key"], b["state"]["key"])
    )


def _check_nan(values: Any, what: str, label: str, hint: str) -> None:
    if np.isnan(values).any():
        index = tuple(int(k) for k in np.argwhere(np.isnan(values))[0])
        raise PropertyError(f"the {what} is NaN at {index}: {hint}", label)
