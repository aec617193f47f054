"""The training loop. Ten lines of your own can replace it."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.distributed.data_parallel import guard_of, unwrapped
from tinygrad_cnn.distributed.faults import OneRank, shared
from tinygrad_cnn.distributed.gradients import allow_empty
from tinygrad_cnn.nn import Module
from tinygrad_cnn.optim import LRScheduler, Optimizer
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.train.checkpoint import Checkpoint
from tinygrad_cnn.train.error_notes import noted
from tinygrad_cnn.train.evaluation import (
    Batches,
    Evaluation,
    Meter,
    check_batch,
    evaluated,
    in_mode,
)
from tinygrad_cnn.train.history import COLUMNS, Epoch, History
from tinygrad_cnn.train.metrics import Metric, MetricFunction, checked_metrics
from tinygrad_cnn.train.running_epoch import RunningEpoch
from tinygrad_cnn.train.training_step import FitStep, Loss, forward_pass

__all__ = ["Callback", "Progress", "TrainingDiverged", "fit"]


class TrainingDiverged(FloatingPointError):  # noqa: N818  # names an event
    """The loss or a weight became NaN or infinite, so training cannot continue.

    Attributes
    ----------
    epoch, batch : int
        Counted from 1.
    learning_rate : float
    """

    def __init__(self, what: str, epoch: int, batch: int, learning_rate: float) -> None:
        super().__init__(
            f"training diverged: {what} in epoch {epoch}, batch {batch}, at learning rate "
            f"{learning_rate:.3g}; try a smaller learning rate, such as {learning_rate / 10:.1g}"
        )
        self._what = what
        self.epoch = epoch
        self.batch = batch
        self.learning_rate = learning_rate

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = self._what, self.epoch, self.batch, self.learning_rate
        return type(self), arguments, self.__dict__


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of `fit` within an epoch, passed to `Callback.batch`.

    Attributes
    ----------
    epoch, batch : int
        Counted from 1.
    batches : int or None
        The number per epoch, if the loader has a length.
    images : int
        The number seen in this epoch.
    loss, accuracy : float
        Means over those images; on several ranks, the accuracy is of the images of this rank.
    seconds : float
        The time spent on those images.
    learning_rate : float
        The rate of the step.
    """

    epoch: int
    batch: int
    batches: int | None
    images: int
    loss: float
    accuracy: float
    seconds: float
    learning_rate: float = math.nan


class Callback:
    """Base class of callbacks of `fit`: override the methods you need.

    A callback ends training by returning True. The other callbacks are still called, and `fit`
    returns as after its last epoch. An exception ends training too, and propagates from `fit`;
    the model keeps its state.

    Examples
    --------
    >>> class StopAt(Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...
    ...     def epoch(self, history):
    ...         return history[-1].loss < self.loss

    One that adds a column to the history:

    >>> class GradientNorm(Callback):
    ...     metrics = {"gradient_norm": math.nan}  # of the last batch
    ...
    ...     def start(self, model, columns, history, epochs):
    ...         self.params = list(model.parameters())
    ...
    ...     def batch(self, progress):
    ...         squares = sum((p.grad ** 2).sum() for p in self.params if p.grad is not None)
    ...         self.metrics = {"gradient_norm": squares**0.5}
    """

    metrics: Mapping[str, float] = MappingProxyType({})
    """Values that become columns of the history, read at the end of each epoch. Their names are
    also read at the start: they must not change. An attribute or a property."""

    def start(
        self, model: Module, columns: Sequence[str], history: History, epochs: int
    ) -> bool | None:
        """Handle the start of `fit`; return True to train no epoch.

        Parameters
        ----------
        model : Module
        columns : sequence of str
            The columns of the history that this call of `fit` can fill: without a validation set,
            none of them starts with ``"validation_"``.
        history : History
            The epochs that are done already.
        epochs : int
            The total number of epochs.
        """

    def batch(self, progress: Progress) -> bool | None:
        """Handle the end of a training batch; return True to end the epoch here, and training."""

    def epoch(self, history: History) -> bool | None:
        """Handle the end of an epoch, the last of `history`; return True to end training."""

    def end(self, history: History) -> None:
        """Handle the end of `fit`; not called if an exception ends it."""

    def exception(self, history: History, error: BaseException) -> None:
        """Handle an exception, such as a KeyboardInterrupt, that ends `fit`; it is raised after."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: values that `tinygrad_cnn.save` can write."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` of another callback of this class returned."""
        if state_dict:
            raise ValueError(f"{type(self).__name__}: unexpected {', '.join(state_dict)}")


def fit(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    loader: Batches,
    *,
    epochs: int,
    validation: Batches | None = None,
    schedule: LRScheduler | None = None,
    clip_norm: float | None = None,
    callbacks: Sequence[Callback] = (),
    history: History | None = None,
    metrics: Mapping[str, Metric | MetricFunction] | None = None,
    checkpoint: Checkpoint | None = None,
    compile: bool = False,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
        Set to train mode during the call; its own mode is restored. A `DataParallel` is trained on
        the examples of all ranks: each passes its part, and gets the same history. A callback of
        any rank can end training.
    loss : callable
        ``loss(outputs, labels)``: the mean over a batch, as a Tensor of one element.
    optimizer : Optimizer
        An optimizer of the model's parameters, or of some of them: the others are not trained.
    loader : iterable of (images, labels)
        Batches of arrays, such as a `DataLoader`; iterated once per epoch.
    epochs : int
        The total number of epochs, including those in `history`.
    validation : iterable of (images, labels), optional
        The validation set, evaluated after every epoch.
    schedule : LRScheduler, optional
        A schedule of `optimizer`. It is stepped after every batch, or if its ``interval`` is
        "epoch", as `ReduceLROnPlateau`'s is, after every epoch. It gets the training loss, never
        the validation loss.
    clip_norm : float, optional
        Clip the gradient to this norm before each step.
    callbacks : sequence of Callback
        Called after every batch and epoch, and at the start and the end; each can end training by
        returning True. After a batch, this ends the epoch as well: it is validated and appended
        to the history like any other. Their `metrics` are further columns of the history.
    history : History, optional
        The completed epochs; the loop continues after them and appends to it. The ``epoch`` of a
        `DataLoader` is set to their number, so that orders and transforms are those of an
        uninterrupted run.
    metrics : mapping of str to Metric or function, optional
        Further metrics, as for `evaluate`, over the training examples and the validation set: the
        columns NAME and validation_NAME of the history.
    checkpoint : Checkpoint, optional
        Of the model and the optimizer. Training continues from the newest one in its folder, also
        within an epoch; one is written at its interval, after every epoch, and at Ctrl-C or
        SIGTERM after the current step. The bits are those of an uninterrupted run. It holds the
        history, the callbacks and the position of the loader, too; a loader without
        ``load_state_dict`` must yield the same batches again, which are skipped.
    compile : bool
        Capture the step for the first batch of each shape with `tinygrad_cnn.compile`, and replay
        it for the others, also in validation. With NumPy only, the bits are the same.

    Returns
    -------
    History
        One row per epoch, fewer than `epochs` if a callback ended training.

    Raises
    ------
    TrainingDiverged
        If a loss or a weight becomes NaN or infinite, or the validation loss NaN.
        The history has the epochs before.
    TrainingInterrupted
        After Ctrl-C or SIGTERM, with a `checkpoint`.
    ValueError
        If `epochs` is below 1, the optimizer has no parameter of the model, there is no batch, or
        `loss` returns more than one number; `DataError` if the loss is not finite because images or
        labels have NaN or infinity. With `compile`, if the model is a DataParallel on several
        ranks.
    CompileError
        With `compile`, if the step cannot be captured; the message has the line.
    TypeError
        If a callback returns anything but True, False or None, or has a metric that is not a
        number.

    Warns
    -----
    UserWarning
        If the optimizer has parameters of another model, and lacks some of this one, as after
        replacing a layer. Parameters of a `loss` that is a module do not count.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.data import DataLoader, digits
    >>> model = tg.nn.MLP((784, 16, 10), rng=np.random.default_rng(0))
    >>> optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
    >>> loader = DataLoader(digits().train[:500], batch_size=50, shuffle=True)
    >>> history = fit(model, tg.cross_entropy, optimizer, loader, epochs=3)
    >>> history[2].loss < history[0].loss
    True
    """
    whole("fit", "epochs", epochs)
    _check_parameters(model, loss, optimizer)
    if history is None:
        history = History()
    elif isinstance(loader, DataLoader):
        loader.epoch = len(history)
    further = checked_metrics("fit", metrics, COLUMNS)
    batches = len(loader) if isinstance(loader, Sized) else None
    columns = _columns(validation is not None, further)
    added = _added(callbacks, columns)
    ranks = guard_of(model)
    if ranks.size > 1:
        loss = allow_empty(loss)
    step = FitStep(model, loss, optimizer, clip_norm, compile)
    held_out = forward_pass("fit", model, loss, compile)
    running = RunningEpoch(loader, validation, Meter(further), ranks)
    with (
        checkpoint or nullcontext(),
        in_mode(model, training=True),
        np.errstate(over="ignore", invalid="ignore"),
        _exceptions(callbacks, history),
        noted("fit", lambda: running.place(len(history)), TrainingDiverged),
    ):
        if checkpoint is not None:
            _restore(checkpoint, history, running, callbacks)
        start = (unwrapped(model), (*columns, *added), history, epochs)
        running.stopped |= _any_true(ranks, callbacks, "start", *start)
        for epoch in range(len(history) + 1, epochs + 1):
            if running.stopped and not running.trained:
                break
            meter = running.meter
            started = perf_counter() - running.seconds
            batches_left = running.rest()
            for images, labels in batches_left:
                outputs, error = step.forward(Tensor._of(images), labels)
                value = float(error._array.item())
                batch, rate = running.batch, optimizer.lr
                mean = running.count(epoch, value, len(outputs._array))
                if not math.isfinite(mean):
                    with ranks.agreement(f"epoch {epoch}, batch {batch}: the loss"):
                        if not math.isfinite(value):
                            check_batch(
                                f"fit: epoch {epoch}, batch {batch}", images, labels, loader
                            )
                            raise TrainingDiverged(f"the loss is {value}", epoch, batch, rate)
                    raise shared(TrainingDiverged(f"the loss is {mean}", epoch, batch, rate))
                step.backward(error)
                step.update()
                if schedule is not None and schedule.interval == "batch":
                    schedule.step(mean)
                meter.add(value, outputs._array, labels)
                running.rate, running.seconds = rate, perf_counter() - started
                images_seen, mean = running.images, running.loss
                progress = Progress(
                    epoch,
                    batch,
                    batches,
                    images_seen,
                    mean,
                    meter.accuracy,
                    running.seconds,
                    rate,
                )
                if _any_true(ranks, callbacks, "batch", progress):
                    batches_left.close()  # so that the loader is at the next epoch
                    running.stopped = running.trained = True
                if checkpoint is not None:
                    if checkpoint.saves_next():
                        _check_finite(ranks, optimizer, epoch, batch, rate)
                    checkpoint.step()
            running.trained = True
            batch, rate = running.batch, running.rate
            if not batch:
                raise ValueError(f"fit: the loader has no batch in epoch {epoch}")
            _check_finite(ranks, optimizer, epoch, batch, rate)
            meter = meter.merged(ranks)
            tested = None
            if validation is not None:
                running.validates()
                held = validation if checkpoint is None else checkpoint.evaluating(validation)
                tested = evaluated(model, held, held_out, metrics)
            if tested is not None and not math.isfinite(tested.loss):
                what = "the validation loss is NaN or infinite"
                raise shared(TrainingDiverged(what, epoch, batch, rate))
            if schedule is not None and schedule.interval == "epoch":
                schedule.step(meter.loss)
            history.append(
                Epoch(
                    epoch=epoch,
                    loss=meter.loss,
                    accuracy=meter.accuracy,
                    validation_loss=tested.loss if tested else math.nan,
                    validation_accuracy=tested.accuracy if tested else math.nan,
                    learning_rate=rate,
                    seconds=perf_counter() - started,
                    images_per_second=meter.images / running.seconds,
                    metrics=meter.metrics | _prefixed(tested) | _added(callbacks, columns, added),
                )
            )
            running.begin(Meter(further))
            running.stopped |= _any_true(ranks, callbacks, "epoch", history)
            if checkpoint is not None:
                checkpoint.save()
        for callback in callbacks:
            callback.end(history)
    return history


def _check_parameters(model: Module, loss: Loss, optimizer: Optimizer) -> None:
    """Raise ValueError if `optimizer` cannot train `model`; warn if it probably does not."""
    own = dict(model.named_parameters())
    ids = {id(parameter) for parameter in own.values()}
    foreign = [parameter for parameter in optimizer.params if id(parameter) not in ids]
    if own and len(foreign) == len(optimizer.params):
        raise ValueError(
            f"fit: none of the optimizer's {len(foreign)} parameters is one of the model, a "
            f"{type(model).__name__}; expected an optimizer of model.parameters(), made after "
            "all layers are in place"
        )
    if model is not unwrapped(model) and isinstance(loss, Module) and [*loss.parameters()]:
        raise ValueError(
            f"fit: the loss, a {type(loss).__name__}, has parameters, of which DataParallel knows "
            "nothing; expected a loss without, or a model that contains them"
        )
    held = {id(parameter) for parameter in optimizer.params}
    left = [name for name, p in own.items() if id(p) not in held and p.requires_grad]
    if isinstance(loss, Module):
        of_loss = {id(parameter) for parameter in loss.parameters()}
        foreign = [parameter for parameter in foreign if id(parameter) not in of_loss]
    if foreign and left:
        several = ", ..." if len(left) > 5 else ""
        warnings.warn(
            f"fit: {len(foreign)} of the optimizer's parameters are not the model's, and it lacks "
            f"{', '.join(left[:5])}{several}, which will not be trained; if a layer was replaced, "
            "make the optimizer after that",
            stacklevel=3,
        )


def _check_finite(
    ranks: OneRank, optimizer: Optimizer, epoch: int, batch: int, rate: float
) -> None:
    with ranks.agreement(f"epoch {epoch}, batch {batch}: the parameters"):
        if not all(np.isfinite(parameter._array).all() for parameter in optimizer.params):
            raise TrainingDiverged("a parameter is NaN or infinite", epoch, batch, rate)


def _restore(
    checkpoint: Checkpoint,
    history: History,
    running: RunningEpoch,
    callbacks: Sequence[Callback],
) -> None:
    """Let `checkpoint` hold all of `fit`, and continue from the newest one."""
    checkpoint.track("history", history)
    checkpoint.track("epoch", running)
    number = Counter[str]()
    for callback in callbacks:
        name = type(callback).__name__
        number[name] += 1
        checkpoint.track(f"{name} {number[name]}", callback)
    checkpoint.restore_once()


def _columns(validated: bool, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Return the columns of the history that `fit` can fill."""
    known = (*COLUMNS, *metrics, *(f"validation_{name}" for name in metrics))
    return tuple(name for name in known if validated or not name.startswith("validation_"))


def _added(
    callbacks: Sequence[Callback], taken: Sequence[str], expected: Collection[str] | None = None
) -> dict[str, float]:
    """Return the metrics of the callbacks; else raise TypeError or ValueError."""
    found: dict[str, float] = {}
    for callback in callbacks:
        owner = f"fit: {type(callback).__name__}.metrics"
        for name, value in callback.metrics.items():
            if not isinstance(name, str) or not name or name in taken or name in found:
                raise ValueError(
                    f"{owner}: {name!r} is not a new column; there are {', '.join(taken)}"
                )
            real = isinstance(value, int | float | np.integer | np.floating)
            if not real or isinstance(value, bool):
                raise TypeError(f"{owner}[{name!r}] is {value!r}, expected a number")
            found[name] = float(value)
    if expected is not None and found.keys() != set(expected):
        raise ValueError(
            f"fit: the callbacks' metrics were {', '.join(expected) or 'none'} at the start, and "
            f"are {', '.join(found) or 'none'} now; expected the same names"
        )
    return found


@contextmanager
def _exceptions(callbacks: Sequence[Callback], history: History) -> Iterator[None]:
    """Pass an exception to the callbacks, and raise it."""
    try:
        yield
    except BaseException as error:
        for callback in callbacks:
            try:
                callback.exception(history, error)
            except Exception as other:
                owner = type(callback).__name__
                error.add_note(f"{owner}.exception raised {type(other).__name__}: {other}")
        raise


def _any_true(ranks: OneRank, callbacks: Sequence[Callback], method: str, *arguments: Any) -> bool:
    """Call a method of every callback; return whether one returned True, on any rank."""
    stops = False
    for callback in callbacks:
        answer = getattr(callback, method)(*arguments)
        if answer is not None and not isinstance(answer, bool | np.bool_):
            raise TypeError(
                f"fit: {type(callback).__name__}.{method} returned {answer!r}; expected True to "
                "end training, False or None"
            )
        stops |= bool(answer)
    return ranks.exchange(f"fit: the callbacks' {method}", stops)[0] > 0


def _prefixed(tested: Evaluation | None) -> dict[str, float]:
    """Return the further metrics of the validation set, by their columns."""
    metrics = tested.metrics if tested else {}
    return {f"validation_{name}": value for name, value in metrics.items()}
