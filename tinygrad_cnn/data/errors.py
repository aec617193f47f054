"""What can go wrong with data: bad contents, or a package that is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["DataError", "require"]


class DataError(ValueError):
    """Data that is not what it should be: the message names it, what came, what was expected.

    Examples
    --------
    >>> raise DataError("a.gz: the file is empty; expected an IDX file")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.data.errors.DataError: a.gz: the file is empty; expected an IDX file
    """


def require(module: str, purpose: str) -> Any:
    """Import a module of the extra ``data`` at its first use.

    Parameters
    ----------
    module : str
        The module to import, dotted or not.
    purpose : str
        What needs it, as the subject of the error's sentence.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed; the message holds the line that installs it.

    Examples
    --------
    >>> require("json", "reading settings").loads("[1]")
    [1]
    >>> require("no_such_module", "downloading MNIST")
    Traceback (most recent call last):
        ...
    ModuleNotFoundError: downloading MNIST needs the module 'no_such_module', which is not \
installed: pip install "tinygrad_cnn[data]"
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs the module {error.name!r}, which is not installed: "
            'pip install "tinygrad_cnn[data]"',
            name=error.name,
        ) from error
