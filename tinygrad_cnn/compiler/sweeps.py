"""One reverse sweep of a captured run, written down as instructions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.compiler.program import (
    AddGradients,
    ForwardCall,
    FunctionCall,
    RuleCall,
    SharedCall,
    StepValue,
    StoreGradient,
    StoreInputGradient,
)
from tinygrad_cnn.core.declaration import Derivative, names_of
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.observer import BackwardEvent
from tinygrad_cnn.core.variable import Array, Variable, array_of
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.ops.shape import sum_to

copied = np.ndarray.copy


class Sweep:
    """The gradients of one sweep, by node or leaf, as the sweep has added them so far.

    Parameters
    ----------
    recorder : StepRecorder
        It has the values, and takes the instructions.
    y : Variable
        What it starts from.
    given : object
        The gradient that the caller gave; None for 1.
    seed : ndarray
        The same as an array.
    """

    def __init__(self, recorder: Any, y: Variable, given: Any, seed: Any) -> None:
        self._recorder = recorder
        self._gradients: dict[Node | Variable, StepValue] = {}
        self._last: dict[Node | Variable, Any] = {}  # the arrays of the contributions
        self._borrowed: set[StepValue] = set()  # arrays that others have, and no leaf may get
        value: Any = None
        if given is not None:
            value = recorder.argument(given, np.asarray(seed))
        if not isinstance(value, StepValue):
            value = recorder.constant(seed.copy(), "one" if given is None else "gradient")
        self._gradients[y.node or y] = value
        self._borrowed.add(value)

    def visit(self, event: BackwardEvent) -> None:
        """Take one step: the calls of rules, and the additions to what came before."""
        recorder, node = self._recorder, event.node
        call = recorder.calls.get(node)
        if call is None:
            recorder.refuse(f"the sweep reaches {node}, which was computed before the step")
            return
        self._check_hooks(node)
        gradient = self._gradients[node]
        saved = dict(zip(node.plan.names, node.saved or [], strict=True))
        shared = self._shared_calls(event, call, gradient, saved)
        found: list[tuple[Node | Variable, StepValue, Any]] = []
        contributions = iter(
            event.contributions if node.op.sequence else reversed(event.contributions)
        )
        for derivative, returned in event.returned:
            self._save(call, derivative.needs, saved)
            wanted = {name: shared[name] for name in derivative.needs if name in shared}
            parts: list[StepValue | None] = []
            rule = RuleCall(call, derivative, gradient, wanted, parts)
            recorder.add(rule)
            rule.scope = str(node.scope)
            rule.line = call.line
            for parent, raw in _of_parents(node, derivative, returned):
                if parent is None or parent not in dict(event.contributions):
                    parts.append(None)
                    continue
                parts.append(recorder.made("g", raw))
                parent, final = next(contributions)
                fitted = self._fitted(parts[-1], raw, final, parent)
                if final is event.gradient and gradient in self._borrowed:
                    self._borrowed.add(fitted)
                found.append((parent, fitted, final))
        for parent, value, array in found if node.op.sequence else reversed(found):
            self._add(parent, value, array)

    def _shared_calls(
        self, event: BackwardEvent, call: ForwardCall, gradient: StepValue, saved: dict[str, Any]
    ) -> dict[str, SharedCall]:
        """Take the intermediates that depend on the gradient."""
        shared: dict[str, SharedCall] = {}
        for name, computed in event.shared.items():
            self._save(call, names_of(call.op.intermediates[name])[1:], saved)
            is_tuple = type(computed) is tuple
            arrays = computed if is_tuple else (computed,)
            parts = [self._recorder.made("s", array) for array in arrays]
            shared[name] = SharedCall(call, name, gradient, parts, is_tuple)
            self._recorder.add(shared[name])
            shared[name].scope, shared[name].line = call.scope, call.line
        return shared

    def _save(self, call: ForwardCall, names: tuple[str, ...], saved: dict[str, Any]) -> None:
        """Let the call keep what a rule reads: residuals, and copies in another memory order."""
        for name in names:
            if name in call.kept or name not in saved:
                continue
            array = array_of(saved[name])
            if name in call.op.residuals:
                call.kept[name] = self._recorder.made("r", array)
            elif name in call.arguments or name in call.shared:
                value = call.named(name)
                same = not isinstance(value, StepValue) or not isinstance(array, np.ndarray)
                if (
                    same
                    or array.strides == value.strides
                    or (array.flags.f_contiguous and (array.flags.c_contiguous))
                ):
                    continue
                call.kept[name] = self._recorder.made("k", array)
                copy = FunctionCall(copied, {"x": value}, [call.kept[name]])
                copy.scope, copy.line = call.scope, call.line
                place = self._recorder.instructions.index(call)
                self._recorder.instructions.insert(place + 1, copy)

    def _fitted(self, value: Any, raw: Any, final: Any, parent: Node | Variable) -> StepValue:
        """Take what makes a rule's result one of the parent's shape and dtype."""
        found: StepValue = value
        if raw is final:
            return found
        recorder = self._recorder
        if raw.shape != parent.shape:
            summed = recorder.made("g", final)
            summed.dtype = raw.dtype
            recorder.add(ForwardCall(sum_to, {"x": found, "shape": parent.shape}, summed))
            found = summed
        elif raw.dtype == parent.dtype:
            copy: StepValue = recorder.made("g", final)
            recorder.add(FunctionCall(copied, {"x": found}, [copy]))
            return copy
        if raw.dtype != parent.dtype:
            made = recorder.made("g", final)
            recorder.add(ForwardCall(astype, {"x": found, "dtype": parent.dtype}, made))
            found = made
        return found

    def _add(self, parent: Node | Variable, value: StepValue, array: Any) -> None:
        """Add a contribution to the gradient of a node or leaf."""
        earlier = self._gradients.get(parent)
        if earlier is None:
            self._gradients[parent] = value
            self._last[parent] = array
            return
        shape = np.broadcast_shapes(earlier.shape, value.shape)
        dtype = np.result_type(earlier.dtype, value.dtype)
        name = self._recorder.names.numbered("g")
        total = StepValue(name, shape, dtype, earlier.strides)
        self._recorder.add(AddGradients(earlier, value, total))
        self._gradients[parent] = total
        self._last.pop(parent, None)

    def store(self) -> None:
        """Take the additions to ``.grad`` of the leaves."""
        taken: list[Any] = []
        for leaf, value in self._gradients.items():
            if not isinstance(leaf, Variable):
                continue
            array = self._last.get(leaf)
            copies = value in self._borrowed or any(a is array for a in taken)
            if array is not None:
                taken.append(array)
            self._check_hooks(leaf)
            given = self._recorder.input_of(leaf)
            if given is not None:
                self._recorder.add(StoreInputGradient(given, value, copies))
            elif (
                id(leaf) in self._recorder.leaves  # its array may be that of a result, too
                or self._recorder.known.get(leaf._array) is None
            ):
                self._recorder.add(StoreGradient(self._recorder.leaf(leaf), value, copies))
            else:
                self._keep(leaf, value)

    def _keep(self, leaf: Variable, value: StepValue) -> None:
        """Note the gradient of a leaf that the step itself made."""
        inner = self._recorder.inner
        if id(leaf) in inner:
            earlier = inner[id(leaf)][1]
            name = self._recorder.names.numbered("g")
            total = StepValue(name, value.shape, value.dtype, value.strides)
            self._recorder.add(AddGradients(earlier, value, total))
            value = total
        inner[id(leaf)] = leaf, value

    def gradient(self, key: Node | Variable, result: Any) -> StepValue:
        """Return the value of a gradient that `grad` returns."""
        recorder = self._recorder
        self._check_hooks(key)
        value = self._gradients.get(key)
        made: StepValue = recorder.made("g", result)
        if value is None:
            arguments: dict[str, Any] = {"shape": result.shape, "dtype": result.dtype}
            recorder.add(FunctionCall(np.zeros, arguments, [made]))
        else:  # that of a sweep may be a view, or that of another key
            recorder.add(FunctionCall(np.array, {"object": value}, [made]))
        return made

    def _check_hooks(self, holder: Node | Variable) -> None:
        hooks = holder._hooks
        if hooks is None:
            return
        if hooks.observers():
            self._recorder.refuse(
                "the gradients of this model are summed over ranks during the sweep "
                "(DataParallel), which a replay does not do; call the step without compile"
            )
        if hooks.functions:
            self._recorder.refuse(
                f"a hook on the gradient of {_shown(holder)} would not be called in a replay; "
                "remove it"
            )
        if next(hooks.keeping(), None) is not None:
            self._recorder.refuse(
                f"retain_grad() on the result of {_shown(holder)}: a replay keeps no gradient of "
                "results; return it from the function: tg.grad(y, x)"
            )


def _shown(holder: Node | Variable) -> str:
    """Return a name: the text of a Tensor has its values."""
    if isinstance(holder, Node):
        return str(holder)
    return f"{holder.name or type(holder).__name__} of shape {holder.shape}"


def _of_parents(
    node: Node, derivative: Derivative, returned: Array
) -> list[tuple[Node | Variable | None, Any]]:
    """Return what a rule returned for each parent of the node."""
    if node.op.sequence:
        return list(zip(node.parents, returned, strict=True))
    return [(node.parents[node.op.operands.index(derivative.of)], returned)]
