"""The computation graph and the reverse sweep.

A `Node` is one call of an op. It points at the nodes (or leaves) its arguments came from and never
at what was computed from it, so a graph holds no cycle and reference counting alone frees it.
The sweep walks the nodes from the newest to the oldest: `seq` counts calls, an argument is always
older than the result, so that order visits a node only after all that it fed.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from heapq import heappop, heappush
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.recording import BackwardEvent, recording

if TYPE_CHECKING:
    from tinygrad_cnn.declaration import Plan
    from tinygrad_cnn.op import Op
    from tinygrad_cnn.tensor import Tensor

Array: TypeAlias = Any
"""An ndarray; where an op or a derivative rule is called, a Tensor as well."""


class GraphFreedError(RuntimeError):
    """A sweep reached a node whose saved values an earlier sweep has freed."""


class ChangedInPlaceError(RuntimeError):
    """A value that a derivative needs was overwritten after the op had saved it."""


class Variable:
    """What the graph knows of a `Tensor`: an array and, if an op computed it, the node of the call.

    Attributes
    ----------
    array : ndarray
        The value. Package code reads it here; everybody else through ``Tensor.data``.
    node : Node or None
        The call that computed it. None for a leaf.
    origin : Variable or None
        The leaf whose memory `array` is a view of, for a result that is one.
    requires_grad : bool
        Whether gradients flow to (a leaf) or through (a result) it.
    changed : int
        The ``seq`` that was due when `array` was last changed in place, 0 if it never was: a node
        with a smaller one has seen another value. Read it through `last_change`.
    checksum : int or None
        Of `array`, from the moment somebody outside the package was handed it to write to.
    """

    __slots__ = ("__weakref__", "array", "changed", "checksum", "grad", "name", "node",
                 "origin", "requires_grad")  # fmt: skip

    tensor: ClassVar[type[Tensor]]  # `Tensor` names itself here: it is what results are made of

    array: NDArray[Any]
    grad: NDArray[Any] | None
    name: str | None
    node: Node | None
    origin: Variable | None
    requires_grad: bool
    changed: int
    checksum: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self.array.dtype

    @property
    def owner(self) -> Variable | None:
        """The leaf whose memory the array is; None if the memory belongs to a result."""
        return self if self.node is None and self.origin is None else self.origin

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        """Take what was copied or pickled; calls are counted in each process by itself."""
        for name, value in {**state[1], "changed": 0}.items():
            setattr(self, name, value)

    def mark_changed(self) -> None:
        """Note that `array` has been changed in place."""
        self.changed = next(Node.counter)

    def last_change(self) -> int:
        """Return `changed`, after noting a write through a handed-out array, if there was one."""
        if self.checksum is not None:
            checksum = checksum_of(self.array)
            if checksum != self.checksum:
                self.checksum = checksum
                self.mark_changed()
        return self.changed


def checksum_of(array: NDArray[Any]) -> int:
    """Return a checksum of the bytes of `array`."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


class Node:
    """One recorded call of an op.

    Attributes
    ----------
    op : Op
        The op that was called.
    plan : Plan
        Which derivatives this call needs and what they read, shared by all calls of a kind.
    parents : tuple of (Node, Variable or None), or None
        Where each differentiable argument came from, in the order of the arguments: the node that
        computed it, the leaf itself, or None where no gradient is wanted. None once freed.
    saved : list
        The values of ``plan.names``.
    static : tuple
        The values of the op's static parameters (``op.static``), such as a stride.
    shape, dtype
        Of the result.
    seq : int
        The number of this call; arguments have smaller ones.
    scope : str
        The module that made the call, such as ``"features.0"``.
    """

    __slots__ = ("__weakref__", "dtype", "op", "parents", "plan", "saved", "scope", "seq", "shape",
                 "static")  # fmt: skip

    counter = itertools.count(1)

    def __init__(
        self,
        op: Op[Any],
        plan: Plan,
        parents: tuple[Node | Variable | None, ...],
        saved: list[Any],
        static: tuple[Any, ...],
        result: NDArray[Any],
        scope: str,
    ) -> None:
        self.op = op
        self.plan = plan
        self.parents: tuple[Node | Variable | None, ...] | None = parents
        self.saved = saved
        self.static = static
        self.shape = result.shape
        self.dtype = result.dtype
        self.scope = scope
        self.seq = next(Node.counter)

    def __repr__(self) -> str:
        return f"<{self} #{self.seq}: {self.shape} {self.dtype}>"

    def __str__(self) -> str:
        return f"{self.op.name} in {self.scope}" if self.scope else self.op.name

    def edges(self) -> tuple[Node | Variable | None, ...]:
        """Return `parents`, or raise `GraphFreedError` when they are gone."""
        if self.parents is None:
            raise GraphFreedError(
                f"the graph of this result ({self}, shape {self.shape}) was freed by an earlier "
                "backward() or grad(); pass retain_graph=True there to use it again"
            )
        return self.parents

    def values(self) -> list[Any]:
        """Return `saved` with its Tensors as arrays.

        Raises
        ------
        ChangedInPlaceError
            If one is a leaf, or a view of one, that was changed since it was saved.
        """
        return [
            self._value(kept)
            if isinstance(kept, Variable)
            else [self._value(v) if isinstance(v, Variable) else v for v in kept]
            if type(kept) is list
            else kept
            for kept in self.saved
        ]

    def _value(self, kept: Variable) -> NDArray[Any]:
        leaf = kept.owner
        if leaf is not None and leaf.last_change() > self.seq:
            raise ChangedInPlaceError(
                f"{leaf.name or 'a tensor'} of shape {leaf.shape} was changed in place after "
                f"{self} had saved it for its derivative; call backward() before changing it, or "
                "give the op a copy"
            )
        return kept.array

    def free(self) -> None:
        """Drop everything the node holds."""
        self.parents = None
        self.saved = []


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
        The result, of any shape if `gradient` is given, else of one element.
    wrt : Tensor or sequence of Tensor
        Leaves or results that require a gradient.
    gradient : array_like or Tensor, optional
        The gradient of the final quantity with respect to `y`, of the shape of `y`; 1 if left out.
    create_graph : bool
        Record the sweep itself, so that the result can be differentiated again.
    retain_graph : bool, optional
        Keep the graph for another sweep. By default as `create_graph`.

    Returns
    -------
    list of ndarray, or of Tensor with `create_graph`
        One for each in `wrt`, of its shape and dtype; zeros where `y` does not depend on it.

    Raises
    ------
    ValueError
        If `y` has more than one element and no `gradient`, or one of another shape.
    RuntimeError
        If `y` was not recorded, or one of `wrt` does not require a gradient.
    GraphFreedError
        If an earlier sweep has freed the graph.
    ChangedInPlaceError
        If a saved value was overwritten.

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
    taken: set[int] = set()
    for target, key in zip(targets, keys, strict=True):
        value = found.get(key)
        if value is None:
            value = np.zeros(target.shape, target.dtype)
        if not create_graph:
            value = _own(value, taken)
        elif not isinstance(value, Variable):
            value = Variable.tensor.of(value)
        results.append(value)
    return results


_accumulating = Lock()  # several threads may add to the gradients of one model


def backward(y: Variable, gradient: Array | None = None, retain_graph: bool = False) -> None:
    """Add the gradient of `y` to ``.grad`` of every leaf that requires one (`Tensor.backward`)."""
    found = _sweep(y.node or y, _seed("backward", y, gradient, False), None, False, retain_graph)
    taken: set[int] = set()
    with _accumulating:
        totals = {
            leaf: _own(value, taken) if leaf.grad is None else np.asarray(leaf.grad + value)
            for leaf, value in found.items()
        }
        for leaf, total in totals.items():  # only now that nothing can fail any more
            leaf.grad = total


def _describe(tensor: Variable) -> str:
    return f"({tensor.name or 'unnamed'}, shape {tensor.shape})"


def _own(value: Array, taken: set[int]) -> NDArray[Any]:
    """Return `value` as an array that shares memory with nothing, copying it only if it must."""
    if type(value) is not np.ndarray or value.base is not None or id(value) in taken:
        return np.array(value)
    taken.add(id(value))
    return value


def _seed(function: str, y: Variable, gradient: Array | None, create_graph: bool) -> Array:
    """Return the gradient to start a sweep at `y` from."""
    if not isinstance(y, Variable):
        raise TypeError(f"{function}: y is {type(y).__name__}, expected Tensor")
    if not y.requires_grad:
        raise RuntimeError(
            f"{function}: the Tensor {_describe(y)} has no graph: nothing it was computed from "
            "requires a gradient, or it was computed under no_grad()"
        )
    if gradient is None:
        if y.array.size != 1:
            raise ValueError(
                f"{function}: y has shape {y.shape}; without a gradient of that shape "
                "only a Tensor of one element can be differentiated"
            )
        gradient = np.ones(y.shape, y.dtype)
    elif not (create_graph and isinstance(gradient, Variable)):
        array = gradient.array if isinstance(gradient, Variable) else gradient
        gradient = np.array(array, dtype=y.dtype)
    if gradient.shape != y.shape:
        raise ValueError(
            f"{function}: gradient has shape {gradient.shape} but y has shape {y.shape}"
        )
    if create_graph and not isinstance(gradient, Variable):
        gradient = Variable.tensor.of(gradient)
    return gradient


def _sweep(
    root: Node | Variable,
    seed: Array,
    wanted: set[Node | Variable] | None,
    create_graph: bool,
    retain: bool,
) -> dict[Any, Array]:
    """Return the gradients that reach `wanted` (None: every leaf), by node or leaf."""
    leading = None if wanted is None else _leading_to(wanted, root)
    needed = None if wanted is None or leading is None else wanted | leading
    pending: dict[Node | Variable, Array] = {root: seed}
    found: dict[Node | Variable, Array] = {}
    newest: list[tuple[int, Node]] = []  # a heap of the nodes in pending
    if isinstance(root, Node):
        heappush(newest, (-root.seq, root))
    state = recording.get()
    observers = state.observers
    token = recording.set(state._replace(on=create_graph))
    try:
        while newest:
            _, node = heappop(newest)
            gradient = pending.pop(node)
            if wanted is not None and node in wanted:
                found[node] = gradient
            if leading is not None and node not in leading:
                continue
            started = perf_counter() if observers else 0.0
            contributions = node.op.pull_back(node, gradient, needed, create_graph)
            if observers:
                event = BackwardEvent(node, gradient, contributions, perf_counter() - started)
                for observer in observers:
                    observer.backward(event)
            for parent, contribution in contributions:
                earlier = pending.get(parent)
                if earlier is not None:
                    pending[parent] = earlier + contribution
                    continue
                pending[parent] = contribution
                if isinstance(parent, Node):
                    heappush(newest, (-parent.seq, parent))
            if not retain:
                node.free()
    finally:
        recording.reset(token)
    found.update(pending)  # what is left are leaves
    return found


def nodes_of(root: Node) -> list[Node]:
    """Return all that `root` was computed from, and it, from the oldest on.

    Raises
    ------
    GraphFreedError
        If a part of the graph was freed.
    """
    seen = {root}
    stack = [root]
    while stack:
        for parent in stack.pop().edges():
            if isinstance(parent, Node) and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.seq)


def _leading_to(wanted: set[Node | Variable], root: Node | Variable) -> set[Node | Variable]:
    """Return the nodes from `root` down through which a gradient reaches one of `wanted`."""
    leading: set[Node | Variable] = set()
    for node in nodes_of(root) if isinstance(root, Node) else ():
        if any(parent in wanted or parent in leading for parent in node.edges()):
            leading.add(node)
    return leading
