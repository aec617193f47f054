"""One captured run: the program, its source, its guards, and the checks of its replays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.guards import LeavesGuard
from tinygrad_cnn.compiler.program import (
    Effect,
    FunctionCall,
    GradientStore,
    StepProgram,
    StoreInputGradient,
    TapeCall,
)
from tinygrad_cnn.compiler.python_state import Found, PythonState, TooLarge
from tinygrad_cnn.compiler.recorded_values import digest
from tinygrad_cnn.compiler.recorder import StepRecorder
from tinygrad_cnn.compiler.signature import CallSignature, with_inputs
from tinygrad_cnn.compiler.snapshot import Snapshot, difference
from tinygrad_cnn.compiler.source import StepSource, source_of
from tinygrad_cnn.compiler.tape_check import StepOutcome, disturb, excess
from tinygrad_cnn.core import random
from tinygrad_cnn.core.graph import nodes_of
from tinygrad_cnn.core.hidden import plain
from tinygrad_cnn.core.observer import observe
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.engine import fast
from tinygrad_cnn.support.nested import mapped

if TYPE_CHECKING:
    from tinygrad_cnn.compiler.lowering.tape_run import TapeMemory

__all__ = ["CapturedStep", "Sized", "captured"]


class Sized(Exception):  # noqa: N818  # no error
    """A layer got its size in the run, so that its program is not kept."""

    def __init__(self, result: Any) -> None:
        self.result = result


class CapturedStep:
    """A program that replays calls of one signature.

    Attributes
    ----------
    program : StepProgram
    source : StepSource
    key : tuple
        Of the signature.
    calls : int
        The replays so far.
    is_checked : bool
        Whether the latest check has found the replay and the function equal. Until then, each call
        is checked.
    replayed : StepProgram
        What replays run: `program`, or the same on tapes (option `fast`).
    runs : StepSource
        The source of that.
    """

    def __init__(
        self,
        program: StepProgram,
        source: StepSource,
        recorder: StepRecorder,
        signature: CallSignature,
    ) -> None:
        self.program, self.source, self.key = program, source, signature.key
        self.calls = 0
        self.is_checked = False
        self.replayed, self.runs, self._memory = _on_tapes(program, source, recorder.template)
        self._objects = signature.objects  # the key has their ids
        self._recorder = recorder
        leaves = {value.name: value.tensor for value in recorder.leaves.values()}
        self._guards = [recorder.holders.guard(), LeavesGuard(leaves)]
        if self._memory is not None:
            self._guards += self._memory.guards
        stored = dict.fromkeys(
            i.leaf for i in program.instructions if isinstance(i, StoreInputGradient)
        )
        self._with_gradient = [program.inputs.index(value) for value in stored]

    def holds(self) -> bool:
        """Return whether all is as it was in the captured run."""
        for guard in self._guards:  # noqa: SIM110  # twice as fast as `all`
            if not guard.holds():
                return False
        return True

    def change(self) -> str:
        """Return what has changed since the captured run."""
        for guard in self._guards:
            if not guard.holds():
                return guard.change()
        return "nothing"

    def run(self, values: list[Any]) -> Any:
        """Replay the step on these arrays and Tensors."""
        arrays = [array_of(value) for value in values]
        if self._with_gradient:
            arrays += [values[place] for place in self._with_gradient]
        return self._replay(self.runs, arrays)

    def _replay(self, source: StepSource, arrays: list[Any]) -> Any:
        """Run a source; that of NumPy within a run of this thread, which uses the memory of tapes.

        A signal handler, a finalizer or the step itself may call the step within its own run.
        """
        memory = self._memory
        try:
            if memory is None:
                return source.run(*arrays)
            with memory.lock:
                if memory.user is not None:
                    source = self.source
                    return source.run(*arrays)
                try:
                    memory.user = get_ident()
                    return source.run(*arrays)
                finally:
                    memory.user = None
        except Exception as error:
            self._explain(error, source)
            raise

    def _explain(self, error: Exception, source: StepSource) -> None:
        """Add the op, the module and the line to an error of a replay."""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == source.file:
                instruction = source.instructions.get(trace.tb_lineno)
                if instruction is not None and instruction.scope:
                    error.add_note(f"in module {instruction.scope}")
                if instruction is not None and instruction.line:
                    error.add_note(f"called at {instruction.line}")
            trace = trace.tb_next

    # --- checking --------------------------------------------------------------------------------

    def checked(
        self, function: Callable[..., Any], args: Any, kwargs: Any, values: list[Any]
    ) -> Any:
        """Replay the step, run it eagerly from the same state, and compare; return the latter's.

        NumPy's replay must give the bits of the function itself; tapes must agree with it within
        rounding (`tape_check`). The state is as after one step.

        Raises
        ------
        CompileError
            If one differs. The state is as before the call.
        Exception
            What the function raises, which leaves the state that the function leaves.
        """
        self.is_checked = False
        effects = self._effects_state()
        if effects.iterators:  # nothing can restore them, so no second run can be compared
            self.is_checked = True
            return self.run(values)
        roots = self._roots(values)
        roots |= {f"{k} (of an effect)": v for k, v in effects.tensors.items()}
        state = PythonState(with_effects=True)
        state.add_step(function)
        state.add([*self._effects(), *self._recorder.holders.objects])
        before = Snapshot(roots, state)
        arrays = [array_of(value) for value in values]
        try:
            replayed = self._outcome(self.source, arrays, values, before)
            wrong = self._wrong_tapes(replayed, arrays, values, before)
        except BaseException as error:
            before.restore()
            if isinstance(error, Exception):
                function(*args, **kwargs)  # it raises the same, and leaves what it had computed
            raise
        before.restore()
        result = detached(function(*args, **kwargs))
        ours, now = replayed.values, StepOutcome(result, {}, before.current()).values
        for place in dict.fromkeys([*now, *ours]):
            found = difference(ours.get(place), now.get(place))
            if found:
                before.restore()
                first = self._first_difference(function, args, kwargs, values, before)
                raise CompileError(
                    f"compile: the replay of {self.source.run.__name__} differs from the function "
                    f"itself in {place}: {found}. {first}The function depends on something that is "
                    "neither an argument, nor a parameter, a buffer or an attribute of a module "
                    "that runs, or it changes something beside ops and effects"
                )
        if wrong is None:
            self.is_checked = True
            return result
        before.restore()
        raise CompileError(
            f"compile: the kernels of {self.source.run.__name__} differ from NumPy in {wrong[0]}: "
            f"{wrong[1]}. A kernel computes something else, which is a fault of this package; "
            "report it, and compile the step without kernels: tg.engine.options(fast=False)"
        )

    def _outcome(
        self, source: StepSource, arrays: list[Any], values: list[Any], before: Snapshot
    ) -> StepOutcome:
        """Replay a source; return what it returned and changed."""
        start = before.current()
        tensors = [values[place] for place in self._with_gradient]
        result = _copied(self._replay(source, [*arrays, *tensors]))
        return StepOutcome(result, start, before.current())

    def _wrong_tapes(
        self, expected: StepOutcome, arrays: list[Any], values: list[Any], before: Snapshot
    ) -> tuple[str, str] | None:
        """Return where tapes differ from the replay of NumPy, and how."""
        if self.runs is self.source:
            return None

        def disturbed(seed: int) -> StepOutcome | None:
            before.restore()
            given = [array.copy() for array in arrays]
            leaves = [value.tensor._array for value in self._recorder.leaves.values()]
            disturb([*given, *leaves], seed)
            try:
                return self._outcome(self.source, given, values, before)
            except (ArithmeticError, ValueError, IndexError):  # an op refuses other values
                return None

        before.restore()
        tapes = self._outcome(self.runs, arrays, values, before)
        return excess(tapes, expected, disturbed)

    def _effects(self) -> list[Found]:
        """Return the functions that replays call again."""
        return [
            (f"{getattr(i.function, '__qualname__', 'effect')}, ", i.function, True)
            for i in self._recorder.instructions
            if isinstance(i, Effect) and not isinstance(i, FunctionCall)
        ]

    def _effects_state(self) -> PythonState:
        """Return what effects lead to."""
        state = PythonState(with_effects=True)
        state.add(self._effects())
        return state

    def _roots(self, values: list[Any]) -> dict[str, Any]:
        """Return all whose state the step may change."""
        roots: dict[str, Any] = {
            value.name: value.tensor for value in self._recorder.leaves.values()
        }
        roots |= {f"argument {i}": v for i, v in enumerate(values) if isinstance(v, Variable)}
        roots |= {f"argument object {i}": v for i, v in enumerate(self._objects)}
        found = list(self._recorder.holders.modules())
        for instruction in self._recorder.instructions:
            if isinstance(instruction, Effect) and not isinstance(instruction, FunctionCall):
                name = getattr(instruction.function, "__qualname__", "effect")
                found += [(f"{name}, {key}", v) for key, v in instruction.arguments.items()]
                found.append((name, getattr(instruction.function, "__self__", None)))
        found.append(("the default generator", random.default.get()))
        for k, (name, value) in enumerate(found):  # two may have one name
            roots[f"{name} (object {k})" if name in roots else name] = value
        return roots

    def _first_difference(
        self, function: Any, args: Any, kwargs: Any, values: list[Any], before: Snapshot
    ) -> str:
        """Return the first value in which the two ways differ, as a sentence."""
        replayed: dict[str, int] = {}

        def watch(name: str, array: Any) -> None:
            replayed[name] = digest(array)

        try:
            template = self._recorder.template
            program = StepProgram(
                self.program.inputs, self._recorder.instructions, self.program.result
            )
            source = source_of(program, template, "step", watch)
            arrays = [array_of(value) for value in values]
            source.run(*arrays, *[values[place] for place in self._with_gradient])
            before.restore()
            recorder = StepRecorder(function, with_digests=True)
            _recorded(recorder, function, args, kwargs, [])
        except Exception as error:
            return f"(Run again to find the first value, it failed: {error}.) "
        finally:
            before.restore()
        eager = recorder.digests or {}
        for instruction in self._recorder.instructions:
            for value in instruction.results():
                if eager.get(value.name) != replayed.get(value.name) and value.name in eager:
                    where = ", ".join(filter(None, [instruction.scope, instruction.line]))
                    return f"The first value that differs is {value.name} ({where}). "
        return ""


def _on_tapes(
    program: StepProgram, source: StepSource, template: Any
) -> tuple[StepProgram, StepSource, TapeMemory | None]:
    """Return what replays run, and the memory of its tapes."""
    if not fast.is_on():
        return program, source, None
    from tinygrad_cnn.compiler.lowering.segments import on_tapes

    lowered = on_tapes(program)
    tapes = [i for i in lowered.instructions if isinstance(i, TapeCall)]
    if not tapes:
        return program, source, None
    runs = source_of(lowered, template, source.run.__name__)
    return lowered, runs, tapes[0].function.memory


def captured(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    signature: CallSignature,
    name: str,
    argument_names: list[str],
) -> tuple[CapturedStep, Any]:
    """Run a function eagerly under a recorder; return its program and what it returned.

    Raises
    ------
    CompileError
        If it does what a replay could not repeat.
    Sized
        If a layer got its size in the run.
    """
    for value in signature.values:
        if isinstance(value, Variable) and value.node is not None and recording.get().on:
            raise CompileError(
                f"compile: {name} gets a Tensor of shape {value.shape} that has a graph, into "
                "which a replay could send no gradients; pass its detach(), or compile the "
                "function that computes it"
            )
    for given in signature.objects:
        if isinstance(given, Iterator):
            raise CompileError(
                f"compile: {name} gets a {type(given).__name__}, which each call would exhaust; "
                "pass a list"
            )
    try:
        recorder = StepRecorder(function)
        recorder.holders.add_objects(signature.objects)
    except TooLarge as error:
        _warn_of_size(name, error)
        raise Sized(function(*args, **kwargs)) from None
    recorder.objects = signature.objects
    try:
        return _captured(recorder, function, args, kwargs, signature, name, argument_names)
    except CompileError as error:
        changes = (Effect, GradientStore)
        if any(type(each) in changes for each in recorder.instructions):
            error.add_note(
                "What the call had changed until then, such as gradients and parameters, stays "
                "changed."
            )
        raise


def _captured(
    recorder: StepRecorder,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    signature: CallSignature,
    name: str,
    argument_names: list[str],
) -> tuple[CapturedStep, Any]:
    result = _recorded(recorder, function, args, kwargs, argument_names)
    if recorder.error is not None:  # the function caught it
        raise recorder.error
    _refuse_graphs(name, result)
    if flags := recorder.flags.why_not():
        raise CompileError(f"compile: {flags}")
    recorder.template = result
    with observe(recorder):
        returned = mapped(result, recorder.result)
    tensors = iter([leaf.tensor for leaf in recorder.leaves.values()])
    changed = recorder.holders.changed_beside(tensors)
    result = detached(plain(result))
    if recorder.holders.sized:
        raise Sized(result)
    if changed is not None:
        raise CompileError(
            f"compile: {name} changes {changed.name or 'a Tensor'} of shape {changed.shape} in "
            "place, beside the ops, which a replay would not repeat; do it in a function marked "
            "with @tg.effect"
        )
    if not recorder.is_settled(name):
        raise Sized(result)
    program = StepProgram(recorder.inputs, recorder.instructions, returned)
    program = program.without_dead_instructions()
    shown = name if name.isidentifier() else "step"
    source = source_of(program, recorder.template, shown)
    recorder.template = without_values(recorder.template)
    recorder.forget()
    try:
        return CapturedStep(program, source, recorder, signature), result
    except TooLarge as error:
        _warn_of_size(name, error)
        raise Sized(result) from None


def _warn_of_size(name: str, error: TooLarge) -> None:
    warnings.warn(
        f"compile: {name} runs eagerly: {error}, and each call would have to compare them; name "
        "fewer values in the function, or pass them in an array",
        stacklevel=6,
    )


def _recorded(
    recorder: StepRecorder, function: Any, args: Any, kwargs: Any, names: list[str]
) -> Any:
    args, kwargs = with_inputs(args, kwargs, recorder.input, names)
    with observe(recorder):
        return _run_recorded(function, args, kwargs)


def _run_recorded(function: Any, args: Any, kwargs: Any) -> Any:
    """Call a step under its recorder; the recorder looks for variables up to this frame."""
    return function(*args, **kwargs)


def _refuse_graphs(name: str, result: Any) -> None:
    """Refuse results that the caller could differentiate: those of a replay have no graph."""

    def check(part: Any) -> Any:
        node = getattr(part, "node", None)
        if node is not None and all(each.saved is not None for each in nodes_of(node)):
            raise CompileError(
                f"compile: {name} returns a Tensor of shape {part.shape} that requires a gradient, "
                "and a replay returns it without a graph; call backward() inside of the function, "
                "return its detach(), or call the function under no_grad()"
            )

    mapped(result, check)


def detached(value: Any) -> Any:
    """Return a result with Tensors without a graph."""

    def change(part: Any) -> Any:
        if isinstance(part, Variable) and part.node is not None:
            made = part._tensor._of(part._array)
            made._unrecorded = True
            return made
        return part

    return mapped(value, change)


def without_values(value: Any) -> Any:
    """Return a result with empty arrays in place of large ones."""

    def change(part: Any) -> Any:
        if isinstance(part, Variable):
            return part._tensor._of(np.zeros(0, part.dtype))
        if isinstance(part, np.ndarray):
            return np.zeros(0, part.dtype)
        return part

    return mapped(value, change)


def _copied(value: Any) -> Any:
    """Return a result with copies of its arrays, which the state may share."""

    def change(part: Any) -> Any:
        if isinstance(part, Variable):
            return part._tensor._of(part._array.copy())
        return part.copy() if isinstance(part, np.ndarray) else part

    return mapped(value, change)
