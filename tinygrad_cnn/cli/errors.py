"""Error output: one line on stderr, and the exit status; closed and full standard streams."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from tinygrad_cnn.distributed.faults import is_shared
from tinygrad_cnn.distributed.ranks import connected, guard

__all__ = ["FILE", "Commands", "prepare_streams"]

FILE = "tinygrad_cnn.config"
"""Where the ``meta`` of a command's context has the name of its settings file."""
DEBUG_VARIABLE = "TINYGRAD_CNN_DEBUG"
FAILURE, BAD_INPUT, INTERRUPTED, OUTPUT_CLOSED = 1, 2, 130, 141
INPUT_ERRORS = (
    ValueError,
    TypeError,
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
    ModuleNotFoundError,
)


class _OutputClosedError(Exception):
    """The program that read the output has ended, as in ``experiment --list | head``."""


class _Output:
    """The standard output; its errors have another type or name than those of files."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        return 0 if text == "" else self._called(self._stream.write, text)  # click tries with ""

    def flush(self) -> None:
        self._called(self._stream.flush)

    def _called(self, method: Callable[..., Any], *arguments: str) -> Any:
        try:
            return method(*arguments)
        except OSError as error:
            with suppress(OSError, ValueError):  # or Python would write the rest when it exits
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            if isinstance(error, BrokenPipeError):
                raise _OutputClosedError("the standard output was closed") from error
            error.filename = "standard output"
            raise


def prepare_streams() -> None:
    """Replace closed standard streams, and characters that a terminal's encoding lacks by "?"."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: else the next open file would have its number
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115
        elif descriptor and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


class Commands(TyperGroup):
    """Command group that prints errors as one line, or as tracebacks with ``--debug``."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit."""
        kwargs["standalone_mode"] = False
        given = kwargs.get("args") or (args[0] if args else None) or sys.argv[1:]
        debug = "--debug" in given or bool(os.environ.get(DEBUG_VARIABLE))
        if "--distributed" in given:  # first of all: from now on, an error of one rank ends all
            with suppress(ImportError, RuntimeError):  # raised again where ranks are needed
                guard()
        try:
            output: Any = _Output(sys.stdout)
            with warnings.catch_warnings(), redirect_stdout(output):
                warnings.showwarning = _show_warning
                status = super().main(*args, **kwargs)
                sys.stdout.flush()
        except typer.Abort:
            status = INTERRUPTED
        except _OutputClosedError as error:  # silent, as usual, unless something was kept
            status = OUTPUT_CLOSED
            notes = getattr(error, "__notes__", ())
            if notes or connected().size > 1:
                _report(error, f"error: {'; '.join([str(error), *notes])}", status)
        except Exception as error:
            if debug:
                raise
            status, message = _described(error)
            _report(error, f"error: {message}", status)
        sys.exit(status if isinstance(status, int) else 0)


def _report(error: Exception, message: str, status: int) -> None:
    """Print a message: of several ranks, once. If not all have the error, all end."""
    ranks = connected()
    if ranks.size > 1 and not is_shared(error):
        ranks.fail(message, status)
    ranks.print_shared(message)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one line, without its source location."""
    print(f"warning: {message}", file=sys.stderr)


def _described(error: Exception) -> tuple[int, str]:
    """Return the exit status and the message of an error."""
    if hasattr(error, "format_message"):  # a usage error of the command line
        usage = " ".join(error.format_message().split())
        return BAD_INPUT, f"{_config_file(error)}{usage[:1].lower()}{usage[1:].rstrip('.')}"
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    message = "; ".join([message, *getattr(error, "__notes__", ())])
    message = " ".join(message.split())
    if isinstance(error, INPUT_ERRORS):
        return BAD_INPUT, message or type(error).__name__
    if isinstance(error, MemoryError):
        return FAILURE, f"not enough memory: {message}"
    if isinstance(error, FloatingPointError | OSError):
        return FAILURE, message
    return FAILURE, f"{type(error).__name__}: {message} (--debug shows where)"


def _config_file(error: Any) -> str:
    """Return the settings file that has the bad value, with a colon; "" for the command line."""
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or param is None:
        return ""
    source = context.get_parameter_source(param.name)
    in_file = source is not None and source.name == "DEFAULT_MAP"
    return f"{context.meta[FILE]}: " if in_file else ""
