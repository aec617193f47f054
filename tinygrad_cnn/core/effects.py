"""Effects: functions that change, draw or measure something that no op declares.

A captured step (`compiler`) knows what ops do from their declarations. An optimizer's step, the
draws of a dropout and the running statistics of a batch norm are not ops: such a function is marked
with `effect`, and a replay of the step calls it again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import numpy as np

from tinygrad_cnn.core.hidden import plain
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.step_observer import StepObserver, step_observers

F = TypeVar("F", bound=Callable[..., Any])


def effect(function: F) -> F:
    """Mark a function, or method, that each run of a captured step has to call again.

    It may change anything, draw random numbers, and compute with NumPy. A replay of the step calls
    it with the same objects, and with the values of that replay for arrays and Tensors that the
    step computed: those come as arrays, so read them with `array_of`. It returns None, a number,
    an array, or a tuple of arrays. Ops may use the arrays; the numbers only leave the step.

    An observer that captures a step gets the call (`StepObserver.effect`), and does not see the ops
    that are called inside.

    Examples
    --------
    >>> import numpy as np
    >>> @effect
    ... def noise(rng, shape):
    ...     return rng.standard_normal(shape)
    >>> noise(np.random.default_rng(0), (2,))
    array([ 0.12573022, -0.13210486])
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not (observers := step_observers()):
            return function(*args, **kwargs)
        return _observed(function, signature.bind(*args, **kwargs), observers)

    call.is_effect = True  # type: ignore[attr-defined]
    return cast(F, call)


def clears(of: Callable[[Any], Iterable[Any]]) -> Callable[[F], F]:
    """Declare that an effect only sets ``.grad`` of the Tensors ``of(first argument)`` to None.

    So a compiled step can do that itself, without the call.
    """
    return lambda function: _declared(function, "clears", of)


def writes(of: Callable[[Any], Iterable[Any]] = lambda _: ()) -> Callable[[F], F]:
    """Declare that an effect changes no arrays but those of the Tensors ``of(first argument)``.

    By default there are none. It changes no gradients and keeps no array that it is given, so a
    compiled step need not read other memory again after it.
    """
    return lambda function: _declared(function, "writes", of)


def _declared(function: F, name: str, of: Callable[[Any], Iterable[Any]]) -> F:
    setattr(function, name, of)
    return function


def pure(function: F) -> F:
    """Mark a function that computes arrays from arrays and Tensors with NumPy, and changes nothing.

    A replay of a captured step calls it again, with arrays for Tensors. So a function made of ops
    may compute with NumPy what has no derivative, such as indices. Shapes and dtypes of the result
    may depend on those of the arguments, not on their values.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> @pure
    ... def order(x):
    ...     return np.argsort(np.asarray(x))
    >>> step = tg.compile(lambda x: tg.getitem(x, order(x)))
    >>> [step(tg.Tensor(x)).numpy().tolist() for x in ([3.0, 1.0], [1.0, 3.0], [3.0, 2.0])]
    [[1.0, 3.0], [1.0, 3.0], [2.0, 3.0]]
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        state = recording.get()
        if not (observers := step_observers()):
            return function(*args, **kwargs)
        try:
            recording.set(state._replace(observers=()))
            result = function(*plain(args), **plain(kwargs))
        finally:
            recording.set(state)
        for observer in observers:
            result = observer.computed(function, args, kwargs, result)
        return result

    call.is_effect = True  # type: ignore[attr-defined]
    return cast(F, call)


A = TypeVar("A", bound=np.ndarray[Any, Any])


def constant(array: A) -> A:
    """Return `array`, which functions made of ops compute from shapes and options only.

    A captured step refuses arrays that neither ops nor effects have computed, because a replay
    could not make them again. One that no value has decided is the same in each replay: its
    observer gets it (`StepObserver.fixed`).
    """
    for observer in step_observers():
        observer.fixed(array)
    return array


def _observed(
    function: Callable[..., Any], bound: inspect.BoundArguments, observers: list[StepObserver]
) -> Any:
    """Call an effect and report it."""
    state = recording.get()
    for name, value in bound.arguments.items():
        if isinstance(value, Iterator):  # a replay needs it again
            bound.arguments[name] = list(value)
    given = dict(bound.arguments)
    for name, value in given.items():
        bound.arguments[name] = plain(value)
    watching = tuple([each for each in state.observers if each not in observers])
    for observer in observers:
        observer.before_effect(function)
    try:
        recording.set(state._replace(observers=watching))
        result = function(*bound.args, **bound.kwargs)
    finally:
        recording.set(state)
    for observer in observers:
        replaced = observer.effect(function, given, result)
        result = result if replaced is None else replaced
    return result
