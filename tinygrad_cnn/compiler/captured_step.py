"""One captured run: the program, its source, its guards, and its replays."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compiler.guards import LeavesGuard
from tinygrad_cnn.compiler.program import (
    StepProgram,
    StoreInputGradient,
    TapeCall,
)
from tinygrad_cnn.compiler.recorder import StepRecorder
from tinygrad_cnn.compiler.signature import CallSignature
from tinygrad_cnn.compiler.source import StepSource, source_of
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.engine import fast
from tinygrad_cnn.support.nested import mapped

if TYPE_CHECKING:
    from tinygrad_cnn.compiler.lowering.tape_run import TapeMemory


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
    recorder : StepRecorder
        What the captured run left.
    objects : list
        Arguments that are not arrays, Tensors or numbers.
    with_gradient : list of int
        The inputs whose ``.grad`` the program adds to.
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
        self.objects = signature.objects  # the key has their ids
        self.recorder = recorder
        leaves = {value.name: value.tensor for value in recorder.leaves.values()}
        self._guards = [recorder.holders.guard(), LeavesGuard(leaves)]
        if self._memory is not None:
            self._guards += self._memory.guards
        stored = dict.fromkeys(
            i.leaf for i in program.instructions if isinstance(i, StoreInputGradient)
        )
        self.with_gradient = [program.inputs.index(value) for value in stored]

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
        if self.with_gradient:
            arrays += [values[place] for place in self.with_gradient]
        return self.replay(self.runs, arrays)

    def replay(self, source: StepSource, arrays: list[Any]) -> Any:
        """Run a source; that of NumPy within a run of this thread, which uses the tapes' memory.

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


def detached(value: Any) -> Any:
    """Return a result with Tensors without a graph."""

    def change(part: Any) -> Any:
        if isinstance(part, Variable) and part.node is not None:
            made = part._tensor._of(part._array)
            made._unrecorded = True
            return made
        return part

    return mapped(value, change)
