"""Public names of packages, and imports of optional packages and of users' files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["failure", "load_file", "needs_extra", "public", "set_by"]


def public(
    package: str, late: Mapping[str, str] | None = None, extra: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose ``dir`` shows its ``__all__``.

    Assign them under ``if not TYPE_CHECKING``: a type checker takes a package with a
    ``__getattr__`` to have every name.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    late : mapping of str, optional
        The names to import on first use, each with its module in the package.
    extra : str
        The extra of this package that they need.
    """
    modules = late or {}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        purpose = f"{package.rpartition('.')[2]}.{name}"
        with needs_extra(extra, purpose) if extra else nullcontext():
            module = import_module(f"{package}.{modules[name]}")
        return module if name == modules[name] else getattr(module, name)

    return get, lambda: sorted(sys.modules[package].__all__)


def set_by(package: str) -> Any:
    """Return the place of a method that `package` sets, which the class's module cannot import.

    Reading the method imports that package, which replaces the place.
    """
    return _LateMethod(package)


class _LateMethod:
    def __init__(self, package: str) -> None:
        self.package = package

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, instance: object, owner: type) -> Any:
        import_module(self.package)
        assert vars(self.owner)[self.name] is not self, f"{self.package} sets no {self.name}"
        return getattr(owner if instance is None else instance, self.name)


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Name the extra to install if a module imported inside the block is missing.

    Parameters
    ----------
    extra : str
        The extra of this package that has the module.
    purpose : str
        The feature that needs it: the subject of the error message.

    Raises
    ------
    ModuleNotFoundError
        If a module is not installed; the message has the command to install it.

    Examples
    --------
    >>> with needs_extra("plots", "drawing curves"):
    ...     import no_such_module
    Traceback (most recent call last):
        ...
    ModuleNotFoundError: drawing curves needs the module 'no_such_module', which is not \
installed: pip install "tinygrad_cnn[plots]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs the module {error.name!r}, which is not installed: "
            f'pip install "tinygrad_cnn[{extra}]"',
            name=error.name,
        ) from error


def load_file(path: str | Path) -> ModuleType:
    """Import a Python file.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    ValueError
        If importing it fails; the message has the line of the file.
    """
    from importlib.util import module_from_spec, spec_from_file_location

    whole = Path(path).resolve()
    if not whole.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    name = f"tinygrad_cnn_file_{whole.stem}"
    spec = spec_from_file_location(name, whole)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and similar tools look it up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(failure(path, whole, "importing it", error)) from error
    return module


def failure(shown: str | Path, file: Path, action: str, error: Exception) -> str:
    """Return a message about an error in a user's file: the file, the line and the cause.

    Parameters
    ----------
    shown : str or Path
        The name of the file in the message.
    file : Path
        The file name in the traceback.
    action : str
        What failed, such as "importing it".
    error : Exception
    """
    import inspect

    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    if isinstance(error, SyntaxError) and error.lineno:
        lines = [error.lineno]
    line = f", line {lines[-1]}" if lines else ""
    message = error.msg if isinstance(error, SyntaxError) else error
    return f"{shown}{line}: {action} failed: {type(error).__name__}: {message}"
