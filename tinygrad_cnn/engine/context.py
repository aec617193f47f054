"""A context manager and decorator that changes the value of a context variable.

An interrupt cannot break it. Python looks for signals as a function of Python's begins, and after
each call of one in C. An ``__exit__`` in Python could be interrupted as it begins, and the change
would stay. So ``__exit__`` is that of `io.IOBase`, in C: it calls ``close``, the generator's, in C
as well, and the first code of Python's to run is the ``finally`` in the generator.
"""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class changed(io.IOBase, Generic[T]):  # noqa: N801  # a context manager
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

    def __enter__(self) -> None:  # type: ignore[override]
        outer = self.__dict__.get("close")  # of the block around, if it is this object's
        inside = self._inside(outer)
        try:
            self.__dict__["close"] = inside.close
            next(inside)
        except BaseException:
            if outer is not None:
                self.__dict__["close"] = outer
            inside.close()
            raise

    def _inside(self, outer: Callable[[], None] | None) -> Generator[None, None, None]:
        outside = self._variable.get()
        try:
            self._variable.set(self._change(outside))
            yield
        finally:  # no call before the last line, so no interrupt
            if outer is None:
                del self.__dict__["close"]  # a method of its own would be a cycle of references
            else:
                self.__dict__["close"] = outer
            self._variable.set(outside)

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
