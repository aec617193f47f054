"""Definition of an experiment: a question, the runs that answer it, a figure and a finding."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.data import Split, load
from tinygrad_cnn.experiments.results import Results
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.train.state import read_state, write_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Experiment", "Record", "Unavailable", "grid", "slug"]


class Unavailable(RuntimeError):  # noqa: N818  # names a state, not an error
    """A run needs something missing on this machine: it is skipped, and the message says why."""


class Record:
    """Records the measures of a run and its elapsed time.

    Parameters
    ----------
    source : str
        The data source, as for `tinygrad_cnn.data.load`.
    saved : path-like, optional
        The file where `save` stores the state of an unfinished run.
    on_progress : callable
        Progress callback: called with the share of the run done, whenever it is known.

    Attributes
    ----------
    rows : list of (step, seconds, measure, value)
    steps : float
        Total number of steps, for the time estimate; set by the run if known.
    state : dict or None
        The last state passed to `save` before an interruption; None in a new run.

    Examples
    --------
    >>> record = Record()
    >>> for epoch in (1, 2):
    ...     record(epoch, loss=1.0 / epoch, accuracy=0.5)
    >>> [(step, measure, value) for step, _, measure, value in record.rows]
    [(1.0, 'loss', 1.0), (1.0, 'accuracy', 0.5), (2.0, 'loss', 0.5), (2.0, 'accuracy', 0.5)]
    """

    def __init__(
        self,
        source: str = "",
        saved: Path | None = None,
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.rows: list[tuple[float, float, str, float]] = []
        self.steps = math.nan
        self.state: dict[str, Any] | None = None
        self._source = source
        self._saved = saved
        self._on_progress = on_progress
        self._apart = 0
        self._before = 0.0
        if saved is not None and saved.exists():
            state = read_state(saved)
            self.rows = [
                (float(step), float(seconds), str(measure), float(value))
                for step, seconds, measure, value in state["rows"]
            ]
            self._before = float(state["seconds"])
            self.state = state["state"]
        self._since = perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of the run, excluding the time in `aside`."""
        return self._before if self._apart else self._before + perf_counter() - self._since

    @property
    def data(self) -> Split:
        """The experiment's data; loading is excluded from the run's seconds."""
        with self.aside():
            return _loaded(self._source)

    def __call__(self, step: float, **measures: float) -> None:
        """Record measures after a step, each once."""
        with self.aside():
            for measure, value in measures.items():
                self.rows.append((float(step), self._before, measure, float(value)))
            self._on_progress(step / self.steps)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Pause the clock for work outside the run, such as an evaluation."""
        if not self._apart:
            self._before += perf_counter() - self._since
        self._apart += 1
        try:
            yield
        finally:
            self._apart -= 1
            self._since = perf_counter()

    def save(self, state: Mapping[str, Any]) -> None:
        """Save the rows and the state needed to resume the run after an interruption.

        Parameters
        ----------
        state : mapping
            Nested arrays and plain values, as for `tinygrad_cnn.train.state.write_state`; the
            resumed run finds them in the attribute `state`.
        """
        with self.aside():
            if self._saved is not None:
                kept = {"rows": self.rows, "seconds": self._before, "state": dict(state)}
                write_state(self._saved, kept)


@cache
def _loaded(source: str) -> Split:
    return load(source)


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """A question about efficiency, with the code to answer it by measuring.

    Attributes
    ----------
    name : str
        Letters, digits and hyphens; also the name of the defining module.
    question : str
        One sentence.
    claim : str
        The text's claim, with its section; empty if none.
    variants : mapping
        Maps each label to the keyword arguments of `run`. See `grid`.
    run : callable
        ``run(record, seed=..., **variant)`` does one run and passes its measures to `record`. It is
        called in another process, so it must be a module-level function.
    figure : callable
        ``figure(results, figure)`` draws on a Matplotlib figure.
    finding : callable
        ``finding(results)`` returns the answer as a Markdown paragraph; every number comes from the
        results.
    seeds : int
        Number of runs per variant.
    source : str
        The source of ``record.data``.
    separate : bool
        Whether each variant can be shown alone; otherwise all must be finished first.

    Raises
    ------
    ValueError
        If an attribute is not as described above.
    """

    name: str
    question: str
    variants: Mapping[str, Mapping[str, Any]]
    run: Callable[..., None]
    figure: Callable[[Results, Figure], None]
    finding: Callable[[Results], str]
    claim: str = ""
    seeds: int = 5
    source: str = "digits"
    separate: bool = False

    def __post_init__(self) -> None:
        if slug(self.name) != self.name:
            raise ValueError(
                f"Experiment: name is {self.name!r}, expected small letters, digits and hyphens"
            )
        if not self.question.endswith("?"):
            raise ValueError(f"{self.name}: question is {self.question!r}, expected a question")
        if not self.variants:
            raise ValueError(f"{self.name}: variants is empty, expected one or more")
        labels: dict[str, str] = {}
        for label in self.variants:
            other = labels.setdefault(slug(label), label)
            if other != label or not slug(label):
                raise ValueError(
                    f"{self.name}: the label {label!r} is not distinct from {other!r} in file names"
                )
        whole(self.name, "seeds", self.seeds)


def grid(**choices: Sequence[Any] | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a variant for each combination of choices.

    Parameters
    ----------
    **choices : sequence or mapping
        The values by argument. A str labels itself, any other value is labeled
        ``"<value> <argument>"``; a mapping gives the values by label.

    Examples
    --------
    >>> grid(activation=("sigmoid", "relu"), layers={"1 layer": 1, "2 layers": 2})["relu, 1 layer"]
    {'activation': 'relu', 'layers': 1}
    >>> list(grid(seeds=(1, 2)))
    ['1 seeds', '2 seeds']
    """
    labeled = [
        choice.items()
        if isinstance(choice, Mapping)
        else [(value if isinstance(value, str) else f"{value} {name}", value) for value in choice]
        for name, choice in choices.items()
    ]
    return {
        ", ".join(label for label, _ in combination): dict(
            zip(choices, (value for _, value in combination), strict=True)
        )
        for combination in itertools.product(*labeled)
    }


def slug(label: str) -> str:
    """Return a label in the form used in file names.

    Examples
    --------
    >>> slug("ReLU, 4 layers"), slug("rate 0.1")
    ('relu-4-layers', 'rate-0.1')
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-.")
