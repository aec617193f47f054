"""`TrainingRun`: a complete run, from settings to a run folder."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import data, ops
from tinygrad_cnn.data import Compose, DataLoader, Dataset, Split
from tinygrad_cnn.distributed.data_parallel import DataParallel
from tinygrad_cnn.distributed.faults import ONE_RANK, OneRank
from tinygrad_cnn.distributed.ranks import guard
from tinygrad_cnn.distributed.sampler import DistributedSampler
from tinygrad_cnn.distributed.sync_batch_norm import convert_sync_batchnorm
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.arguments import choice
from tinygrad_cnn.train.checkpoint import Checkpoint
from tinygrad_cnn.train.choices import AUGMENTATIONS
from tinygrad_cnn.train.data_settings import DataSettings, located
from tinygrad_cnn.train.errors import ModelFileError, RunError
from tinygrad_cnn.train.evaluation import Evaluation, evaluate
from tinygrad_cnn.train.global_random import seeded_globally, seeded_states
from tinygrad_cnn.train.history import History
from tinygrad_cnn.train.json_lines import JSONLines
from tinygrad_cnn.train.loop import Callback, fit
from tinygrad_cnn.train.model_choice import chosen_model
from tinygrad_cnn.train.model_file import ModelFile
from tinygrad_cnn.train.onnx_file import OnnxFile
from tinygrad_cnn.train.own_state import is_ours, of_rank, own_state, warn_of_unsaved_state
from tinygrad_cnn.train.run_folder import WEIGHTS, RunFolder, build_model
from tinygrad_cnn.train.run_identity import RunIdentity, run_id
from tinygrad_cnn.train.settings import RunSettings, TrainingSettings
from tinygrad_cnn.train.state import write_weights

__all__ = ["TrainingRun"]

EVALUATION_BATCH = 250


class TrainingRun:
    """A run built from settings; the same settings give bit-identical results.

    Nothing is written before `train`.

    Parameters
    ----------
    settings : RunSettings
    split : Split
        The data, which must match the settings' hashes. They are normalized with the mean and
        deviation of the settings, which may not be theirs: a model trained further sees its images
        as before. For new data, use the settings ``data.of_split(split)``.
    model_file : ModelFile, optional
        The file of a user-defined model.
    weights : mapping of str to ndarray, optional
        Initial weights, named as in ``state_dict()``, instead of values drawn from the seed: to
        continue from another run, on other data or with other settings.
    distributed : bool
        Whether to train on all ranks of the program, which do the same. Each batch is divided
        among them; rank 0 writes. The history is that of one process, but for rounding and for the
        random numbers of augmentation and dropout.

    Attributes
    ----------
    settings : RunSettings
    split : Split
    model : Module
    optimizer : Optimizer
    schedule : LRScheduler or None
    loader, test_loader : DataLoader
    validation_loader : DataLoader or None
        Of the validation set, if there is one. Without, the metrics of validation in the history
        are those of the test set.
    history : History
        The completed epochs.
    best : BestWeights or None
        The weights of the best epoch by the validation set, if there is one.
    stopping : EarlyStopping or None
        What ends training early, if the settings have a patience.

    Raises
    ------
    ValueError
        If the data do not match the settings, patience or monitor are set without a validation set,
        the model cannot be built for such images or does
        not return one logit per class, or the weights do not match.

    Examples
    --------
    >>> from dataclasses import replace
    >>> first = TrainingRun.new("digits", "mlp", TrainingSettings(epochs=1))
    >>> few = Split(first.split.train[:320], first.split.test)
    >>> settings = replace(first.settings, data=first.settings.data.of_split(few))
    >>> second = TrainingRun(settings, few, weights=first.model.state_dict())
    >>> second.test().accuracy == first.test().accuracy, len(second.loader)
    (True, 5)
    """

    def __init__(
        self,
        settings: RunSettings,
        split: Split,
        model_file: ModelFile | None = None,
        weights: Mapping[str, NDArray[Any]] | None = None,
        *,
        distributed: bool = False,
    ) -> None:
        self._ranks = _ranks(distributed)
        settings = self._ranks.broadcast("the settings", settings)
        with self._ranks.agreement("preparing the run"):
            self._prepare(settings, split, model_file, weights)
        self._trained: Module = self.model
        if self._ranks.size > 1:
            self._divide()

    def _prepare(
        self,
        settings: RunSettings,
        split: Split,
        model_file: ModelFile | None,
        weights: Mapping[str, NDArray[Any]] | None,
    ) -> None:
        settings.data.check_split(split)
        training = settings.training
        _check_validation(training, split)
        for_model, for_loader, for_others = np.random.SeedSequence(training.seed).spawn(3)
        normalize = settings.data.normalize()
        self.settings = settings
        self.split = split
        self.model_file = model_file
        self._random = seeded_states(for_others)
        with seeded_globally(self._random):
            self.model = build_model(settings, model_file, np.random.default_rng(for_model))
        if weights is not None:
            self.model.load_state_dict(weights)
        self.loader = self._loader(
            split.train,
            training.batch_size or None,
            shuffle=True,
            seed=int(for_loader.generate_state(1, np.uint64)[0]),
            transform=Compose(*AUGMENTATIONS[training.augment], normalize),
        )
        self.test_loader = self._loader(split.test, EVALUATION_BATCH, transform=normalize)
        self.validation_loader = (
            self._loader(split.validation, EVALUATION_BATCH, transform=normalize)
            if split.validation is not None
            else None
        )
        self.optimizer = training.make_optimizer(self.model.parameters())
        updates = len(self.loader) * training.epochs
        self.schedule = training.make_schedule(self.optimizer, updates)
        self.history = History()
        self.best = training.make_best() if split.validation is not None else None
        self.stopping = training.make_stopping()
        self._checkpoint: Checkpoint | None = None
        self._begun: dict[int, int] = {}  # by its number of steps, the epochs before an epoch
        self._metrics = training.make_metrics(model_file)
        training.make_logs(Path())  # a package may be missing: before anything is written

    def _loader(
        self, dataset: Dataset, batch_size: int | None, shuffle: bool = False, **options: Any
    ) -> DataLoader:
        """Return a loader of this rank's part of each batch."""
        if self._ranks.size == 1:
            return DataLoader(dataset, batch_size, shuffle=shuffle, **options)
        sampler = DistributedSampler(dataset, shuffle)
        return DataLoader(dataset, batch_size, sampler=sampler, **options)

    def _divide(self) -> None:
        """Let all ranks train the model; a collective."""
        if self.settings.training.sync_batch_norm:
            convert_sync_batchnorm(self.model)
        with seeded_globally(self._random):
            self._trained = DataParallel(self.model)  # with generators of this rank
        if rank := self._ranks.rank:
            others = {name: state for name, state in self._random.items() if name != "default"}
            self._random.update(of_rank(rank, {}, others)[1])

    @classmethod
    def new(
        cls,
        source: str,
        model: str,
        training: TrainingSettings,
        options: Mapping[str, Any] | None = None,
        *,
        size: tuple[int, int] | None = None,
        grayscale: bool | None = None,
        distributed: bool = False,
        loaded: MutableMapping[str, tuple[Split, DataSettings]] | None = None,
    ) -> TrainingRun:
        """Prepare a new run.

        Parameters
        ----------
        source : str
            The argument of `tinygrad_cnn.data.load`.
        model : str
            A key of `tinygrad_cnn.nn.MODELS`, ``"path/to/file.py:Class"``, or
            ``"path/to/file.onnx"``, which is trained further: on images normalized as before, if
            the file says how, as those of ``tinygrad-cnn export`` do.
        training : TrainingSettings
            See `recipe`.
        options : mapping, optional
            Options of the model, as for `tinygrad_cnn.nn.build`.
        size : tuple (H, W), optional
        grayscale : bool, optional
            How to read a folder of images, as for `tinygrad_cnn.data.load`.
        distributed : bool
            See `TrainingRun`. Each rank reads the data, which must be the same.
        loaded : mutable mapping, optional
            Keeps the data that were read last, for further calls with the same.

        Returns
        -------
        TrainingRun
            Ready to `train`.

        Raises
        ------
        ValueError
            If there is no such model or option, or it does not match the data; `ModelFileError` if
            its file cannot be used; `DataError` if the data cannot be loaded.
        """
        training = training.with_metrics_of(model)
        ranks = _ranks(distributed)
        model_settings, model_file = ranks.on_rank_0(
            "the model", lambda: chosen_model(model, dict(options or {}))
        )
        loaded = {} if loaded is None else loaded
        key = repr((source, size, grayscale, training.val_split, training.seed))
        if key not in loaded:
            with ranks.agreement("loading the data"), ranks.rank_0_first("loading the data"):
                split = training.set_aside(data.load(source, size=size, grayscale=grayscale))
            loaded.clear()
            loaded[key] = split, DataSettings.of(split, located(source), size, grayscale)
        split, of_data = loaded[key]
        exported = model_file.run_settings() if isinstance(model_file, OnnxFile) else None
        if exported is not None and exported.data.input_shape[0] == of_data.input_shape[0]:
            of_data = replace(of_data, mean=exported.data.mean, std=exported.data.std)
        settings = RunSettings(data=of_data, model=model_settings, training=training)
        return cls(settings, split, model_file, distributed=distributed)

    @classmethod
    def resumed(
        cls,
        folder: RunFolder,
        split: Split | None = None,
        *,
        epochs: int | None = None,
        source: str | None = None,
        checkpoint_every: int | str | None = None,
        patience: int | None = None,
        distributed: bool = False,
    ) -> TrainingRun:
        """Prepare to resume the run in `folder`, perhaps with changes.

        Parameters
        ----------
        folder : RunFolder
            The folder of a run started by `train`, with or without given weights.
        split : Split, optional
            The data of the run, if they were made in code; by default they are loaded again. They
            must be unchanged.
        epochs : int, optional
            Another number of epochs in all. A schedule over all epochs is spread over them from
            here on, as if it had been planned so.
        source : str, optional
            Where the data are now, if they have moved; they must be unchanged.
        checkpoint_every : int or str, optional
        patience : int, optional
            See `TrainingSettings`.
        distributed : bool
            See `TrainingRun`. The number of ranks may be another than before, and 1. With the same
            number the bits are those of an uninterrupted run.

        Returns
        -------
        TrainingRun
            In the state of its newest undamaged checkpoint, perhaps within an epoch.

        Raises
        ------
        RunError
            If a file in it is missing or damaged, or the data have changed. A run that has
            settings has a checkpoint: without one, it would continue from other weights.
        ValueError
            If `epochs` is below the number of finished epochs, or `patience` is given for a run
            without a validation set.

        Warns
        -----
        UserWarning
            If the newest checkpoint is damaged, or of another run, and the one before is used.
        """
        ranks = _ranks(distributed)

        def read_settings() -> RunSettings:
            folder.rebuild_settings()
            return folder.read_settings()

        before = ranks.on_rank_0("the settings", read_settings)
        settings = before.changed(
            source, epochs=epochs, checkpoint_every=checkpoint_every, patience=patience
        )
        loaded = split is None
        with ranks.agreement("loading the data"), ranks.rank_0_first("loading the data"):
            if split is None:
                split = settings.training.set_aside(settings.data.load())
            try:
                settings.data.check_split(split)
                if loaded and settings.data.training_sha256 is None:
                    settings.data.check_statistics(split.train)
            except ValueError as error:
                source = f"{settings.data.source} has changed since the run"
                what = source if loaded else "the run used other data"
                raise RunError(f"{folder.settings}: {what}: {error}") from error
        if patience is not None and split.validation is None:
            raise ValueError(
                f"resume: patience is {patience}, but the run has no validation set, and cannot "
                "get one: leave it out, or train a new run with val_split=0.1 (--val-split 0.1)"
            )
        settings = replace(settings, data=settings.data.of_split(split))  # with its hashes
        model_file = ranks.on_rank_0("the model", lambda: folder.read_model_file(settings))
        try:
            run = cls(settings, split, model_file, distributed=distributed)
        except (ModelFileError, RunError):
            raise
        except ValueError as error:
            raise RunError(f"{folder.settings}: {error}") from error
        run._restore(folder, before)
        return run

    @property
    def batches_done(self) -> int:
        """The number of finished batches of the epoch in which a resumed run continues."""
        return int(self._position().get("batch", 0))

    def saved(self, folder: RunFolder) -> tuple[int, int]:
        """Return the epochs and the further batches that the folder's newest checkpoint has."""
        begun = [steps for steps in self._begun if steps <= folder.steps]
        if not begun:  # it was not trained here
            return len(self.history), self.batches_done
        return self._begun[max(begun)], folder.steps - max(begun)

    @property
    def complete(self) -> bool:
        """Whether all epochs are done, or a callback has ended training."""
        if self.stopping is not None:
            self.stopping.follow(self.history)
            if self.stopping.stopped:
                return True
        return len(self.history) >= self.settings.training.epochs

    def _position(self) -> dict[str, Any]:
        """Return the state of the epoch in which a resumed run continues, before it does."""
        return {} if self._checkpoint is None else self._checkpoint.unclaimed("epoch")

    def train(self, folder: RunFolder, callbacks: Sequence[Callback] = ()) -> History:
        """Train to the last epoch, and save to `folder` after each.

        Parameters
        ----------
        folder : RunFolder
            Gets a checkpoint and the settings at once, checkpoints within an epoch as the settings
            say, and weights, history and a checkpoint after every epoch; and the logs. No other
            process can train in it meanwhile.
        callbacks : sequence of Callback
            As for `fit`; of several ranks, those of rank 0.

        Returns
        -------
        History
            One row per epoch.

        Raises
        ------
        TrainingDiverged
            As `fit`. The folder has the last good epoch.
        TrainingInterrupted
            After Ctrl-C or SIGTERM: the step was finished, and the folder has its checkpoint.
        RunError
            If another process trains in the folder, or it has checkpoints of another run.
        OSError
            If a file cannot be written.

        Warns
        -----
        UserWarning
            If the model has state of its own that cannot be saved: a resumed run is then not
            bit-identical. The default generator, and NumPy's and Python's global ones, are seeded
            inside, and restored.
        """
        with seeded_globally(dict(self._random)):
            first = DataLoader(self.split.train, 2, transform=self.test_loader.transform)
            warn_of_unsaved_state(self.model, next(iter(first))[0])
        with self._ranks.agreement("the checkpoints"):
            checkpoint = self._checkpoint_in(folder)
        with seeded_globally(self._random), checkpoint:
            if self._checkpoint is None:  # before the settings, which are in it, too
                self.settings = replace(self.settings, id=run_id(self.settings, self.model))
                checkpoint.save()
            self._begun = {checkpoint.steps - self.batches_done: len(self.history)}
            with self._ranks.agreement("the settings"):
                if not self._ranks.rank:
                    folder.write_settings(self.settings, self.model_file)
                    if self.history and not self.batches_done:
                        self._save_weights(folder)  # a process that was killed may not have
            return fit(
                self._trained,
                ops.cross_entropy,
                self.optimizer,
                self.loader,
                epochs=self.settings.training.epochs,
                validation=self.validation_loader or self.test_loader,
                schedule=self.schedule,
                callbacks=self._callbacks(folder, checkpoint, callbacks),
                history=self.history,
                metrics=self._metrics,
                checkpoint=checkpoint,
                compile=self.settings.training.compile,
            )

    def _callbacks(
        self, folder: RunFolder, checkpoint: Checkpoint, further: Sequence[Callback]
    ) -> list[Callback]:
        """Return the callbacks of this rank; only rank 0 writes."""
        followers: list[Callback] = [x for x in (self.best, self.stopping) if x is not None]
        if self._ranks.rank:
            return followers
        if self.best is not None:
            self.best.path = folder.best
        logs = (
            JSONLines(folder.log, self.settings.training.log_every),
            *self.settings.training.make_logs(folder.path),
        )
        return [*followers, _Saver(self, folder, checkpoint), *logs, *further]

    def test(self, weights: str | None = None) -> Evaluation:
        """Evaluate the model on the test images.

        Parameters
        ----------
        weights : {"best", "last"}, optional
            Those of the best epoch by the validation set, or those of the last epoch. By default
            the best, and the last if there is no validation set.

        Returns
        -------
        Evaluation
            The model keeps the weights that it has.

        Raises
        ------
        ValueError
            If there are no best weights.
        """
        choice("test", "weights", weights, (None, *WEIGHTS))
        if weights == "best" and self.best is None:
            raise ValueError("test: weights is 'best', but the run has no validation set")
        best = None if weights == "last" else self.best
        with nullcontext() if best is None else best.restored(self.model):
            return evaluate(self._trained, self.test_loader, metrics=self._metrics)

    def _save_weights(self, folder: RunFolder) -> None:
        """Write the weights and the history."""
        own = {} if is_ours(self.model) else own_state(self.model)
        epoch = {"epoch": str(len(self.history))}
        write_weights(folder.weights, self.model.state_dict(), own, epoch)
        self.history.to_csv(folder.history)

    def _checkpoint_in(self, folder: RunFolder) -> Checkpoint:
        """Return the checkpoint that the run was resumed from, or a new one."""
        if self._checkpoint is not None:
            return self._checkpoint.in_folder(folder.path)
        if folder.checkpoints:
            raise RunError(
                f"{folder.path}: has the checkpoints of a run; resume it, or choose a new folder"
            )
        return self._new_checkpoint(folder, self._identity())

    def _identity(self) -> RunIdentity:
        return RunIdentity(lambda: self.settings, self.model_file)

    def _new_checkpoint(self, folder: RunFolder, identity: RunIdentity) -> Checkpoint:
        return Checkpoint(
            self._trained,
            self.optimizer,
            self.schedule,
            folder=folder.path,
            every=self.settings.training.checkpoint_every,
            run=identity,
            history=self.history,
        )

    def _restore(self, folder: RunFolder, before: RunSettings) -> None:
        """Restore the newest checkpoint; `before` are the settings without changes."""
        new = {} if self.schedule is None else dict(self.schedule.state_dict())
        identity = self._identity()
        checkpoint = self._new_checkpoint(folder, identity)
        with seeded_globally(self._random):
            if not checkpoint.restore():
                raise RunError(
                    f"{folder.path}: has settings but no checkpoint: without, the run would begin "
                    "again with other weights; start a new one"
                )
        self._checkpoint = checkpoint
        self.settings = self.settings.noting_changes(before, len(self.history))
        training, done = self.settings.training, len(self.history) + bool(self.batches_done)
        if training.epochs == before.training.epochs == identity.epochs(before):
            return
        if training.epochs < done:
            raise ValueError(f"resume: epochs is {training.epochs}, but {done} are done or begun")
        if self.schedule is not None:
            length = training.horizon(len(self.loader))
            planned = {name: value for name, value in new.items() if name in length}
            self.schedule.load_state_dict({**self.schedule.state_dict(), **planned})


def _check_validation(training: TrainingSettings, split: Split) -> None:
    """Raise ValueError if a setting needs a validation set and there is none."""
    for name in ("patience", "monitor"):
        value = getattr(training, name)
        if value is not None and split.validation is None:
            raise ValueError(
                f"train: {name} is {value!r}, but there is no validation set, and the test set is "
                "only for the end; set some training images aside: val_split=0.1 (--val-split 0.1)"
            )


class _Saver(Callback):
    def __init__(self, run: TrainingRun, folder: RunFolder, checkpoint: Checkpoint) -> None:
        self.run = run
        self.folder = folder
        self.checkpoint = checkpoint

    def epoch(self, history: History) -> None:
        self.run._save_weights(self.folder)
        self.run._begun[self.checkpoint.steps] = len(history)


def _ranks(distributed: bool) -> OneRank:
    return guard() if distributed else ONE_RANK
