"""Traces: `tg.trace()` records calls and gradients for drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.observer import BackwardEvent, ForwardEvent, Observer, observe
from tinygrad_cnn.core.pullback import pull_back
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Parameter, Tensor
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.drawing.graph import CANCELED
from tinygrad_cnn.drawing.steps import Argument, Leaf, Step, StepOrLeaf, operands, options_of

if TYPE_CHECKING:
    from tinygrad_cnn.drawing.drawing import Drawing
    from tinygrad_cnn.nn.module import Module

__all__ = ["Trace", "trace"]

PROBES = 4  # several, as the factors may all be small for a single entry
SEED = 0x9E3779B97F4A7C15  # unlikely to seed data, which might be orthogonal to the gradient


class Trace(Observer):
    """A record of the computation inside ``with tg.trace() as trace:``, with values and times.

    Attributes
    ----------
    steps : list of Step
        The calls, in order; if an error ended the block, the last one failed.
    modules : dict of str to Module
        The modules that called an op directly, by scope.

    See Also
    --------
    trace : Record a trace.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.modules: dict[str, Module] = {}
        self._of_origin: dict[Node | Variable, StepOrLeaf] = {}
        self._of_array: dict[int, tuple[NDArray[Any], StepOrLeaf]] = {}  # by id; keeps it alive
        self._turns = 0
        self._is_complete = True  # an error ends a sweep before that
        self._sweep: tuple[int, bool] | None = None  # the last one: see `BackwardEvent`

    def draw(self, y: Tensor | None = None, **options: Any) -> Drawing:
        """Draw the whole trace, or the computation of `y`.

        Parameters
        ----------
        y : Tensor, optional
            A result computed inside the block.
        **options
            As for `tinygrad_cnn.draw`.

        Raises
        ------
        ValueError
            If the trace is empty, or `y` was not computed inside the block.
        """
        from tinygrad_cnn.drawing.drawing import drawing_of

        if not self.steps:
            raise ValueError("draw: the trace is empty: no op was called on a Tensor inside it")
        last = None if y is None else self.step_of(y)
        return drawing_of(self.steps, last, self.modules, **options)

    def step_of(self, y: Tensor) -> Step:
        """Return the step that computed `y`; raise ValueError if there is none."""
        if not isinstance(y, Variable):
            raise TypeError(f"draw: y is {type(y).__name__}, expected Tensor")
        found = self._found(y)
        if not isinstance(found, Step):
            raise ValueError(
                f"draw: the Tensor {y.name or 'y'} of shape {y.shape} was not computed in this "
                "trace; draw a result of a call inside `with tg.trace() as trace:`"
            )
        return found

    # --- watching --------------------------------------------------------------------------------

    def forward(self, event: ForwardEvent) -> None:
        """Record a call: its arguments, result and time."""
        op = event.op
        module = recording.get().module
        step = Step(op, event.scope, event.node, seconds=event.seconds)
        if module is not None:
            self.modules.setdefault(event.scope, module)
        static: dict[str, Any] = {}
        given = dict(zip(op.parameters, op.parameters, strict=True))
        arrays = dict(event.arguments)
        if op.sequence:
            name = op.parameters[0]
            arrays.update({f"{name}[{i}]": a for i, a in enumerate(event.arguments[name])})
            given.pop(name)
        known = operands(op, len(event.sources))
        for (name, derivative), source in zip(known, event.sources, strict=True):
            given.pop(name, None)
            if arrays[name] is not None:
                found = self._source(source, arrays[name], event.scope, False)
                step.arguments.append(Argument(name, found, derivative))
        for name in given:
            value = arrays[name]
            if isinstance(value, np.ndarray):
                found = self._source(None, value, event.scope, True)
                step.arguments.append(Argument(name, found, None))
            else:
                static[name] = value
        step.options = options_of(op, static)
        self.steps.append(step)
        if event.output is None:
            step.error = _one_line(event.error)
            return
        step.shape, step.dtype = event.output.shape, event.output.dtype
        step.array = _own(event.output, arrays.values())
        step.bytes = _memory(event)
        self._of_array[id(event.output)] = (event.output, step)
        if event.node is not None:
            self._of_origin[event.node] = step

    def backward(self, event: BackwardEvent) -> None:
        """Record a node's backward step: the gradient flowing in and those it sent on."""
        step = self._of_origin.get(event.node)
        if not isinstance(step, Step):
            return  # called before the trace began
        if (event.sweep, event.accumulates) != self._sweep:
            if self._sweep is not None and self._sweep[1] and not event.accumulates:
                return  # what `grad` returns is not in `.grad`
            if not (event.accumulates and self._is_complete) or self._is_cleared():
                self._forget()
            self._is_complete = False
            self._sweep = (event.sweep, event.accumulates)
        take_turn(step, event, self._turns)
        step.backward_seconds = (step.backward_seconds or 0.0) + event.seconds
        self._turns += 1

    def failed(self, error: Exception) -> None:
        """Record an error raised between two calls of ops."""
        if self.steps and self.steps[-1].error:
            return
        used = {id(a.source) for step in self.steps for a in step.arguments}
        scope = next(
            (
                note.removeprefix("in module ")
                for note in getattr(error, "__notes__", ())
                if note.startswith("in module ")
            ),
            "",
        )
        scope = next((step.scope for step in reversed(self.steps) if step.scope == scope), scope)
        last = [step for step in self.steps if id(step) not in used][-1:]
        self.steps.append(
            Step(
                None,
                scope,
                arguments=[Argument("", step, None) for step in last],
                error=_one_line(error),
            )
        )

    def swept(self, gradients: Mapping[Variable, Array], accumulates: bool) -> None:
        """Take the gradients of leaves after a sweep.

        They may be more than the sweep brought: an earlier gradient, or what a hook changed.
        """
        if self._sweep is None or self._sweep[1] != accumulates:
            return
        self._is_complete = True
        for origin, gradient in gradients.items():
            leaf = self._of_origin.get(origin)
            if isinstance(leaf, Leaf) and leaf.gradient is not None:
                total = np.array(array_of(gradient))
                leaf.differs |= not np.array_equal(total, leaf.gradient, equal_nan=True)
                leaf.gradient = total

    def _leaves(self) -> list[Leaf]:
        """Return the leaves that may have a gradient of their own."""
        known = self._of_origin.values()
        return [s for s in known if isinstance(s, Leaf) and isinstance(s.origin, Variable)]

    def _is_cleared(self) -> bool:
        """Return whether the gradients of earlier sweeps are no longer in any ``.grad``."""
        given = [leaf.origin for leaf in self._leaves() if leaf.gradient is not None]
        return bool(given) and all(getattr(origin, "_grad", None) is None for origin in given)

    def _forget(self) -> None:
        """Forget the gradients of earlier sweeps."""
        self._turns = 0
        for step in self.steps:
            step.gradient, step.scale, step.backward_step = None, 0.0, None
            for argument in step.arguments:
                argument.gradient = None
                if isinstance(argument.source, Leaf):
                    leaf = argument.source
                    leaf.gradient, leaf.scale, leaf.differs = None, 0.0, False

    # --- finding ---------------------------------------------------------------------------------

    def _found(self, source: Node | Variable) -> StepOrLeaf | None:
        """Return the recorded step or leaf of `source`, if there is one."""
        if isinstance(source, Node):
            return self._of_origin.get(source)
        found = self._of_origin.get(source.node or source)
        if found is None:
            known = self._of_array.get(id(source._array))  # possibly a result without a node
            found = known[1] if known is not None and isinstance(known[1], Step) else None
        return found

    def _source(
        self, source: Node | Variable | None, array: NDArray[Any], scope: str, is_auxiliary: bool
    ) -> StepOrLeaf:
        """Return the source of an argument; a new leaf if it is unknown."""
        found = self._found(source) if source is not None else None
        if found is None and source is None:
            known = self._of_array.get(id(array))
            found = known[1] if known is not None else None
        if found is not None:
            return found
        leaf = leaf_of(source, array, scope, is_auxiliary)
        self._of_array[id(array)] = (array, leaf)
        if source is not None:
            self._of_origin[source] = leaf
        return leaf


@contextmanager
def trace() -> Iterator[Trace]:
    """Record the computation inside ``with tg.trace() as trace:``, for drawing.

    The trace records calls with their values and times, and the gradients that flow back. It also
    works under `no_grad`, and up to an error. A graph alone saves only what its derivatives need.

    Yields
    ------
    Trace

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(3.0, requires_grad=True, name="x")
    >>> with tg.trace() as trace:
    ...     y = x * x + 1.0
    ...     y.backward()
    >>> [(node.name, node.value.mean) for node in trace.draw().graph.nodes]
    [('x', 3.0), ('mul', 9.0), ('1', 1.0), ('add', 10.0)]
    """
    watching = Trace()
    with observe(watching):
        try:
            yield watching
        except Exception as error:
            watching.failed(error)
            raise


def leaf_of(
    source: Node | Variable | None, array: NDArray[Any], scope: str, is_auxiliary: bool
) -> Leaf:
    """Return a leaf for an argument that is not the result of a known call.

    It belongs to `scope` if it is a parameter, a constant, or auxiliary: an array argument without
    a derivative, such as a mask.
    """
    learned = isinstance(source, Variable) and source.requires_grad
    leaf = Leaf(source, np.array(array), array.shape, array.dtype, learned)
    if isinstance(source, Variable):
        leaf.name = source.name or ""
    if isinstance(source, Parameter) or (source is None and (array.ndim == 0 or is_auxiliary)):
        leaf.scope = scope
    return leaf


def take_turn(step: Step, event: BackwardEvent, turn: int) -> None:
    """Add a node's backward step to its step and to the leaves that it sent gradients to."""
    step.backward_step = turn
    step.gradient = _sum(step.gradient, event.gradient)
    waiting = iter(step.arguments)
    scales = _scales(step, event)
    for (parent, contribution), scale in zip(event.contributions, scales, strict=True):
        for argument in waiting:
            if argument.source.origin is parent:
                argument.gradient = _sum(argument.gradient, contribution)
                argument.source.scale = math.hypot(argument.source.scale, scale)
                if isinstance(argument.source, Leaf):
                    argument.source.gradient = _sum(argument.source.gradient, contribution)
                break


def _scales(step: Step, event: BackwardEvent) -> list[float]:
    """Return the norm that each contribution of a call would have if its terms did not cancel.

    A contribution is a sum of terms in g, the gradient flowing in. If it is far smaller than g, its
    derivative is evaluated again with the entries of g multiplied by random factors: terms that
    cancel no longer do, and small terms stay small.
    """
    gradient = _plain(event.gradient)
    size = _norm(gradient)
    step.scale = max(step.scale, size)
    sizes = [_norm(_plain(contribution)) for _, contribution in event.contributions]
    canceled = size < CANCELED * step.scale  # then g is rounding error, and only its scale is known
    parents = [parent for parent, _ in event.contributions]
    needed = {
        parent
        for parent, one in zip(parents, sizes, strict=True)
        if canceled or one < CANCELED * size
    }
    if not needed:
        return sizes
    around = step.scale / math.sqrt(gradient.size) if canceled else gradient
    rng = np.random.default_rng(SEED)
    again = [0.0] * len(sizes)
    for _ in range(PROBES):
        with np.errstate(all="ignore"):
            probe = np.asarray(around * rng.standard_normal(gradient.shape), gradient.dtype)
            sent = pull_back(event.node, event.node.values(), probe, needed, create_graph=False)
        found = iter([_norm(_plain(contribution)) / math.sqrt(PROBES) for _, contribution in sent])
        again = [
            math.hypot(one, next(found)) if parent in needed else one
            for parent, one in zip(parents, again, strict=True)
        ]
    return [max(pair) for pair in zip(sizes, again, strict=True)]


def _plain(value: Any) -> NDArray[Any]:
    return np.asarray(array_of(value))


def _norm(array: NDArray[Any]) -> float:
    """Return the norm of an array; 0 if it is not finite, which has its own mark."""
    with np.errstate(all="ignore"):
        found = math.sqrt(np.square(np.abs(array), dtype=np.float64).sum())
    return found if math.isfinite(found) else 0.0


def _sum(before: NDArray[Any] | None, more: Any) -> NDArray[Any]:
    """Return a new array: `more`, or the sum of both."""
    array = array_of(more)
    return np.array(array) if before is None else np.asarray(before + array)


def _own(output: NDArray[Any], arguments: Any) -> NDArray[Any]:
    """Return `output`, copied if it is an argument or a view."""
    given = any(output is argument for argument in arguments)
    return np.array(output) if given or output.base is not None else output


def _memory(event: ForwardEvent) -> int:
    """Return the bytes that a call allocated: the result, unless a view, and saved values."""
    arrays = [value for value in event.arguments.values() if isinstance(value, np.ndarray)]
    saved = [] if event.node is None else event.node.kept()
    kept = [value for value in saved if isinstance(value, np.ndarray)]
    new: list[NDArray[Any]] = []
    for array in [event.output, *kept]:
        if array is not None and not any(np.may_share_memory(array, old) for old in arrays + new):
            new.append(array)
    return sum(array.nbytes for array in new)


def _one_line(error: Exception | None) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
