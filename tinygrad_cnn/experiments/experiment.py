"""Definition of an experiment: a question, the runs that answer it, a figure and a finding."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.data import Split, load
from tinygrad_cnn.experiments.finding import Finding
from tinygrad_cnn.experiments.results import Results
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.train.state import read_state, write_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TIMES", "Experiment", "Record", "Unavailable", "grid", "slug"]

TIMES = "times"
"""The label of the variant that measures seconds."""


class Unavailable(RuntimeError):  # noqa: N818  # names a state, not an error
    """A run needs something missing on this machine: it is skipped, and the message says why."""


class Record:
    """Records the measures of a run.

    Parameters
    ----------
    source : str
        The data source, as for `tinygrad_cnn.data.load`.
    saved : path-like, optional
        The file where `save` stores the state of an unfinished run.
    on_progress : callable
        Progress callback: called with the share of the run done, whenever it is known.
    folder : path-like, optional
        A folder for files of the run, which it creates itself; the current one by default.

    Attributes
    ----------
    rows : list of (step, measure, value)
    steps : float
        Total number of steps, for the progress; set by the run if known.
    folder : Path
        See above.
    state : dict or None
        The last state passed to `save` before an interruption; None in a new run.

    Examples
    --------
    >>> record = Record()
    >>> for epoch in (1, 2):
    ...     record(epoch, loss=1.0 / epoch, accuracy=0.5)
    >>> record.rows
    [(1.0, 'loss', 1.0), (1.0, 'accuracy', 0.5), (2.0, 'loss', 0.5), (2.0, 'accuracy', 0.5)]
    """

    def __init__(
        self,
        source: str = "",
        saved: Path | None = None,
        on_progress: Callable[[float], None] = lambda share: None,
        folder: Path | None = None,
    ) -> None:
        self.rows: list[tuple[float, str, float]] = []
        self.steps = math.nan
        self.state: dict[str, Any] | None = None
        self._source = source
        self._saved = saved
        self._on_progress = on_progress
        self.folder = folder or Path()
        if saved is not None and saved.exists():
            state = read_state(saved)
            self.rows = [
                (float(step), str(measure), float(value)) for step, measure, value in state["rows"]
            ]
            self.state = state["state"]

    @property
    def data(self) -> Split:
        """The experiment's data."""
        return _loaded(self._source)

    def __call__(self, step: float, **measures: float) -> None:
        """Record measures after a step, each once."""
        for measure, value in measures.items():
            self.rows.append((float(step), measure, float(value)))
        self.progress(step)

    def progress(self, step: float) -> None:
        """Report how far the run is, without measures."""
        self._on_progress(step / self.steps)

    def save(self, state: Mapping[str, Any]) -> None:
        """Save the rows and the state needed to resume the run after an interruption.

        Parameters
        ----------
        state : mapping
            Nested arrays and plain values, as for `tinygrad_cnn.train.state.write_state`; the
            resumed run finds them in the attribute `state`.
        """
        if self._saved is not None:
            write_state(self._saved, {"rows": self.rows, "state": dict(state)})


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
    times : callable, optional
        ``times(record, seed=...)`` measures seconds, with `record_times`. It is one more variant,
        "times", and runs while no other run does; other runs, which share the machine, measure no
        seconds.
    alone : bool
        Whether `run` measures seconds too, so that all variants run one at a time.
    figure : callable
        ``figure(results, figure)`` draws on a Matplotlib figure.
    finding : callable
        ``finding(results)`` returns the answer, a `Finding`.
    seeds : int or mapping
        Number of runs per variant, or by variant.
    first_seed : int
        The seed of the first run of each variant; the others follow.
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
    finding: Callable[[Results], Finding]
    claim: str = ""
    times: Callable[..., None] | None = None
    alone: bool = False
    seeds: int | Mapping[str, int] = 5
    first_seed: int = 0
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
        for label in self.labels:
            other = labels.get(slug(label))
            if other is not None or not slug(label):
                raise ValueError(
                    f"{self.name}: the label {label!r} is not distinct from {other or ''!r} in "
                    "file names"
                )
            labels[slug(label)] = label
        for label in self.labels:
            whole(self.name, "seeds", self.seeds_of(label))
        whole(self.name, "first_seed", self.first_seed, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all variants, "times" included."""
        return (*self.variants, *((TIMES,) if self.times else ()))

    def seeds_of(self, label: str) -> int:
        """Return the number of runs of a variant."""
        return self.seeds if isinstance(self.seeds, int) else self.seeds[label]


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
