"""Checkpoints: all state of a training, saved so that a resumed one has the same bits."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

from tinygrad_cnn.distributed.data_parallel import guard_of, unwrapped
from tinygrad_cnn.distributed.faults import shared
from tinygrad_cnn.nn import Module
from tinygrad_cnn.optim import LRScheduler, Optimizer
from tinygrad_cnn.support.files import remove_leftovers
from tinygrad_cnn.support.lock import FileLock, InUseError
from tinygrad_cnn.train import earlier
from tinygrad_cnn.train.errors import RunError
from tinygrad_cnn.train.global_random import global_random, set_global_random
from tinygrad_cnn.train.interruption import HANDLED, Signals, TrainingInterrupted
from tinygrad_cnn.train.interval import Interval
from tinygrad_cnn.train.own_state import load_own_state, of_rank, own_state
from tinygrad_cnn.train.state import read_state, write_state

__all__ = ["Checkpoint", "HasState", "checkpoints", "steps_of"]

FORMAT = 5
FIELDS = {"format", "steps", "model", "own", "random", "ranks", "parts"}
KEPT = 2
IDENTITY = "run"
LOCK = ".lock"
FILE = re.compile(r"checkpoint(?:-(\d{8,}))?\.safetensors")  # without a number: formats 1 to 4
UNUSABLE = ".unusable"

T = TypeVar("T")


@runtime_checkable
class HasState(Protocol):
    """Anything with ``state_dict()`` and ``load_state_dict(state)``."""

    def state_dict(self) -> Mapping[str, Any]: ...  # noqa: D102

    def load_state_dict(self, state_dict: Any, /) -> Any: ...  # noqa: D102


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest last: by their steps, not by any clock."""
    found = {path: FILE.fullmatch(path.name) for path in folder.glob("checkpoint*.safetensors")}
    return sorted((path for path, match in found.items() if match), key=steps_of)


def steps_of(path: Path) -> int:
    """Return the steps in the name of a checkpoint; -1 for one of format 1 to 4."""
    match = FILE.fullmatch(path.name)
    return int(match[1]) if match is not None and match[1] is not None else -1


class Checkpoint:
    """Saves all state of a training loop to a folder, and restores it: with the same bits.

    Used as a context manager, it holds the folder's lock, so that no second process trains there,
    and finishes a step before it ends for Ctrl-C or SIGTERM.

    Parameters
    ----------
    model : Module
        Parameters, buffers, and own state such as random generators. If it is a `DataParallel`, all
        ranks call the same methods; rank 0 reads and writes. Another number of ranks can continue.
    optimizer : Optimizer
    schedule : LRScheduler, optional
    loader : DataLoader or other object with ``state_dict()`` and ``load_state_dict()``, optional
        Its position within the epoch.
    folder : str or path-like
        Created on entering. The last two checkpoints are kept in it, each with a SHA-256 of its
        contents, as ``checkpoint-NNNNNNNN.safetensors``, where N is the number of steps.
    every : int or str, optional
        The distance between two checkpoints, in steps, or as a time: "60s", "5m", "1h". By default
        only `save` and the end of the ``with`` block write one.
    **further
        Other parts with ``state_dict()`` and ``load_state_dict()``, by name.

    Attributes
    ----------
    steps : int
        The number of steps so far, including those before a resume.

    Raises
    ------
    TypeError
        If a part has no ``state_dict()`` or ``load_state_dict()``.
    ValueError
        If `every` is not a number of steps or a time.
    RunError
        On entering, if another process holds the folder.

    See Also
    --------
    fit : Takes a checkpoint, and does all of this.

    Notes
    -----
    A checkpoint is written under a temporary name, flushed and renamed, and the folder is flushed.
    It holds no pickle. The default generator (see `manual_seed`) and the global ones of `random`
    and `numpy.random` are saved and restored, too.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> def train(folder, epochs):
    ...     model = tg.nn.Linear(2, 1, rng=np.random.default_rng(0))
    ...     optimizer = tg.optim.Adam(model.parameters())
    ...     x = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    ...     loader = tg.data.DataLoader((x, x[:, :1]), batch_size=2, shuffle=True)
    ...     with Checkpoint(model, optimizer, loader=loader, folder=folder, every=3) as checkpoint:
    ...         checkpoint.restore()
    ...         for _ in range(loader.epoch, epochs):
    ...             for inputs, targets in loader:
    ...                 optimizer.zero_grad()
    ...                 tg.mse(model(inputs), targets).backward()
    ...                 optimizer.step()
    ...                 checkpoint.step()
    ...         return checkpoint.steps
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     train(folder, epochs=1), train(folder, epochs=3)
    (4, 12)
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: LRScheduler | None = None,
        loader: HasState | None = None,
        *,
        folder: str | Path,
        every: int | str | None = None,
        **further: HasState,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Checkpoint: model is {type(model).__name__}, expected a Module")
        # The schedule first: it sets a rate, which the optimizer's own state then replaces.
        parts = {"schedule": schedule, "optimizer": optimizer, "loader": loader}
        self._parts = {name: part for name, part in parts.items() if part is not None}
        for name, part in {**self._parts, **further}.items():
            _check_part(name, part)
        self._ranks = guard_of(model)
        self.model = unwrapped(model)
        self.optimizer = optimizer
        self.schedule = schedule
        self.folder = Path(folder)
        self.every = Interval.parse("Checkpoint: every", every)
        self.steps = 0
        self._given, self._further = tuple(further), dict(further)
        self._unclaimed: dict[str, Any] = {}  # restored states of parts that are not known yet
        self._restored = False
        self._rejected: list[Path] = []
        self._depth, self._entered = 0, ExitStack()  # the blocks around, and what the first holds
        self._lock = FileLock(self.folder / LOCK)
        self._signals = Signals()
        self._signal: int | None = None  # that ends the training, on all ranks
        self._saves: bool | None = None  # whether the next step saves, once that is decided
        self._saved = -1, time.monotonic()  # the steps and the time of the last checkpoint

    # --- saving ----------------------------------------------------------------------------------

    def save(self) -> Path:
        """Write a checkpoint, and remove all but the last two.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OSError
            If it cannot be written. Earlier checkpoints are then as they were.
        TypeError
            If a part's state holds something other than numbers, texts and arrays.
        RunError
            If the folder has a checkpoint of a later step, which was not restored.
        """
        path = self.folder / f"checkpoint-{self.steps:08}.safetensors"
        state = self._state()
        with self._ranks.agreement(f"the checkpoint of step {self.steps}"):
            if not self._ranks.rank:
                self._write(path, state)
        self._rejected = []
        self._saved = self.steps, time.monotonic()
        return path

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for rejected in self._rejected:  # of another run, perhaps: it is not deleted
            with suppress(FileNotFoundError):
                rejected.rename(_unused(rejected.with_name(rejected.name + UNUSABLE)))
        newest = steps_of((checkpoints(self.folder) or [path])[-1])
        if newest > self.steps:
            raise RunError(
                f"{self.folder}: has a checkpoint of step {newest}, and this one is of step "
                f"{self.steps}: call restore() before training, or choose another folder"
            )
        write_state(path, state)
        for old in checkpoints(self.folder)[:-KEPT]:
            old.unlink(missing_ok=True)

    def step(self) -> None:
        """Count a finished step; save if it is time, or if the program is to end.

        Raises
        ------
        TrainingInterrupted
            After saving, if Ctrl-C or SIGTERM came.
        OSError
            As `save`.
        """
        saves = self.saves_next()
        self.steps, self._saves = self.steps + 1, None
        if self._signal is not None:
            self._end(self._signal)
        if saves:
            self.save()

    def saves_next(self) -> bool:
        """Return whether the next `step` will save; that does not change until then."""
        if self._saves is None:
            steps, seconds = self._saved
            due = self.every.due(self.steps + 1 - max(steps, 0), time.monotonic() - seconds)
            due = self._agreed(f"step {self.steps + 1}", due)
            self._saves = due or self._signal is not None
        return self._saves

    def _agreed(self, where: str, due: bool = False) -> bool:
        """Return whether rank 0 finds a checkpoint due; learn of signals to any rank."""
        if self._ranks.size == 1:
            self._signal = self._signals.received
            return due
        came = [float(self._signals.received == signum) for signum in HANDLED]
        on_rank_0 = float(due and not self._ranks.rank)
        *received, due_there = self._ranks.exchange(f"checkpoint: {where}", *came, on_rank_0)
        found = [signum for signum, count in zip(HANDLED, received, strict=True) if count]
        self._signal = max(found, default=self._signal)
        return bool(due_there)

    def evaluating(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches of an evaluation, which Ctrl-C and SIGTERM end, too.

        A resumed training begins the evaluation again, with the state it began with.
        """
        if self._ranks.size > 1:  # each has another number of batches: the next step ends them
            yield from batches
            return
        before = own_state(self.model), global_random()
        for batch in batches:
            if self._signals.received is not None:
                load_own_state(self.model, before[0])
                set_global_random(before[1])
                self._end(self._signals.received)
            yield batch

    def _end(self, signum: int) -> None:
        self.save()
        raise shared(TrainingInterrupted(signum))

    def _state(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "steps": self.steps,
            "model": self.model.state_dict(),
            **self._random_states(),
            "parts": {
                **self._unclaimed,
                **{name: part.state_dict() for name, part in self._all_parts().items()},
            },
        }

    def _random_states(self) -> dict[str, Any]:
        """Return the own states of the model and the generators, of all ranks."""
        state = {"own": own_state(self.model), "random": global_random()}
        first, *others = self._ranks.gather("checkpoint: the generators", state)
        return {**first, "ranks": others} if others else first

    def _all_parts(self) -> dict[str, HasState]:
        return {**self._parts, **self._further}

    # --- restoring -------------------------------------------------------------------------------

    def restore(self) -> bool:
        """Restore the newest checkpoint that is not damaged; return false if there is none.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        RunError
            If there are checkpoints but none can be used; all are named, and nothing is changed.

        Warns
        -----
        UserWarning
            If a newer one is damaged or does not fit: it is named, and the one before is used.
        """
        self._restored, self._rejected = True, []
        found = self._ranks.on_rank_0("the checkpoints", lambda: checkpoints(self.folder))
        before = self._state() if found else {}
        problems: list[str] = []
        for path in reversed(found):
            try:
                self._load(path)
            except (RunError, OSError) as error:
                problems.append(str(error))
                self._rejected.append(path)
                continue
            if problems and not self._ranks.rank:
                warnings.warn(
                    f"{'; '.join(problems)}. Training continues from the checkpoint before, "
                    f"{path.name}",
                    stacklevel=2,
                )
            return True
        if problems:
            self._set(before)
            raise RunError(f"{'; '.join(problems)}. There is no other checkpoint")
        return False

    def restore_once(self) -> None:
        """Restore the newest checkpoint, unless that was done."""
        if not self._restored:
            self.restore()

    def track(self, name: str, part: HasState) -> None:
        """Add a part, and restore its state if a restored checkpoint has it."""
        _check_part(name, part)
        self._further[name] = part
        if name in self._unclaimed:
            part.load_state_dict(self._unclaimed.pop(name))

    def unclaimed(self, name: str) -> dict[str, Any]:
        """Return the restored state of a part that is not tracked yet; empty if there is none."""
        found: dict[str, Any] = self._unclaimed.get(name, {})
        return found

    def in_folder(self, folder: Path) -> Checkpoint:
        """Return this checkpoint, which writes to `folder` from now on."""
        if folder != self.folder:
            self.folder, self._lock = folder, FileLock(folder / LOCK)
        return self

    def _load(self, path: Path) -> None:
        """Set everything to a checkpoint; RunError if it cannot be used."""
        state = self._ranks.on_rank_0(f"reading {path}", lambda: read_state(path))
        with self._ranks.agreement(f"restoring {path}"):
            self._load_state(path, state)

    def _load_state(self, path: Path, state: dict[str, Any]) -> None:
        try:
            if state["format"] != FORMAT:
                state = earlier.converted(state, self.model, self.optimizer, self.schedule)
            if unknown := state.keys() - FIELDS:
                raise ValueError(
                    f"unknown field {', '.join(sorted(unknown))}, perhaps from a later version"
                )
            named = steps_of(path)
            if named not in (-1, state["steps"]):
                raise ValueError(f"it is of step {state['steps']}; its name says {named}")
            self._set(state)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise RunError(f"{path}: does not fit the training: {error}") from error

    def _set(self, state: dict[str, Any]) -> None:
        unread = dict(state["parts"])
        parts = {**self._further, **self._parts}  # first the one that refuses another run
        for name, part in parts.items():
            if name in unread:
                part.load_state_dict(unread.pop(name))
            elif name in self._parts:
                raise ValueError(f"it has no {name}")
            elif name in self._given and name != IDENTITY:  # which formats 1 to 4 lack
                warnings.warn(
                    f"the checkpoint has no {name}: it starts from its initial state", stacklevel=4
                )
        if unread.keys() & {"schedule", "loader"}:
            raise ValueError(f"it has a {min(unread)}, but the training has none")
        self.model.load_state_dict(state["model"])
        own, generators = state["own"], {**global_random(), **state["random"]}
        if rank := self._ranks.rank:
            others = state.get("ranks", [])
            if rank <= len(others):
                own, generators = others[rank - 1]["own"], others[rank - 1]["random"]
            else:
                own, generators = of_rank(rank, own, generators)
        load_own_state(self.model, own)
        set_global_random(generators)
        self.steps = state["steps"]
        self._unclaimed = unread
        self._saved = self.steps, time.monotonic()

    # --- lock and signals ------------------------------------------------------------------------

    def __enter__(self) -> Checkpoint:
        if not self._depth:
            with ExitStack() as entered:
                with self._ranks.agreement(f"the lock of {self.folder}"):
                    if not self._ranks.rank:
                        self._hold_folder(entered)
                entered.enter_context(self._signals)
                self._entered = entered.pop_all()
            self._signal = self._saves = None
        self._depth += 1
        return self

    def _hold_folder(self, entered: ExitStack) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            entered.enter_context(self._lock)
        except InUseError as error:
            raise RunError(f"{self.folder}: is being trained in already: {error}") from None
        self._check_newest()
        remove_leftovers(self.folder)

    def _check_newest(self) -> None:
        """Refuse a folder in which another process has trained since the state was restored."""
        usable = [path for path in checkpoints(self.folder) if path not in self._rejected]
        if self._restored and usable and steps_of(usable[-1]) > self.steps:
            raise RunError(
                f"{self.folder}: has been trained on meanwhile, to step {steps_of(usable[-1])}: "
                "resume again"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        with self._entered:
            if kind is None and self.steps > self._saved[0]:
                self.save()
        self._restored = False  # used again, it continues from what is in the folder
        if kind is None:
            self._agreed("the end")
            if self._signal is not None:
                raise shared(TrainingInterrupted(self._signal))


def _unused(path: Path) -> Path:
    """Return the path, with a number if it exists."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not each.exists())


def _check_part(name: str, part: Any) -> None:
    if not isinstance(part, HasState):
        raise TypeError(
            f"Checkpoint: {name} is {type(part).__name__}, expected an object with state_dict() "
            "and load_state_dict()"
        )
