"""Per-epoch metrics, stored as CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, overload

from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.train.errors import RunError

__all__ = ["Epoch", "History"]


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch: a row of a `History`. Missing values are NaN.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    loss, accuracy : float
        Over the training examples, each measured at its own batch during the epoch.
    validation_loss, validation_accuracy : float
        Over the validation set, after the epoch.
    learning_rate : float
        The rate of the last step.
    seconds : float
        The time of training and validation together.
    images_per_second : float
        The speed of training alone.
    metrics : dict of str to float
        Further metrics by column, as of `fit`: "top5", "validation_top5", ...
    """

    epoch: int
    loss: float
    accuracy: float = math.nan
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan
    learning_rate: float = math.nan
    seconds: float = math.nan
    images_per_second: float = math.nan
    metrics: dict[str, float] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the row by column, with None for NaN, as JSON needs."""
        row = {name: getattr(self, name) for name in COLUMNS} | self.metrics
        return {name: None if value != value else value for name, value in row.items()}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Epoch:
        """Return the row from `as_dict`; KeyError, TypeError or ValueError if invalid."""
        numbers = {name: _number(name, value) for name, value in row.items() if name != "epoch"}
        columns = {name: numbers.pop(name) for name in COLUMNS[1:]}
        for name, value in columns.items():
            if math.isinf(value):  # `fit` records none; a further metric may be infinite
                raise ValueError(f"{name} is {value}, expected a finite number or none")
        epoch = row["epoch"]
        if isinstance(epoch, float):
            raise ValueError(f"epoch is {epoch}, expected an integer")
        return cls(epoch=int(epoch), **columns, metrics=numbers)


def _number(name: str, value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # an integer of more than 308 digits
        raise ValueError(f"{name} is {str(value)[:9]}..., expected a smaller number") from None


COLUMNS = tuple(each.name for each in fields(Epoch) if each.name != "metrics")


class History(Sequence[Epoch]):
    """The epochs of a run, in order.

    Parameters
    ----------
    epochs : iterable of Epoch
        Numbered 1, 2, 3, ...

    Raises
    ------
    ValueError
        If they are numbered differently.

    Examples
    --------
    >>> history = History([Epoch(1, loss=0.5, accuracy=0.8), Epoch(2, loss=0.25, accuracy=0.9)])
    >>> history[-1].accuracy
    0.9
    >>> history.column("loss")
    [0.5, 0.25]
    """

    def __init__(self, epochs: Sequence[Epoch] = ()) -> None:
        self._epochs: list[Epoch] = []
        for epoch in epochs:
            self.append(epoch)

    def append(self, epoch: Epoch) -> None:
        """Append the next epoch; ValueError if its number is not the next."""
        if epoch.epoch != len(self) + 1:
            raise ValueError(f"History: got epoch {epoch.epoch}, expected epoch {len(self) + 1}")
        self._epochs.append(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return all rows, for a checkpoint."""
        return {"epochs": [epoch.as_dict() for epoch in self]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Replace all rows; KeyError, TypeError or ValueError if they are invalid."""
        rows = History([Epoch.from_dict(row) for row in state_dict["epochs"]])
        self._epochs = rows._epochs

    def column(self, name: str) -> list[Any]:
        """Return one attribute, or one further metric, of every `Epoch`."""
        if name not in self.columns:
            raise ValueError(
                f"History: there is no column {name!r}; expected one of {', '.join(self.columns)}"
            )
        if name in COLUMNS:
            return [getattr(epoch, name) for epoch in self]
        return [epoch.metrics.get(name, math.nan) for epoch in self]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns: those of `Epoch`, then further metrics."""
        further = dict.fromkeys(name for epoch in self for name in epoch.metrics)
        return (*COLUMNS, *further)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file, atomically: a row of names, then a row per epoch.

        Parameters
        ----------
        path : str or path-like
            The file. Numbers keep all digits; NaN is an empty cell.

        Raises
        ------
        OSError
            If it cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> history = History([Epoch(1, loss=0.5, accuracy=0.8)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history.to_csv(Path(folder, "history.csv"))
        ...     History.from_csv(Path(folder, "history.csv"))[0].accuracy
        0.8
        """
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(epoch.as_dict() for epoch in self)
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> History:
        """Read a file written by `to_csv`.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        History
            Bit-identical to the one that was written.

        Raises
        ------
        RunError
            If the contents are invalid; the message names file and line.
        OSError
            If it cannot be read.
        """
        history = cls()
        line = 1
        try:
            with open(path, encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                known = tuple(header[: len(COLUMNS)]) == COLUMNS
                if not known or not all(header) or len(set(header)) < len(header):
                    raise ValueError(f"the columns are {header}, expected {list(COLUMNS)}")
                for cells in rows:
                    line += 1
                    row = dict(zip(header, (cell or None for cell in cells), strict=True))
                    history.append(Epoch.from_dict(row))
        except (ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{path}: line {line}: {error}") from error
        return history

    def __len__(self) -> int:
        return len(self._epochs)

    @overload
    def __getitem__(self, index: int) -> Epoch: ...
    @overload
    def __getitem__(self, index: slice) -> list[Epoch]: ...
    def __getitem__(self, index: int | slice) -> Epoch | list[Epoch]:
        return self._epochs[index]

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        return self._rows() == other._rows()

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows by column, without missing values."""
        rows = (epoch.as_dict() for epoch in self)
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        if not self:
            return "History(no epochs)"
        last = self[-1]
        return f"History({len(self)} epochs, loss {last.loss:.4g}, accuracy {last.accuracy:.4g})"
