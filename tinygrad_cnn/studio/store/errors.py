"""Errors of the store."""

from __future__ import annotations

__all__ = ["ConflictError", "DamagedStoreError", "NotFoundError", "OtherVersionError"]


class NotFoundError(LookupError):
    """The row does not exist.

    Attributes
    ----------
    kind : str
        Such as "model".
    id : int

    Examples
    --------
    >>> raise NotFoundError("model", 7)
    Traceback (most recent call last):
        ...
    tinygrad_cnn.studio.store.errors.NotFoundError: there is no model 7
    """

    def __init__(self, kind: str, id: int) -> None:
        super().__init__(f"there is no {kind} {id}")
        self.kind = kind
        self.id = id


class ConflictError(ValueError):
    """The stored state does not allow the change, such as deleting the promoted model."""


class DamagedStoreError(RuntimeError):
    """The file is not a database, is damaged, or is from a newer version of the package."""


class OtherVersionError(DamagedStoreError):
    """The database is from another version of the package."""
