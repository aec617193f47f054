"""The check of a replay: it runs a captured step both ways from the same state, and compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.captured_step import CapturedStep, detached
from tinygrad_cnn.compiler.capturing import recorded
from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.program import Effect, FunctionCall, StepProgram
from tinygrad_cnn.compiler.python_state import PythonState
from tinygrad_cnn.compiler.recorded_values import digest
from tinygrad_cnn.compiler.recorder import StepRecorder
from tinygrad_cnn.compiler.snapshot import Snapshot, difference
from tinygrad_cnn.compiler.source import StepSource, source_of
from tinygrad_cnn.compiler.tape_check import StepOutcome, disturb, excess
from tinygrad_cnn.core import random
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.support.nested import mapped


def checked(
    step: CapturedStep, function: Callable[..., Any], args: Any, kwargs: Any, values: list[Any]
) -> Any:
    """Replay a step, run it eagerly from the same state, and compare; return the latter's result.

    NumPy's replay must give the bits of the function itself; tapes must agree with it within
    rounding (`tape_check`). The state is as after one step.

    Parameters
    ----------
    step : CapturedStep
    function : callable
        The step as a function, called with `args` and `kwargs`.
    values : list of (ndarray or Tensor)
        The inputs among these.

    Raises
    ------
    CompileError
        If one differs. The state is as before the call.
    Exception
        What the function raises, which leaves the state that the function leaves.
    """
    step.is_checked = False
    state = PythonState(with_effects=True)
    effects = _effects(step)
    roots = [(f"{name}, ", i.function, True) for name, i in effects]
    state.add(roots)
    if state.iterators:  # nothing can restore them, so no second run can be compared
        step.is_checked = True
        return step.run(values)
    tensors = {f"{name} (of an effect)": tensor for name, tensor in state.tensors.items()}
    state = PythonState(with_effects=True)
    state.add_step(function)
    state.add([*roots, *step.recorder.holders.objects])
    check = _Check(step, values, Snapshot(_roots(step, effects, values) | tensors, state))
    try:
        replayed = check.outcome(step.source, check.arrays)
        wrong = check.wrong_tapes(replayed)
    except BaseException as error:
        check.before.restore()
        if isinstance(error, Exception):
            function(*args, **kwargs)  # it raises the same, and leaves what it had computed
        raise
    check.before.restore()
    result = detached(function(*args, **kwargs))
    ours, now = replayed.values, StepOutcome(result, {}, check.before.current()).values
    for place in dict.fromkeys([*now, *ours]):
        found = difference(ours.get(place), now.get(place))
        if found:
            check.before.restore()
            raise CompileError(
                f"compile: the replay of {step.source.run.__name__} differs from the function "
                f"itself in {place}: {found}. {check.first_difference(function, args, kwargs)}The "
                "function depends on something that is neither an argument, nor a parameter, a "
                "buffer or an attribute of a module that runs, or it changes something beside ops "
                "and effects"
            )
    if wrong is None:
        step.is_checked = True
        return result
    check.before.restore()
    raise CompileError(
        f"compile: the kernels of {step.source.run.__name__} differ from NumPy in {wrong[0]}: "
        f"{wrong[1]}. A kernel computes something else, which is a fault of this package; "
        "report it, and compile the step without kernels: tg.engine.options(fast=False)"
    )


class _Check:
    """The runs of one check, each from the state before."""

    def __init__(self, step: CapturedStep, values: list[Any], before: Snapshot) -> None:
        self.step, self.before = step, before
        self.arrays = [array_of(value) for value in values]
        self._tensors = [values[place] for place in step.with_gradient]

    def outcome(self, source: StepSource, arrays: list[Any]) -> StepOutcome:
        """Replay a source; return what it returned and changed."""
        start = self.before.current()
        result = mapped(self.step.replay(source, [*arrays, *self._tensors]), _copied)
        return StepOutcome(result, start, self.before.current())

    def wrong_tapes(self, expected: StepOutcome) -> tuple[str, str] | None:
        """Return where tapes differ from the replay of NumPy, and how."""
        step = self.step
        if step.runs is step.source:
            return None

        def disturbed(seed: int) -> StepOutcome | None:
            self.before.restore()
            given = [array.copy() for array in self.arrays]
            leaves = [value.tensor._array for value in step.recorder.leaves.values()]
            disturb([*given, *leaves], seed)
            try:
                return self.outcome(step.source, given)
            except (ArithmeticError, ValueError, IndexError):  # an op refuses other values
                return None

        self.before.restore()
        return excess(self.outcome(step.runs, self.arrays), expected, disturbed)

    def first_difference(self, function: Callable[..., Any], args: Any, kwargs: Any) -> str:
        """Return the first value in which the two ways differ, as a sentence."""
        replayed: dict[str, int] = {}
        recorder, program = self.step.recorder, self.step.program

        def watch(name: str, array: Any) -> None:
            replayed[name] = digest(array)

        try:
            whole = StepProgram(program.inputs, recorder.instructions, program.result)
            source = source_of(whole, recorder.template, "step", watch)
            source.run(*self.arrays, *self._tensors)
            self.before.restore()
            again = StepRecorder(function, with_digests=True)
            recorded(again, function, args, kwargs, [])
        except Exception as error:
            return f"(Run again to find the first value, it failed: {error}.) "
        finally:
            self.before.restore()
        eager = again.digests or {}
        for instruction in recorder.instructions:
            for value in instruction.results():
                if eager.get(value.name) != replayed.get(value.name) and value.name in eager:
                    where = ", ".join(filter(None, [instruction.scope, instruction.line]))
                    return f"The first value that differs is {value.name} ({where}). "
        return ""


def _effects(step: CapturedStep) -> list[tuple[str, Effect]]:
    """Return the effects that replays call again, with the names of their functions."""
    return [
        (getattr(i.function, "__qualname__", "effect"), i)
        for i in step.recorder.instructions
        if isinstance(i, Effect) and not isinstance(i, FunctionCall)
    ]


def _roots(
    step: CapturedStep, effects: list[tuple[str, Effect]], values: list[Any]
) -> dict[str, Any]:
    """Return all whose state the step may change."""
    roots: dict[str, Any] = {v.name: v.tensor for v in step.recorder.leaves.values()}
    roots |= {f"argument {i}": v for i, v in enumerate(values) if isinstance(v, Variable)}
    roots |= {f"argument object {i}": v for i, v in enumerate(step.objects)}
    found = list(step.recorder.holders.modules())
    for name, effect in effects:
        found += [(f"{name}, {key}", value) for key, value in effect.arguments.items()]
        found.append((name, getattr(effect.function, "__self__", None)))
    found.append(("the default generator", random.default.get()))
    for k, (name, value) in enumerate(found):  # two may have one name
        roots[f"{name} (object {k})" if name in roots else name] = value
    return roots


def _copied(part: Any) -> Any:
    """Return a part of a result with its array copied, which the state may share."""
    if isinstance(part, Variable):
        return part._tensor._of(part._array.copy())
    return part.copy() if isinstance(part, np.ndarray) else part
