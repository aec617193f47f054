"""What can be wrong with what is asked of the store, or with the store itself."""

from __future__ import annotations

__all__ = ["Damaged", "Missing", "Refused"]


class Missing(LookupError):  # noqa: N818  # what there is not, rather than what went wrong
    """There is no such row.

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


class Refused(ValueError):  # noqa: N818  # it is the answer
    """A change that what is stored does not allow, such as to delete the promoted model."""


class Damaged(RuntimeError):  # noqa: N818  # the state of the file
    """The database's file is no database, is damaged, or is of a newer version of the package."""
