"""`capture_step`: runs a function under a recorder, and keeps what a replay needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.captured_step import CapturedStep, detached
from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.program import (
    Effect,
    GradientStore,
    StepProgram,
)
from tinygrad_cnn.compiler.python_state import TooLarge
from tinygrad_cnn.compiler.recorder import StepRecorder
from tinygrad_cnn.compiler.signature import CallSignature, with_inputs
from tinygrad_cnn.compiler.source import source_of
from tinygrad_cnn.core.graph import nodes_of
from tinygrad_cnn.core.hidden import plain
from tinygrad_cnn.core.observer import observe
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.support.frames import call_user_code
from tinygrad_cnn.support.nested import mapped


class Sized(Exception):  # noqa: N818  # no error
    """A layer got its size in the run, so that its program is not kept."""

    def __init__(self, result: Any) -> None:
        self.result = result


def capture_step(
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
    result = recorded(recorder, function, args, kwargs, argument_names)
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


def recorded(
    recorder: StepRecorder, function: Any, args: Any, kwargs: Any, names: list[str]
) -> Any:
    """Run a function under a recorder; return what it returns."""
    args, kwargs = with_inputs(args, kwargs, recorder.input, names)
    with observe(recorder):
        return call_user_code(function, args, kwargs)


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


def without_values(value: Any) -> Any:
    """Return a result with empty arrays in place of large ones."""

    def change(part: Any) -> Any:
        if isinstance(part, Variable):
            return part._tensor._of(np.zeros(0, part.dtype))
        if isinstance(part, np.ndarray):
            return np.zeros(0, part.dtype)
        return part

    return mapped(value, change)
