"""What an experiment is: a question, the runs that answer it, and how to show the answer."""

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


class Unavailable(RuntimeError):  # noqa: N818  # what it is, not what is wrong
    """A run needs something that this machine lacks: it is left out, and the message says why."""


class Record:
    """Takes down what a run measures, and how long it has taken.

    Parameters
    ----------
    source : str
        What `data` is loaded from, as `tinygrad_cnn.data.load` takes it.
    saved : path-like, optional
        Where `save` keeps a run that is under way.
    told : callable
        Told the share of the run that is done, whenever it is known.

    Attributes
    ----------
    rows : list of (step, seconds, measure, value)
    steps : float
        How many steps the run will take, for the time left; a run that knows sets it.
    state : dict or None
        What `save` was last given before the run was interrupted; None in a run that is new.

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
        told: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.rows: list[tuple[float, float, str, float]] = []
        self.steps = math.nan
        self.state: dict[str, Any] | None = None
        self._source = source
        self._saved = saved
        self._told = told
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
        """How long the run has taken, without what was done aside."""
        return self._before if self._apart else self._before + perf_counter() - self._since

    @property
    def data(self) -> Split:
        """The experiment's data; loading them is no part of the run's seconds."""
        with self.aside():
            return _loaded(self._source)

    def __call__(self, step: float, **measures: float) -> None:
        """Take down measures after a step, each once."""
        with self.aside():
            for measure, value in measures.items():
                self.rows.append((float(step), self._before, measure, float(value)))
            self._told(step / self.steps)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Stop the clock for what is no part of the run, such as an evaluation."""
        if not self._apart:
            self._before += perf_counter() - self._since
        self._apart += 1
        try:
            yield
        finally:
            self._apart -= 1
            self._since = perf_counter()

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the rows, and what a run needs to go on from here if it is interrupted.

        Parameters
        ----------
        state : mapping
            Nested arrays and plain values, as for `tinygrad_cnn.train.state.write_state`; the run
            finds them in `state` when it is started again.
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
    """A question about efficiency, and all that is needed to answer it by measuring.

    Attributes
    ----------
    name : str
        Letters, digits and hyphens; the module that declares it is called alike.
    question : str
        One sentence.
    claim : str
        What the text says to it, with its section; empty if nothing.
    variants : mapping
        By label: the keyword arguments that `run` is given. See `grid`.
    run : callable
        ``run(record, seed=..., **variant)`` does one run and tells `record` what it measures. It
        is called in another process, so it must be a function of a module.
    figure : callable
        ``figure(results, figure)`` draws on a Matplotlib figure.
    finding : callable
        ``finding(results)`` gives the paragraph that answers the question, as Markdown, every
        number taken from the results.
    seeds : int
        How many runs each variant gets.
    source : str
        What ``record.data`` is loaded from.
    separate : bool
        Whether each variant says something alone; otherwise all must be done before it is shown.

    Raises
    ------
    ValueError
        If one is not as above.
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
                    f"{self.name}: the label {label!r} cannot be told from {other!r} in file names"
                )
        whole(self.name, "seeds", self.seeds)


def grid(**choices: Sequence[Any] | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a variant for each combination of choices.

    Parameters
    ----------
    **choices : sequence or mapping
        By argument: its values. A value that is a str labels itself, another is labelled
        ``"<value> <argument>"``; a mapping gives the values by label.

    Examples
    --------
    >>> grid(activation=("sigmoid", "relu"), layers={"1 layer": 1, "2 layers": 2})["relu, 1 layer"]
    {'activation': 'relu', 'layers': 1}
    >>> list(grid(seeds=(1, 2)))
    ['1 seeds', '2 seeds']
    """
    labelled = [
        choice.items()
        if isinstance(choice, Mapping)
        else [(value if isinstance(value, str) else f"{value} {name}", value) for value in choice]
        for name, choice in choices.items()
    ]
    return {
        ", ".join(label for label, _ in combination): dict(
            zip(choices, (value for _, value in combination), strict=True)
        )
        for combination in itertools.product(*labelled)
    }


def slug(label: str) -> str:
    """Return a label as a part of a file name.

    Examples
    --------
    >>> slug("ReLU, 4 layers"), slug("rate 0.1")
    ('relu-4-layers', 'rate-0.1')
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-.")
