"""Errors of the store."""

from __future__ import annotations

__all__ = ["Damaged", "Missing", "Refused"]


class Missing(LookupError):  # noqa: N818  # names a state, not an error
    """The row does not exist.

    Attributes
    ----------
    kind : str
        Such as "model".
    id : int

    Examples
    --------
    >>> raise Missing("model", 7)
    Traceback (most recent call last):
        ...
    tinygrad_cnn.studio.store.errors.Missing: there is no model 7
    """

    def __init__(self, kind: str, id: int) -> None:
        super().__init__(f"there is no {kind} {id}")
        self.kind = kind
        self.id = id


class Refused(ValueError):  # noqa: N818  # names the answer
    """The stored state does not allow the change, such as deleting the promoted model."""


class Damaged(RuntimeError):  # noqa: N818  # names the file's state
    """The file is no database, is damaged, or is from a newer version of the package."""
