"""A context manager and decorator that changes the value of a context variable."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class changed(Generic[T]):  # noqa: N801  # a context manager
    """Change `variable` inside a ``with`` block, or inside the function that is decorated.

    One object may be entered several times, also inside itself. A generator function is inside
    while it runs, not while it is suspended.

    Parameters
    ----------
    variable : ContextVar
    change : callable
        From the value outside to that inside.
    """

    def __init__(self, variable: ContextVar[T], change: Callable[[T], T]) -> None:
        self._variable = variable
        self._change = change
        self._outside: list[T] = []

    def __enter__(self) -> None:
        outside = self._variable.get()
        try:  # an interrupt may come after any call
            self._outside.append(outside)
            self._variable.set(self._change(outside))
        except BaseException:
            self._variable.set(outside)
            raise

    def __exit__(self, *_: object) -> None:
        self._variable.set(self._outside.pop())

    def __call__(self, function: F) -> F:
        """Return `function`, each call of which runs inside."""

        def again() -> changed[T]:
            return changed(self._variable, self._change)

        if inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is an asynchronous generator; use `with` inside it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def inside(*args: Any, **kwargs: Any) -> Any:
                with again():
                    return await function(*args, **kwargs)
        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def inside(*args: Any, **kwargs: Any) -> Any:
                return _resumed(function(*args, **kwargs), again)
        else:

            @functools.wraps(function)
            def inside(*args: Any, **kwargs: Any) -> Any:
                with again():
                    return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # of the signature of `function`


def _resumed(
    generator: Generator[Any, Any, Any], context: Callable[[], changed[Any]]
) -> Generator[Any, Any, Any]:
    """Yield what `generator` does, resuming it inside `context` each time."""
    resume, sent = generator.send, None
    while True:
        try:
            with context():
                value = resume(sent)
        except StopIteration as stop:
            return stop.value
        try:
            resume, sent = generator.send, (yield value)
        except GeneratorExit:
            with context():
                generator.close()
            raise
        except BaseException as error:
            resume, sent = generator.throw, error
