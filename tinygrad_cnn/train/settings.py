"""Every setting of a run, stored in ``settings.json``."""

from __future__ import annotations

import json
import platform
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.data import Split
from tinygrad_cnn.optim import LRScheduler, Optimizer
from tinygrad_cnn.support.arguments import choice, flag, number, positive, typed, whole
from tinygrad_cnn.support.version import __version__
from tinygrad_cnn.train.choices import AUGMENTATIONS, OPTIMIZERS, SCHEDULES
from tinygrad_cnn.train.data_settings import DataSettings, with_preparation
from tinygrad_cnn.train.early_stopping import BestWeights, EarlyStopping
from tinygrad_cnn.train.errors import RunError
from tinygrad_cnn.train.history import COLUMNS
from tinygrad_cnn.train.interval import Interval
from tinygrad_cnn.train.loop import Callback
from tinygrad_cnn.train.metrics import METRICS, Metric, MetricFunction, checked_metrics
from tinygrad_cnn.train.model_file import MODEL_FILE, ModelFile
from tinygrad_cnn.train.tensorboard import LOGS

__all__ = ["DataSettings", "ModelSettings", "RunSettings", "TrainingSettings"]

FORMAT = 2
FORMATS = (1, FORMAT)  # 1 has no id and no changes
OWN_METRIC = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")
MONITORS = ("loss", "accuracy", *METRICS)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training settings; the defaults are for data without a recipe.

    Attributes
    ----------
    epochs : int
    batch_size : int
        0 for the whole set as one batch.
    optimizer, schedule, augment : str
        Keys of ``OPTIMIZERS``, ``SCHEDULES`` and ``AUGMENTATIONS``.
    lr : float
        The initial learning rate, or the maximum of a one-cycle schedule.
    weight_decay : float
    optimizer_options, schedule_options : dict
        Further arguments of the optimizer and of the schedule; see ``OPTIMIZERS["adam"].options``.
    seed : int
        The seed of all randomness.
    threads : int or None
        The maximum number of threads; None for the default of the machine.
    val_split : float
        The fraction of the training images set aside as validation set, drawn by the seed; 0 for
        none.
    metrics : tuple of str
        Further metrics per epoch: keys of ``METRICS``, or ``"path/to/file.py:name"``: a `Metric`
        or a function in the file of the model. Its column has the name.
    log : tuple of str
        Keys of ``LOGS``: logs besides history.csv and log.jsonl.
    log_every : int or None
        Also log running means after this many batches; None for only epochs.
    checkpoint_every : int or str
        The distance between two checkpoints within an epoch, in steps, or as a time such as "60s",
        "5m" or "1h". One is written after each epoch in any case.
    monitor : str or None
        The metric of the validation set that decides which epoch is the best: "loss", "accuracy" or
        a key of ``METRICS``, which is then measured, too. None for "loss".
    patience : int or None
        End training after this many epochs without a better one; None to train all epochs.
    sync_batch_norm : bool
        Whether batch norms of a distributed run take their statistics over all ranks, as one
        process does; otherwise over each rank's part of the batch.
    compile : bool
        Whether to compile the training step: see `fit`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> TrainingSettings(epochs=5, optimizer="sgd", lr=0.1).schedule
    'onecycle'
    >>> TrainingSettings(optimizer="adagrad", lr=0.0)
    Traceback (most recent call last):
    ValueError: train: lr is 0.0, expected a finite number > 0
    """

    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = 0.003
    schedule: str = "onecycle"
    augment: str = "none"
    weight_decay: float = 0.0
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    schedule_options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    threads: int | None = None
    val_split: float = 0.0
    metrics: tuple[str, ...] = ()
    checkpoint_every: int | str = "5m"
    monitor: str | None = None
    patience: int | None = None
    log: tuple[str, ...] = ()
    log_every: int | None = None
    sync_batch_norm: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        Interval.parse("train: checkpoint_every", self.checkpoint_every)
        flag("train", "sync_batch_norm", self.sync_batch_norm)
        flag("train", "compile", self.compile)
        for name in ("optimizer_options", "schedule_options"):
            object.__setattr__(self, name, _options(f"train: {name}", getattr(self, name)))
        whole("train", "epochs", self.epochs)
        whole("train", "batch_size", self.batch_size, 0)
        choice("train", "optimizer", self.optimizer, OPTIMIZERS)
        positive("train", "lr", self.lr)
        choice("train", "schedule", self.schedule, SCHEDULES)
        choice("train", "augment", self.augment, AUGMENTATIONS)
        number("train", "weight_decay", self.weight_decay)
        whole("train", "seed", self.seed, 0)
        if self.threads is not None:
            whole("train", "threads", self.threads)
        object.__setattr__(self, "metrics", tuple(self.metrics))
        for i, name in enumerate(self.metrics):
            if not OWN_METRIC.fullmatch(str(name)):
                choice("train", f"metrics[{i}]", name, METRICS)
        object.__setattr__(self, "log", tuple(self.log))
        for i, name in enumerate(self.log):
            choice("train", f"log[{i}]", name, LOGS)
        if self.log_every is not None:
            whole("train", "log_every", self.log_every)
        number("train", "val_split", self.val_split, below=1.0)
        if self.monitor is not None:
            choice("train", "monitor", self.monitor, MONITORS)
        if self.patience is not None:
            whole("train", "patience", self.patience)
        OPTIMIZERS[self.optimizer].check(f"train: {self.optimizer}", self.optimizer_options)
        SCHEDULES[self.schedule].check(f"train: {self.schedule}", self.schedule_options)
        self.make_schedule(self.make_optimizer([Parameter([0.0])]), updates=1)  # checks the values

    def set_aside(self, split: Split) -> Split:
        """Return `split` with the validation set of these settings, if they ask for one."""
        return split.with_validation(self.val_split, self.seed) if self.val_split else split

    def make_metrics(self, model_file: ModelFile | None = None) -> dict[str, Metric]:
        """Return the further metrics by name, with the monitored one.

        Parameters
        ----------
        model_file : ModelFile, optional
            The file of the model, which has the user's own metrics.

        Raises
        ------
        ValueError
            If one is in no such file, or its name is taken; `ModelFileError` if the file lacks it.
        """
        found: dict[str, Metric | MetricFunction] = {}
        for text in dict.fromkeys((*self.metrics, self.monitor)):
            own = OWN_METRIC.fullmatch(text or "")
            name = own["name"] if own else text
            if name is None or (own is None and name not in METRICS):
                continue  # loss and accuracy are measured anyway
            if name in found or (own is not None and name in METRICS):
                raise ValueError(f"train: there are two metrics with the name {name!r}")
            if own is None:
                found[name] = METRICS[name]
            elif model_file is None:
                raise ValueError(
                    f"train: {text} is not a metric of this model; expected a name in the file of "
                    f"a model of your own, or one of {', '.join(METRICS)}"
                )
            else:
                found[name] = model_file.metric(name)
        return checked_metrics("train", found, COLUMNS)

    def with_metrics_of(self, model: str) -> TrainingSettings:
        """Return these settings with the user's own metrics in the run's copy of the model's file.

        Parameters
        ----------
        model : str
            ``"path/to/file.py:Class"``, or the name of a built-in model.

        Raises
        ------
        ValueError
            If a metric is in another file.
        """
        path, metrics = Path(model.rpartition(":")[0]).resolve(), []
        for text in self.metrics:
            own = OWN_METRIC.fullmatch(text)
            if own is not None and Path(own["file"]).resolve() != path:
                raise ValueError(
                    f"train: the metric {text} is not in the file of the model, {model}; a run "
                    "keeps one file: import it there"
                )
            metrics.append(text if own is None else f"{MODEL_FILE}:{own['name']}")
        return replace(self, metrics=tuple(metrics))

    def make_best(self) -> BestWeights:
        """Return the callback that keeps the weights of the best epoch."""
        return BestWeights(monitor=f"validation_{self.monitor or MONITORS[0]}")

    def make_stopping(self) -> EarlyStopping | None:
        """Return the callback that ends training early; None without a patience."""
        if self.patience is None:
            return None
        return EarlyStopping(self.patience, f"validation_{self.monitor or MONITORS[0]}")

    def make_logs(self, folder: Path) -> list[Callback]:
        """Return the further logs; ModuleNotFoundError if a package is not installed."""
        return [LOGS[name](folder, self.log_every) for name in self.log]

    def make_optimizer(self, params: Iterable[Variable]) -> Optimizer:
        """Return the optimizer of these settings."""
        made: Optimizer = OPTIMIZERS[self.optimizer].make(
            params, lr=self.lr, weight_decay=self.weight_decay, **self.optimizer_options
        )
        return made

    def make_schedule(self, optimizer: Optimizer, updates: int) -> LRScheduler | None:
        """Return the schedule of `optimizer` for a run of this many updates; None if constant."""
        options = {**self.horizon(updates), **self.schedule_options}
        made: LRScheduler | None = SCHEDULES[self.schedule].make(optimizer, **options)
        return made

    def horizon(self, updates: int) -> dict[str, Any]:
        """Return the schedule's arguments that follow from the run's length, unless given."""
        of_run = SCHEDULES[self.schedule].of_run(self.lr, updates, self.epochs)
        return {k: value for k, value in of_run.items() if k not in self.schedule_options}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The model that was trained.

    Attributes
    ----------
    name : str
        A model of `tinygrad_cnn.nn.build`, or a class name.
    options : dict
        Options of `tinygrad_cnn.nn.build`.
    file : str or None
        The copy, in the run folder, of the user's own file.
    sha256 : str or None
        The hash of that file.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    file: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.options, dict):
            raise ValueError(f"model: got {self}, expected a name and options")
        lists = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        object.__setattr__(self, "options", lists)  # as JSON has them
        if (self.file is None) != (self.sha256 is None):
            raise ValueError(
                f"model: file is {self.file!r} and sha256 {self.sha256!r}, expected both or neither"
            )
        if self.file is not None and not self.name.isidentifier():
            raise ValueError(f"model: name is {self.name!r}, expected that of a class")


def _options(owner: str, options: Any) -> dict[str, Any]:
    """Return a copy of `options` with tuples for lists, which JSON makes of them."""
    if not isinstance(options, dict):
        raise ValueError(f"{owner} is {options!r}, expected options by name")
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }


def versions() -> dict[str, str]:
    """Return the versions of the package, NumPy and Python."""
    return {
        "tinygrad_cnn": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """All settings of a run.

    Attributes
    ----------
    data : DataSettings
    model : ModelSettings
    training : TrainingSettings
    versions : dict of str to str
        Versions of the package, NumPy and Python.
    id : str
        Names the run, so that the checkpoints of another one are noticed: a hash of the settings
        and the initial weights, from the start of training. It takes no part in comparisons.
    changes : tuple of dict
        What was changed when the run was resumed: after which ``epoch``, and by name [old, new].

    Examples
    --------
    >>> from tinygrad_cnn.data import digits
    >>> settings = RunSettings(
    ...     data=DataSettings.of(digits(), "digits"),
    ...     model=ModelSettings(name="lenet5"),
    ...     training=TrainingSettings(epochs=3),
    ... )
    >>> settings.data.input_shape, [round(mean, 4) for mean in settings.data.mean]
    ((1, 28, 28), [0.1311])
    >>> RunSettings.from_json(settings.to_json(), "settings.json") == settings
    True
    """

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    versions: dict[str, str] = field(default_factory=versions)
    id: str = field(default="", compare=False)
    changes: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", tuple(self.changes))

    def changed(self, source: str | None, **training: Any) -> RunSettings:
        """Return the settings with what is not None changed: what a resumed run may change."""
        given = {name: value for name, value in training.items() if value is not None}
        data = self.data if source is None else replace(self.data, source=source)
        return replace(self, training=replace(self.training, **given), data=data)

    def noting_changes(self, before: RunSettings, epoch: int) -> RunSettings:
        """Return the settings with a record of what differs from `before`, after an epoch."""
        old, new = (
            {**asdict(each.training), "source": each.data.source} for each in (before, self)
        )
        found = {name: [old[name], new[name]] for name in old if old[name] != new[name]}
        if not found:
            return self
        return replace(self, changes=(*self.changes, {"epoch": epoch, **found}))

    def to_json(self) -> str:
        """Return the settings as JSON."""
        contents = {"format": FORMAT, **asdict(self)}
        return json.dumps(contents, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str) -> RunSettings:
        """Read the output of `to_json`, also of an earlier or a later version.

        Raises
        ------
        RunError
            If it is invalid; with the file's `name`.

        Warns
        -----
        UserWarning
            If a later version wrote fields that this one does not know: they are left out.
        """
        try:
            contents = json.loads(text)
            format = contents.pop("format", None) if isinstance(contents, dict) else None
            if not isinstance(format, int) or format < min(FORMATS):
                raise ValueError("this is not a settings file: it has no format")
            if format not in FORMATS:
                contents = _without_unknown(contents, name)
            contents = {"versions": {}, **contents}  # not the current ones
            parts = {
                "data": _made(DataSettings, with_preparation(contents.pop("data", None))),
                "model": _made(ModelSettings, contents.pop("model", None)),
                "training": _made(TrainingSettings, contents.pop("training", None)),
            }
            return _made(cls, {**contents, **parts})
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise RunError(f"{name}: cannot be read: {error}") from error


def _without_unknown(contents: dict[str, Any], name: str) -> dict[str, Any]:
    """Leave out the fields of a later version, and say which."""
    kinds = {"data": DataSettings, "model": ModelSettings, "training": TrainingSettings}
    known: dict[str, Any] = {"": {each.name for each in fields(RunSettings)}}
    known |= {part: {each.name for each in fields(kind)} for part, kind in kinds.items()}
    unknown = [field for field in contents if field not in known[""]]
    for part in kinds:
        if isinstance(contents.get(part), dict):
            unknown += [f"{part}.{field}" for field in contents[part] if field not in known[part]]
            contents[part] = {k: v for k, v in contents[part].items() if k in known[part]}
    if unknown:
        warnings.warn(
            f"{name}: a later version wrote it; not known here, and left out: {', '.join(unknown)}",
            stacklevel=3,
        )
    return {field: value for field, value in contents.items() if field in known[""]}


def _made(kind: type[T], contents: Any) -> T:
    """Build a dataclass; fields missing in earlier versions get their defaults."""
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    if not isinstance(contents, Mapping):
        raise ValueError(f"{kind.__name__}: got {contents!r}, expected {', '.join(known)}")
    unknown = contents.keys() - known.keys()
    if unknown:
        raise ValueError(
            f"{kind.__name__}: unknown field {', '.join(sorted(unknown))}, perhaps from a later "
            f"version; expected {', '.join(known)}"
        )
    for name, each in known.items():
        optional = each.default is not MISSING or each.default_factory is not MISSING
        if name not in contents and not optional:
            raise ValueError(f"{kind.__name__}: {name} is missing")
    types = get_type_hints(kind)
    for name, value in contents.items():
        typed(kind.__name__, name, value, types[name])
    return kind(**contents)
