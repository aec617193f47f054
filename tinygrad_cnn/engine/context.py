"""A context manager and decorator that changes the value of a context variable.

It is safe against interrupts. Python checks for signals when a Python function starts and after
each call of a C function. So an ``__exit__`` written in Python could be interrupted at its start,
without restoring the value. ``__exit__`` is therefore that of `io.IOBase`, in C: it calls the
generator's ``close``, also in C, and the first Python code to run is the generator's ``finally``.
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
    """Change `variable` inside a ``with`` block or a decorated function.

    One object may be entered several times, also nested. A decorated generator function sees the
    change while it runs; while it is suspended, the outer value holds.

    Parameters
    ----------
    variable : ContextVar
    change : callable
        Maps the outer value to the inner value.
    """

    def __init__(self, variable: ContextVar[T], change: Callable[[T], T]) -> None:
        self._variable = variable
        self._change = change

    def __enter__(self) -> None:  # type: ignore[override]  # no file to return
        outer = self.__dict__.get("close")  # of an enclosing block of this object, if any
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
        finally:  # no calls before the last line: no interrupt
            if outer is None:
                del self.__dict__["close"]  # an instance attribute would form a reference cycle
            else:
                self.__dict__["close"] = outer
            self._variable.set(outside)

    def __call__(self, function: F) -> F:
        """Return `function` wrapped so that each call runs inside the context."""

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

        return inside  # type: ignore[return-value]  # has the signature of `function`


def _resumed(
    generator: Generator[Any, Any, Any], context: Callable[[], changed[Any]]
) -> Generator[Any, Any, Any]:
    """Yield the values of `generator`, resumed inside `context` each time."""
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
