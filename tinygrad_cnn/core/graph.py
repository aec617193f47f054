"""The computation graph and the reverse sweep.

A `Node` is one call of an op. It points to the nodes (or leaves) of its arguments and never to its
users, so the graph has no reference cycle and reference counting frees it.
The sweep visits the nodes from newest to oldest. `seq` counts calls and an argument is always older
than the result, so a node is visited only after all its users.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import attrgetter
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn.core.observer import BackwardEvent, Observer
from tinygrad_cnn.core.pullback import Report, pull_back
from tinygrad_cnn.core.recording import SWEEP, Recording, changed_recording, entered, recording
from tinygrad_cnn.core.step_observer import step_observers
from tinygrad_cnn.core.variable import Array, Variable, array_of, calls

if TYPE_CHECKING:
    from tinygrad_cnn.core.compiled import Plan
    from tinygrad_cnn.core.hooks import GradientHooks
    from tinygrad_cnn.core.op import Op
    from tinygrad_cnn.core.tensor import Tensor


class GraphFreedError(RuntimeError):
    """A sweep reached a node that an earlier sweep has freed."""


class ChangedInPlaceError(RuntimeError):
    """A value saved for backward was modified in place."""


class Node:
    """One recorded call of an op.

    Attributes
    ----------
    op : Op
        The op that was called.
    plan : Plan
        The derivatives this call needs and the values they read; shared by all calls of a kind.
    parents : tuple of (Node, Variable or None)
        The source of each differentiable argument, in order: the node that computed it, the leaf
        itself, or None if it requires no gradient.
    saved : list or None
        The values of ``plan.names``. None once freed; the shape of the graph stays.
    static : tuple
        The values of the op's static parameters (``op.static``), such as a stride.
    shape, dtype
        The shape and dtype of the result.
    seq : int
        The number of this call; its arguments have smaller numbers.
    scope : str
        The module that made the call, such as ``"features.0"``.
    _hooks : GradientHooks or None
    """

    __slots__ = ("__weakref__", "_hooks", "dtype", "op", "parents", "plan", "saved", "scope", "seq",
                 "shape", "static")  # fmt: skip

    def __init__(
        self,
        op: Op[..., Any],
        plan: Plan,
        parents: tuple[Node | Variable | None, ...],
        saved: list[Any],
        static: tuple[Any, ...],
        result: NDArray[Any],
        scope: str,
    ) -> None:
        self.op = op
        self.plan = plan
        self.parents = parents
        self.saved: list[Any] | None = saved
        self.static = static
        self.shape = result.shape
        self.dtype = result.dtype
        self.scope = scope
        self.seq = next(calls)
        self._hooks: GradientHooks | None = None

    def __repr__(self) -> str:
        return f"<{self} #{self.seq}: {self.shape} {self.dtype}>"

    def __str__(self) -> str:
        return f"{self.op.name} in {self.scope}" if self.scope else self.op.name

    def kept(self) -> list[Any]:
        """Return `saved`, or raise `GraphFreedError` if it was freed."""
        if self.saved is None:
            raise GraphFreedError(
                f"the graph of this result ({self}, shape {self.shape}) was freed by an earlier "
                "backward() or grad(); pass retain_graph=True there to use it again"
            )
        return self.saved

    def values(self) -> list[Any]:
        """Return `saved` with its Tensors as arrays.

        Raises
        ------
        GraphFreedError
            If it was freed.
        ChangedInPlaceError
            If a saved leaf, or a view of one, was changed since.
        """
        return [
            self._value(kept)
            if isinstance(kept, Variable)
            else [self._value(v) if isinstance(v, Variable) else v for v in kept]
            if type(kept) is list
            else kept
            for kept in self.kept()
        ]

    def _value(self, kept: Variable) -> NDArray[Any]:
        seq, node = self.seq, kept.node
        leaf = kept if kept._origin is None else kept._origin
        became = node is not None and node.seq > seq  # the result of a later call
        if became or leaf._changed > seq:
            raise ChangedInPlaceError(
                f"{leaf.name or 'a tensor'} of shape {leaf.shape} was changed in place after "
                f"{self} had saved it for its derivative; call backward() before changing it, or "
                "give the op a copy"
            )
        return kept._array

    def free(self) -> None:
        """Drop the saved values, and the hooks, which may refer to results."""
        self.saved = self._hooks = None


@overload
def grad(
    y: Variable,
    wrt: Variable | Sequence[Variable],
    gradient: ArrayLike | Variable | None = None,
    create_graph: Literal[False] = False,
    retain_graph: bool | None = None,
) -> list[NDArray[Any]]: ...


@overload
def grad(
    y: Variable,
    wrt: Variable | Sequence[Variable],
    gradient: ArrayLike | Variable | None = None,
    *,
    create_graph: Literal[True],
    retain_graph: bool | None = None,
) -> list[Tensor]: ...


@overload
def grad(
    y: Variable,
    wrt: Variable | Sequence[Variable],
    gradient: ArrayLike | Variable | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Any]: ...


def grad(
    y: Variable,
    wrt: Variable | Sequence[Variable],
    gradient: Array | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Any]:
    """Return the gradients of `y` with respect to each Tensor in `wrt`.

    Parameters
    ----------
    y : Tensor
        The result to differentiate: one element, or any shape with `gradient`.
    wrt : Tensor or sequence of Tensor
        Leaves or results that require a gradient.
    gradient : array_like or Tensor, optional
        The gradient flowing into `y`, of its shape. Defaults to 1.
    create_graph : bool
        Record the sweep, so that the result can be differentiated again.
    retain_graph : bool, optional
        Keep the graph for another sweep. Defaults to `create_graph`.

    Returns
    -------
    list of ndarray, or of Tensor with `create_graph`
        One gradient per entry of `wrt`, of its shape and dtype; zeros if `y` does not depend on it.

    Raises
    ------
    ValueError
        If `y` has more than one element and no `gradient`, or the shapes differ.
    RuntimeError
        If `y` was not recorded, or an entry of `wrt` does not require a gradient.
    GraphFreedError
        If an earlier sweep has freed the graph.
    ChangedInPlaceError
        If a saved value was modified in place.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(3.0, requires_grad=True)
    >>> (dy,) = tg.grad(x**3, x, create_graph=True)
    >>> dy.item(), tg.grad(dy, x)[0].item()
    (27.0, 18.0)
    """
    targets = [wrt] if isinstance(wrt, Variable) else list(wrt)
    for i, target in enumerate(targets):
        if not isinstance(target, Variable):
            raise TypeError(f"grad: wrt[{i}] is {type(target).__name__}, expected Tensor")
        if not target.requires_grad:
            raise RuntimeError(f"grad: wrt[{i}] {_describe(target)} does not require a gradient")
    seed = _seed("grad", y, gradient, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    keys = [target.node or target for target in targets]
    found = _sweep(y.node or y, seed, set(keys), create_graph, retain)
    results: list[Any] = []
    taken: set[int] = {id(seed)} if create_graph else set()
    for target, key in zip(targets, keys, strict=True):
        value = found.get(key)
        if value is None:
            value = np.zeros(target.shape, target.dtype)
        results.append(
            _as_tensor(value, taken, target._tensor) if create_graph else _own(value, taken)
        )
    for observer in recording.get().observers:
        of_leaves = {t: g for t, g in zip(targets, results, strict=True) if t.node is None}
        observer.swept(of_leaves, accumulates=False)
    for recorder in step_observers():
        results = recorder.differentiated(keys, results)
    return results


_accumulating = Lock()  # threads may share the gradients of a model


def _start_afresh() -> None:
    """Replace the lock after a fork: a thread that was not copied may hold it."""
    global _accumulating
    _accumulating = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def backward(
    y: Variable,
    gradient: Array | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `y` to ``.grad`` of every leaf that requires one (`Tensor.backward`)."""
    seed = _seed("backward", y, gradient, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    found = _sweep(y.node or y, seed, None, create_graph, retain)
    taken: set[int] = {id(seed)} if create_graph else set()
    with _accumulating:
        totals = {leaf: _total(leaf, value, taken, create_graph) for leaf, value in found.items()}
        for leaf, total in totals.items():  # nothing can fail from here on
            leaf._grad = total
    of_leaves = [o for leaf in totals if leaf._hooks is not None for o in leaf._hooks.observers()]
    for observer in dict.fromkeys(of_leaves):  # which may change them, as sums over ranks do
        observer.swept(totals, accumulates=True)
    if of_leaves:
        totals = {leaf: leaf._grad for leaf in totals}
    for observer in recording.get().observers:
        observer.swept(totals, accumulates=True)


def _total(leaf: Variable, value: Array, taken: set[int], create_graph: bool) -> Any:
    """Return `value` plus the gradient of earlier sweeps: a Tensor only with `create_graph`."""
    earlier: Array | None = leaf._grad
    if create_graph:
        with changed_recording(on=True):
            value = _as_tensor(value, taken, leaf._tensor)
            return value if earlier is None else value + earlier
    return _own(value, taken) if earlier is None else np.asarray(array_of(earlier) + value)


def _describe(tensor: Variable) -> str:
    return f"({tensor.name or 'unnamed'}, shape {tensor.shape})"


def _own(value: Array, taken: set[int]) -> NDArray[Any]:
    """Return `value` as an array that owns its memory, copied only if necessary."""
    if type(value) is not np.ndarray or value.base is not None or id(value) in taken:
        return np.array(value)
    taken.add(id(value))
    return value


def _as_tensor(value: Array, taken: set[int], kind: type[Tensor]) -> Variable:
    """Return `value` as a Tensor distinct from every argument and every other result."""
    if not isinstance(value, Variable):
        return kind._of(_own(value, taken))
    if value.node is None:  # the initial gradient, passed through by a rule
        again = value * 1 if value.requires_grad else kind._of(value._array.copy())  # type: ignore[operator]  # a Tensor
        return cast(Variable, again)
    if id(value) in taken:
        return kind._of(value._array, value.node, value._origin)
    taken.add(id(value))
    return value


def _seed(function: str, y: Variable, gradient: Array | None, create_graph: bool) -> Array:
    """Return the initial gradient of a sweep from `y`."""
    given = gradient
    if not isinstance(y, Variable):
        raise TypeError(f"{function}: y is {type(y).__name__}, expected Tensor")
    if not y.requires_grad:
        raise RuntimeError(
            f"{function}: the Tensor {_describe(y)} has no graph: nothing it was computed from "
            "requires a gradient, or it was computed under no_grad(), or by a compiled step, which "
            "calls backward() itself"
        )
    if gradient is None:
        if y._array.size != 1:
            raise ValueError(
                f"{function}: y has shape {y.shape}; without a gradient of that shape "
                "only a Tensor of one element can be differentiated"
            )
        gradient = np.empty(y._array.shape, y._array.dtype)
        gradient.fill(1)
    elif not (create_graph and isinstance(gradient, Variable)):
        gradient = np.array(array_of(gradient), dtype=y.dtype)
    if gradient.shape != y.shape:
        raise ValueError(
            f"{function}: gradient has shape {gradient.shape} but y has shape {y.shape}"
        )
    if create_graph and not isinstance(gradient, Variable):
        gradient = y._tensor._of(gradient)
    for observer in step_observers():
        observer.seeded(y, given, gradient, create_graph)
    return gradient


def _sweep(
    root: Node | Variable,
    seed: Array,
    wanted: set[Node | Variable] | None,
    create_graph: bool,
    retain: bool,
) -> dict[Any, Array]:
    """Return the gradients of `wanted`, keyed by node or leaf.

    With None, those of every leaf, and of results that keep theirs (`GradientHooks.keep`).
    """
    nodes = nodes_of(root) if isinstance(root, Node) else []
    leading = None if wanted is None else _leading_to(wanted, nodes)
    needed = None if wanted is None or leading is None else wanted | leading
    finals = _finals(nodes)
    # Read all saved values first: what was changed in place raises before anything is freed.
    nodes.reverse()
    due = [(n, n.values() if leading is None or n in leading else None) for n in nodes]
    due.reverse()  # the newest last, to be popped first
    del nodes
    pending: dict[Node | Variable, Array] = {root: seed}
    found: dict[Node | Variable, Array] = {}
    swept: list[Node] = []
    state = recording.get()
    observers = state.observers
    try:
        scope = entered(state.scope, SWEEP) if create_graph else state.scope
        recording.set(Recording(create_graph, scope, *state[2:]))
        # A function, as an interrupt where a loop jumps back may skip `finally` (Python 3.13).
        _visit(due, finals, pending, found, swept, wanted, needed, create_graph, retain, observers)
        # A leaf that was differentiated itself, and those that got their first hook meanwhile.
        finished = {leaf for leaves in finals.values() for leaf in leaves}
        late = [leaf for leaf in pending if isinstance(leaf, Variable) and leaf not in finished]
        _finish(late, pending, accumulates=wanted is None)
    finally:
        recording.set(state)
    if not retain:
        for node in swept:
            node.free()
    found.update(pending)  # only leaves remain
    return found


def _visit(
    due: list[tuple[Node, Any]],
    finals: dict[Node, list[Variable]],
    pending: dict[Node | Variable, Array],
    found: dict[Node | Variable, Array],
    swept: list[Node],
    wanted: set[Node | Variable] | None,
    needed: Any,
    create_graph: bool,
    retain: bool,
    observers: Sequence[Observer],
) -> None:
    """Pull the gradients back through the nodes of `due`, the last first, and run leaves' hooks."""
    number = next(calls) if observers else 0
    within, module = recording.get(), ""
    while due:
        node, values = due.pop()
        gradient = pending.pop(node, None)
        if gradient is None:
            continue
        if node._hooks is not None:
            gradient = node._hooks.run(gradient, node)
            if wanted is None:
                found.update(dict.fromkeys(node._hooks.keeping(), gradient))
        if wanted is not None and node in wanted:
            found[node] = gradient
        if values is None:
            continue
        if create_graph and node.scope is not module:
            module = node.scope
            recording.set(within._replace(scope=entered(within.scope, module)))
        started = perf_counter() if observers else 0.0
        report = Report() if observers else None
        contributions = pull_back(node, values, gradient, needed, create_graph, report)
        if report is not None:
            seconds = perf_counter() - started
            accumulates = wanted is None
            event = BackwardEvent(
                node, gradient, contributions, seconds, number, accumulates,
                report.returned, report.shared,
            )  # fmt: skip
            for observer in observers:
                observer.backward(event)
        for parent, contribution in contributions:
            earlier = pending.get(parent)
            if earlier is None:
                pending[parent] = contribution
            else:
                pending[parent] = earlier + contribution
        if observers:
            swept.append(node)  # an observer may raise: free at the end
        elif not retain:
            node.free()
        if finals and node in finals:
            _finish(finals[node], pending, accumulates=wanted is None)


def _finals(nodes: list[Node]) -> dict[Node, list[Variable]]:
    """Return the leaves with hooks, by the node of the sweep that adds to their gradient last.

    `nodes` are those of the sweep, the oldest first.
    """
    finals: dict[Node, list[Variable]] = {}
    seen: set[Variable] = set()
    for node in nodes:
        for parent in node.parents:
            if isinstance(parent, Variable) and parent._hooks is not None and parent not in seen:
                seen.add(parent)
                finals.setdefault(node, []).append(parent)
    return finals


def _finish(
    leaves: list[Variable], pending: dict[Node | Variable, Array], accumulates: bool
) -> None:
    """Run the hooks of leaves whose gradient is final, and tell their observers."""
    for leaf in leaves:
        hooks = leaf._hooks
        if hooks is None or leaf not in pending:  # only some gradients may be wanted
            continue
        pending[leaf] = hooks.run(pending[leaf], leaf)
        if accumulates:
            for observer in hooks.observers():
                observer.final(leaf, pending[leaf])


def nodes_of(root: Node) -> list[Node]:
    """Return `root` and all nodes that it was computed from, the oldest first."""
    seen = {root}
    found = [root]
    for node in found:  # which grows meanwhile
        for parent in node.parents:
            if isinstance(parent, Node) and parent not in seen:
                seen.add(parent)
                found.append(parent)
    found.sort(key=attrgetter("seq"))
    return found


def _leading_to(wanted: set[Node | Variable], nodes: list[Node]) -> set[Node]:
    """Return the `nodes` (oldest first) that lead to an entry of `wanted`."""
    leading: set[Node] = set()
    for node in nodes:
        if any(parent in wanted or parent in leading for parent in node.parents):
            leading.add(node)
    return leading
