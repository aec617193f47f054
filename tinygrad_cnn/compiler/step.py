"""`compile`: captures a function's step in its first call, and replays it in later ones."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from tinygrad_cnn.compiler.captured_step import CapturedStep, detached
from tinygrad_cnn.compiler.capturing import Sized, capture_step
from tinygrad_cnn.compiler.errors import CompileError
from tinygrad_cnn.compiler.program import StepProgram
from tinygrad_cnn.compiler.replay_check import checked
from tinygrad_cnn.compiler.signature import CallSignature, SignatureKey, compared
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.support.arguments import whole

__all__ = ["CompiledStep", "compile"]

P = ParamSpec("P")
R = TypeVar("R")

MOST = 16
"""Programs of one function; beyond it, calls with another signature run eagerly."""

_all_steps: weakref.WeakSet[CompiledStep[Any, Any]] = weakref.WeakSet()


class CompiledStep(Generic[P, R]):
    """A function whose calls are captured once and replayed: see `compile`.

    Attributes
    ----------
    name : str

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> step = tg.compile(lambda x: tg.relu(x * 2.0))
    >>> step(tg.Tensor([1.0, -1.0]))
    Tensor([2., 0.])
    >>> step
    <compiled <lambda>: 1 program>
    """

    def __init__(self, function: Callable[P, R], check_every: int | None = None) -> None:
        if not callable(function):
            raise TypeError(
                f"compile: function is {type(function).__name__}, expected a function or a Module"
            )
        functools.update_wrapper(self, _named(function))
        self.name: str = getattr(self, "__name__", type(function).__name__)
        self._function = function
        self._check_every = (
            None if check_every is None else whole("compile", "check_every", check_every)
        )
        self._programs: dict[SignatureKey, list[CapturedStep]] = {}
        self._latest: list[CapturedStep] = []
        self._lock = threading.RLock()
        self._has_warned = False
        self._argument_names = _argument_names(function)
        _all_steps.add(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns: replayed where a program fits, else captured."""
        state = recording.get()
        if state.observers or state.shapes is not None:
            return self._function(*args, **kwargs)
        signature = CallSignature(args, kwargs)
        step = self._holding(signature)
        if step is None or not step.is_checked:
            return self._first_calls(signature, args, kwargs)
        step.calls += 1
        if self._check_every is None or step.calls % self._check_every:
            return step.run(signature.values)  # type: ignore[no-any-return]
        return checked(step, self._function, args, kwargs, signature.values)  # type: ignore[no-any-return]

    def _holding(self, signature: CallSignature) -> CapturedStep | None:
        """Return the program that can replay such a call."""
        for step in self._programs.get(signature.key, ()):
            if step.holds():
                return step
        return None

    def _first_calls(self, signature: CallSignature, args: Any, kwargs: Any) -> R:
        """Run eagerly: keep a program of it, or check the program of an earlier call."""
        with self._lock:
            step = self._holding(signature)  # another thread may have captured it by now
            if step is not None:
                step.calls += 1
                return checked(step, self._function, args, kwargs, signature.values)  # type: ignore[no-any-return]
            if len(self._latest) >= MOST:
                self._warn(signature)
                return detached(self._function(*args, **kwargs))  # type: ignore[no-any-return]
            try:
                step, result = capture_step(
                    self._function, args, kwargs, signature, self.name, self._argument_names
                )
            except Sized as sized:  # a layer got its size: the next call is captured
                return sized.result  # type: ignore[no-any-return]
            self._programs.setdefault(signature.key, []).insert(0, step)
            self._latest.append(step)
            return result  # type: ignore[no-any-return]

    def _warn(self, signature: CallSignature) -> None:
        if not self._has_warned:
            self._has_warned = True
            latest = self._latest[-1]
            same = self._programs.get(signature.key, [])
            change = (
                same[0].change()
                if same
                else compared(signature.key, latest.key, self._argument_names)
            )
            warnings.warn(
                f"compile: {self.name} has {MOST} programs already, and this call needs "
                f"another ({change}); such calls run eagerly from here on. Pass what changes in an "
                "array, or compile one function for each case",
                stacklevel=4,
            )

    def __reduce__(self) -> tuple[Any, ...]:  # copies capture programs of their own
        return CompiledStep, (self._function, self._check_every)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    # --- looking ---------------------------------------------------------------------------------

    @property
    def programs(self) -> list[StepProgram]:
        """The programs, the latest last."""
        return [step.program for step in self._latest]

    @property
    def replayed(self) -> list[StepProgram]:
        """The programs as replays run them, the latest last: with the extra `fast`, on tapes."""
        return [step.replayed for step in self._latest]

    def program(self, *args: P.args, **kwargs: P.kwargs) -> StepProgram:
        """Return the program for such a call; without arguments, the latest.

        Raises
        ------
        CompileError
            If no call has captured it.
        """
        return self._found(args, kwargs).program

    def source(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the Python source of the program for such a call; without arguments, the latest.

        Raises
        ------
        CompileError
            If no call has captured it.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> step = tg.compile(lambda x: tg.relu(x * 2.0))
        >>> y = step(tg.Tensor([1.0, -1.0]))
        >>> print(step.source())
        def step(x):
            y1 = mul(x, c1)  # (2,)  a·b
            y2 = relu(y1)  # (2,)  max(0, x)
            return tensor(y2)
        <BLANKLINE>
        """
        return self._found(args, kwargs).source.text

    def _found(self, args: Any, kwargs: Any) -> CapturedStep:
        if not args and not kwargs and self._latest:
            return self._latest[-1]
        steps = self._programs.get(CallSignature(args, kwargs).key)
        if not steps:
            raise CompileError(
                f"compile: {self.name} has no program for such arguments; call it once first"
            )
        return steps[0]

    def __repr__(self) -> str:
        count = len(self._latest)
        return f"<compiled {self.name}: {count} program{'' if count == 1 else 's'}>"


@overload
def compile(  # as in PyTorch
    function: Callable[P, R], *, check_every: int | None = None
) -> CompiledStep[P, R]: ...


@overload
def compile(
    function: None = None, *, check_every: int | None = None
) -> Callable[[Callable[P, R]], CompiledStep[P, R]]: ...


def compile(function: Callable[..., Any] | None = None, *, check_every: int | None = None) -> Any:
    """Capture a function's step in its first call, and replay it in later calls.

    The first call with new shapes runs the function and writes down its calls of ops, the rules of
    its sweeps and its effects. Later calls run them directly, as straight-line Python without
    Tensors, nodes and modules: see `CompiledStep.source`. The function may do a whole training
    step: forward, backward, and the step of an optimizer. With NumPy only, the bits are those of
    the function itself; with the extra `fast`, kernels add in another order (see the notes).

    Parameters
    ----------
    function : callable
        A function, or a Module. Its arguments are arrays and Tensors, also in lists, tuples and
        dicts, and other objects. Without it, `compile` is a decorator.
    check_every : int, optional
        Run each k-th call of a program both ways, and compare. The second call always is.

    Returns
    -------
    CompiledStep
        Called like the function. Tensors that it returns have no graph.

    Raises
    ------
    CompileError
        In a call: if the function does what a replay could not repeat, such as reading a value
        (``item()``), or using an array that no op computed. The message says where, and what to do.
        What the function did until then stays done. Also if a replay that is compared differs from
        the function itself.

    Warns
    -----
    UserWarning
        If it needs more than 16 programs, because an argument or an attribute changes all the time.

    Notes
    -----
    A call is captured again if anything that it depends on has changed: shapes, dtypes and memory
    orders of the arguments; numbers and objects among them; the parameters, their shapes and
    ``requires_grad``; the attributes of modules, such as ``training``; the variables, lists, dicts
    and attributes that the function, and the functions that it calls, name; grad mode, default
    dtype and engine options. With more than 20,000 such values it warns and runs eagerly.

    The second call of a program, and each k-th one by `check_every`, runs the function too, from
    the same state, and compares results, gradients, parameters, buffers and states of optimizers:
    the bits of the replay with NumPy, and the norms of each array of the replay with kernels. These
    may differ by 1e-9 in float64, and in float32 by 5 % (0.1 % of a returned number), because a
    rounding can decide the side of a kink; more where other roundings of inputs and parameters
    change NumPy's results by as much. The state is as after one step.

    Only ops and effects are repeated (an optimizer's step, ``zero_grad``, clipping, the draws of
    dropout, running statistics), not what else the function does in Python. It prints in the first
    two calls and in each checked one, and not in replays. If it counts, appends to a list, draws
    from a generator or keeps a Tensor, without an effect, the call is refused. A call that fills a
    cache runs eagerly. Under an observer (drawing, `detect_nan`) the function runs as it is.

    Tensors that a call returns have no graph. A function that returns one which the caller could
    differentiate is refused: call ``backward()`` in the function, return ``y.detach()``, or call it
    under ``no_grad()``. First derivatives only.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Linear(2, 1, rng=np.random.default_rng(0))
    >>> optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    >>> @tg.compile
    ... def step(x, target):
    ...     optimizer.zero_grad()
    ...     loss = ((model(x) - target) ** 2).mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, target = np.ones((4, 2), "f4"), np.ones((4, 1), "f4")
    >>> losses = [step(x, target).item() for _ in range(5)]
    >>> losses[4] < losses[0]
    True
    """
    if function is None:
        return lambda decorated: CompiledStep(decorated, check_every)
    return CompiledStep(function, check_every)


def _named(function: Any) -> Any:
    """Return what has the name and signature of a function or module."""
    if hasattr(function, "forward") and not hasattr(function, "__name__"):
        named = functools.partial(function.forward)
        functools.update_wrapper(named, function.forward)
        named.__name__ = type(function).__name__  # type: ignore[attr-defined]
        return named
    return function


def _argument_names(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(getattr(function, "forward", function)).parameters
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]


def _start_afresh() -> None:
    """Replace the locks after a fork: a thread that was not copied may hold one."""
    for step in _all_steps:
        step._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
