"""Properties of an op's derivatives, each a function that raises if it fails."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.forward_properties import check_function, moved
from tinygrad_cnn.check.functional import random_weights
from tinygrad_cnn.check.probe import Probe, Properties, PropertyError, as_leaf, lister
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.observer import BackwardEvent, Observer, observe
from tinygrad_cnn.core.pullback import with_shared
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.ops import add, flip
from tinygrad_cnn.support.arguments import first_index

LARGEST = float(np.finfo(np.float32).max) / 16
SCALES = (2.0**-200, 2.0**200)

FIRST_OF_RULES: Properties = {}
"""The properties checked first: each names a cause that would break many others."""
BACKWARD: Properties = {}
holds_first, holds = lister(FIRST_OF_RULES), lister(BACKWARD)


@holds_first("no rule writes to its arguments")
def _(at: Probe) -> None:
    leaves = [as_leaf(x) for x in moved(at.call.inputs)]  # an overwritten 0 often stays 0
    try:
        y = at.call(*leaves)
    except Exception:  # outside the op's domain
        leaves = at.call.leaves()
        y = at.call(*leaves)
    given = {**at.call.arrays([leaf._array for leaf in leaves]), "the result": y._array}
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
            raise PropertyError(f"a rule writes to its arguments: {error}") from None
    if not np.array_equal(flowing[0], at.u):
        raise PropertyError("a rule writes to g, the gradient flowing in: work on a copy")
    for name, value in given.items():
        if not np.array_equal(value, before[name], equal_nan=True):
            raise PropertyError(f"a rule writes to {name}: work on a copy", name)


@holds_first("a rule depends only on its arguments")
def _(at: Probe) -> None:
    y = at.call(*at.leaves)
    other = random_weights(np.random.default_rng(1), at.y.shape)
    check_function(
        "rule",
        lambda: [np.array(g) for g in grad(y, at.leaves, gradient=at.u, retain_graph=True)],
        lambda: grad(y, at.leaves, gradient=other, retain_graph=True),
    )


@holds_first("finite arguments give no NaN")
def _(at: Probe) -> None:
    hint = "fix it, or draw inputs where it is defined"
    _check_nan(at.y._array, "result", "", hint)
    for label, gradient in zip(at.call.labels, at.gradients, strict=True):
        _check_nan(gradient, f"gradient for {label}", label, hint)


@holds("results and gradients share no memory")
def _(at: Probe) -> None:
    """Run first: shared memory may change values before later comparisons."""
    given = at.call.arrays([leaf._array for leaf in at.leaves])
    y = at.call(*at.leaves)
    is_view = any(np.shares_memory(at.y._array, x) for x in given.values())
    if not is_view and np.shares_memory(at.y._array, y._array):
        raise PropertyError("the result shares memory with another call's: return a new array")
    again = grad(y, at.leaves, gradient=at.u)
    owners = {**given, "the result": at.y._array}
    owners |= {
        f"that of another call for {k}": g for k, g in zip(at.call.labels, again, strict=True)
    }
    for label, gradient in zip(at.call.labels, at.gradients, strict=True):
        for name, owner in owners.items():
            if np.shares_memory(gradient, owner):
                raise PropertyError(
                    f"the gradient for {label} shares memory with {name}: return a copy", label
                )
        owners[f"the gradient for {label}"] = gradient


@holds("float32 stays float32")
def _(at: Probe) -> None:
    leaves = at.call.leaves(np.float32)
    y = at.call(*leaves)
    expected = np.dtype(at.call.arguments.get("dtype", np.float32))
    if y.dtype != expected:
        raise PropertyError(f"the result of float32 is {y.dtype}")
    given = [value for value in at.call.constants.values() if isinstance(value, np.ndarray)]
    if not any(value.dtype.kind == "f" for value in given):  # else NumPy promotes the dtype
        raw = np.asarray(at.call(*[x.astype(np.float32) for x in at.call.inputs]))
        if raw.dtype != expected:
            raise PropertyError(f"the forward of float32 computes in {raw.dtype}")
        _check_rules(at.call, y, at.u.astype(y.dtype))
    u = Tensor(at.u.astype(y.dtype), requires_grad=True)
    gradients = grad(y, leaves, gradient=u, create_graph=True)
    _check_kind(at.call, "gradient", gradients, leaves)
    if any(g.requires_grad for g in gradients):
        terms = [g.sum() for g in gradients]
        seconds = grad(sum(terms[1:], start=terms[0]), [*leaves, u])
        _check_kind(at.call, "second derivative", seconds, [*leaves, u])


def _check_kind(call: Call, what: str, got: Sequence[Any], of: Sequence[Tensor]) -> None:
    for label, value, leaf in zip([*call.labels, "g"], got, of, strict=False):
        if (value.shape, value.dtype) != (leaf.shape, leaf.dtype):
            raise PropertyError(
                f"the {what} for {label} is {value.dtype} of shape {value.shape}, expected "
                f"{leaf.dtype} of shape {leaf.shape}",
                label,
            )


def _check_rules(call: Call, y: Tensor, u: Array) -> None:
    """Check the dtype and shape of the rules' raw results, before backward converts them."""
    node = y.node
    if node is None or call.op.sequence:
        return
    known = with_shared(node, u, [getattr(kept, "_array", kept) for kept in node.kept()])
    for place, derivative, apply in node.plan.derivatives:
        value = apply(u, known)
        parent = node.parents[place]
        if value.dtype != u.dtype:
            raise PropertyError(
                f"the rule for {derivative.of} computes in {value.dtype}, not {u.dtype}",
                derivative.of,
            )
        shape = () if parent is None else parent.shape
        if value.shape not in ({shape, y.shape} if call.op.elementwise else {shape}):
            raise PropertyError(
                f"the rule for {derivative.of} gives shape {value.shape}, expected {shape}",
                derivative.of,
            )


@holds("float32 agrees with float64")
def _(at: Probe) -> None:
    values = [at.y._array, *at.gradients]
    if max(float(np.max(np.abs(value), initial=0.0)) for value in values) > LARGEST:
        return
    leaves = at.call.leaves(np.float32)
    y = at.call(*leaves)
    at.compare_result(y._array, "the result in float32", dtype=np.float32)
    gradients = grad(y, leaves, gradient=at.u)
    at.compare_gradients(gradients, "in float32", dtype=np.float32)


@holds("the layout of the gradient flowing in does not matter")
def _(at: Probe) -> None:
    """Pass it through a transpose, a flip and a sum: transposed, reversed, repeated."""
    turned = at.call(*at.leaves).T
    gradients = grad(turned, at.leaves, gradient=np.array(at.u.T, order="C"))
    at.compare_gradients(gradients, "for a transposed gradient flowing in")
    flipped = flip(at.call(*at.leaves))
    gradients = grad(flipped, at.leaves, gradient=np.flip(at.u).copy())
    at.compare_gradients(gradients, "for a reversed gradient flowing in")
    ones = Probe(at.call, np.ones(at.y.shape))
    spread = grad(at.call(*ones.leaves).sum(), ones.leaves)
    ones.compare_gradients(spread, "for a repeated gradient flowing in")


@holds("a gradient does not depend on which others are computed")
def _(at: Probe) -> None:
    for i, label in enumerate(at.call.labels):
        inputs: list[Any] = list(at.call.inputs)
        inputs[i] = at.leaves[i]
        (alone,) = grad(at.call(*inputs), at.leaves[i], gradient=at.u)
        if not np.array_equal(alone, at.gradients[i], equal_nan=True):
            raise PropertyError(
                f"the gradient for {label} differs when it is the only one computed", label
            )
    recorded = grad(at.call(*at.leaves), at.leaves, gradient=at.u, create_graph=True)
    at.compare_gradients([g._array for g in recorded], "with a graph of its own")


@holds("fan-out accumulates")
def _(at: Probe) -> None:
    """Both calls receive the same array, which also exposes a rule that writes to it."""
    twice = add(at.call(*at.leaves), at.call(*at.leaves))
    at.compare_gradients(grad(twice, at.leaves, gradient=at.u), "used twice", times=2.0)


@holds("broadcasting is undone")
def _(at: Probe) -> None:
    """Check that each element's gradient is the sum over its broadcast copies."""
    if not at.call.op.elementwise:
        return
    shape = at.y.shape
    copies = [Tensor(np.broadcast_to(x, shape), requires_grad=True) for x in at.call.inputs]
    apart = grad(at.call(*copies), copies, gradient=at.u)
    summed = []
    for x, gradient in zip(at.call.inputs, apart, strict=True):
        total = np.zeros(x.size)
        origin = np.broadcast_to(np.arange(x.size).reshape(x.shape), shape)
        np.add.at(total, origin.reshape(-1), gradient.reshape(-1))
        summed.append(total.reshape(x.shape))
    at.compare_gradients(summed, "summed over its copies")


@holds("the gradient of a linear op is its adjoint")
def _(at: Probe) -> None:
    """Check ⟨u, f(x) − f(0)⟩ = ⟨∂(u), x⟩ if the rule implies that the op is affine in x.

    It does if it reads neither x, nor the result, nor a residual, which may depend on them. A
    derivative declared as 0 is also that of a function with steps.
    """
    op = at.call.op
    if op.sequence:
        _check_adjoint(at, tuple(range(len(at.leaves))))
        return
    for i, label in enumerate(at.call.labels):
        steps = op.derivatives[label].formula == "0"
        if not steps and not {label, "y", *op.residuals} & op.reads(label):
            _check_adjoint(at, (i,))


def _check_adjoint(at: Probe, places: tuple[int, ...]) -> None:
    at_zero = [x * 0.0 if i in places else x for i, x in enumerate(at.call.inputs)]
    change = at.y._array - np.asarray(at.call(*at_zero))
    terms = [np.sum(at.gradients[i] * at.call.inputs[i]) for i in places]
    value, expected = math.fsum(terms), float(np.sum(at.u * change))
    scale = float(np.sum(np.abs(at.u)) * np.max(np.abs(at.y._array), initial=1.0))
    scale += sum(float(np.sum(np.abs(at.gradients[i] * at.call.inputs[i]))) for i in places)
    allowed = 1e-13 * scale + sum(
        at.rounding.allowed(i + 1) * float(np.sum(np.abs(at.call.inputs[i]))) for i in places
    )
    if not abs(value - expected) <= allowed:
        label = at.call.labels[places[0]]
        raise PropertyError(
            f"⟨∂(u), {label}⟩ is {value:.17g}, but ⟨u, f({label}) − f(0)⟩ is {expected:.17g}; the "
            f"rule reads neither {label} nor y, so the op should be linear in {label}",
            label,
        )


@holds("a rule is linear in the gradient flowing in")
def _(at: Probe) -> None:
    """Check ∂(0) = 0, ∂(s·u) = s·∂(u) for s tiny and huge, and ∂(a) + ∂(b) = ∂(a + b)."""

    def pulled(u: Array) -> list[Array]:
        return grad(at.y, at.leaves, gradient=u, retain_graph=True)

    for label, gradient in zip(at.call.labels, pulled(np.zeros(at.y.shape)), strict=True):
        if gradient.any():  # NaN counts as nonzero
            index = first_index(gradient)
            raise PropertyError(
                f"the gradient for {label} is {gradient[index]:.17g} at {index} for a "
                "zero gradient flowing in",
                label,
            )
    for scale in SCALES:
        scaled = [gradient / scale for gradient in pulled(scale * at.u)]
        at.compare_gradients(scaled, f"for a gradient flowing in times {scale:.0e}, divided by it")
    part = at.u * np.random.default_rng(0).choice([0.0, 0.25, 1.0], at.u.shape)
    pairs = zip(pulled(part), pulled(at.u - part), strict=True)
    at.compare_gradients(
        [a + b for a, b in pairs], "for two parts of the gradient flowing in, added"
    )


@holds("the same Tensor may be given twice")
def _(at: Probe) -> None:
    """Compare with two equal Tensors: results agree, and gradients add up."""
    inputs = at.call.inputs
    shape = at.y.shape if at.call.op.elementwise else None
    for i, j in combinations(range(len(inputs)), 2):
        if shape is None and inputs[i].shape != inputs[j].shape:
            continue
        for value in (inputs[i], inputs[j]):
            shared = np.array(value if shape is None else np.broadcast_to(value, shape))
            given = [shared if k in (i, j) else x for k, x in enumerate(inputs)]
            try:
                apart = Probe(at.call.given(given), at.u)
            except Exception:  # the other operand does not take this value
                continue
            if not all(np.isfinite(a).all() for a in (apart.y._array, *apart.gradients)):
                continue
            leaves = list(apart.leaves)
            leaves[j] = leaves[i]
            y = at.call(*leaves)
            both = f"{at.call.labels[i]} and {at.call.labels[j]}"
            apart.compare_result(y._array, f"the result for one Tensor as {both}")
            (got,) = grad(y, [leaves[i]], gradient=at.u)
            apart.compare_sum(got, (i, j), f"the gradient for one Tensor as {both}")


@holds("zero-size arrays work")
def _(at: Probe) -> None:
    """If the op takes an empty array, backward gives gradients: 0 if the result is empty."""
    for call in _emptied(at):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # such as the mean of an empty array
                call(*call.inputs)
        except Exception:
            if call.op.elementwise:
                raise
            continue
        leaves = call.leaves()
        y = call(*leaves)
        u = random_weights(np.random.default_rng(0), y.shape)
        for leaf, label, gradient in zip(
            leaves, call.labels, grad(y, leaves, gradient=u), strict=True
        ):
            if gradient.shape != leaf.shape:
                raise PropertyError(
                    f"the gradient for {label} of {call} has shape {gradient.shape}, expected "
                    f"{leaf.shape}",
                    label,
                )
            if y.size == 0 and gradient.any():
                raise PropertyError(
                    f"the gradient for {label} of {call} is not 0, though its result is empty",
                    label,
                )


def _emptied(at: Probe) -> Iterator[Call]:
    """Yield the call with axes cut to length 0: the first of all arrays, then each alone."""
    call, shape = at.call, at.y.shape or (1,)
    arrays = {k: v for k, v in call.arguments.items() if k in call.of or isinstance(v, np.ndarray)}
    if call.op.elementwise:
        cut = {name: np.broadcast_to(value, shape)[:0] for name, value in arrays.items()}
        yield Call(call.op, {**call.arguments, **cut}, call.of)
        return
    if call.op.sequence:
        yield call.given([x[:0] if x.ndim else x for x in call.inputs])
        return
    for length in {np.shape(v)[0] for v in arrays.values() if np.ndim(v)}:
        cut = {k: v[:0] for k, v in arrays.items() if np.ndim(v) and np.shape(v)[0] == length}
        yield Call(call.op, {**call.arguments, **cut}, call.of)
    for name in call.of:
        for axis in range(np.ndim(arrays[name])):
            none = (slice(None),) * axis + (slice(0, 0),)
            yield Call(call.op, {**call.arguments, name: arrays[name][none]}, call.of)


def _check_nan(values: Any, what: str, label: str, hint: str) -> None:
    if np.isnan(values).any():
        index = first_index(np.isnan(values))
        raise PropertyError(f"the {what} is NaN at {index}: {hint}", label)
