"""Checkpoints: the same bits from any step, of a run and of a loop of one's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stopping import Signal, folder

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, Shift, Split
from tinygrad_cnn.train import (
    Callback,
    Checkpoint,
    EarlyStopping,
    History,
    Progress,
    RunFolder,
    TrainingInterrupted,
    TrainingRun,
    fit,
)
from tinygrad_cnn.train import checkpoint as module
from tinygrad_cnn.train.checkpoint import checkpoints
from tinygrad_cnn.train.state import read_state

Prepare = Callable[..., TrainingRun]
EPOCHS, BATCHES = 3, 6
SAME = ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate"]
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
    pytest.mark.usefixtures("interruptible"),
]


def rows(run: RunFolder) -> list[list[Any]]:
    history = History.from_csv(run.history)
    further = [name for name in history.columns if name.endswith("f1")]
    return [history.column(name) for name in (*SAME, *further)]


# --- the same bits -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 5, 6, 7, 14])
@pytest.mark.parametrize(
    "chosen",
    [
        {"optimizer": "adamw", "schedule": "onecycle", "augment": "elastic", "metrics": ("f1",)},
        {"optimizer": "nesterov", "schedule": "plateau", "val_split": 0.1},
    ],
    ids=["adamw", "nesterov"],
)
def test_a_run_that_is_interrupted_at_any_step_ends_with_the_same_bits(
    prepared: Prepare, tmp_path: Path, chosen: dict[str, Any], step: int
) -> None:
    whole, broken = folder(tmp_path), folder(tmp_path)
    prepared(**chosen).train(whole)
    with pytest.raises(TrainingInterrupted, match="SIGINT"):
        prepared(**chosen).train(broken, [Signal(step)])
    assert broken.steps == step
    resumed = TrainingRun.resumed(broken)
    batches = len(resumed.loader)
    assert len(resumed.history) * batches + resumed.batches_done == step
    seen = Signal(0)
    resumed.train(broken, [seen])
    assert seen.seen == EPOCHS * batches - step
    assert broken.weights.read_bytes() == whole.weights.read_bytes()
    assert rows(broken) == rows(whole)


def test_an_interrupt_during_the_validation_repeats_the_validation_alone(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = folder(tmp_path), folder(tmp_path)
    prepared().train(whole)
    run = prepared()
    signs = iter([None, signal.SIGTERM])

    def draws(images: Any, rng: Any) -> Any:
        np.random.random()  # noqa: NPY002  # an evaluation that changes the random state
        if (sign := next(signs, None)) is not None:
            signal.raise_signal(sign)
        return run.settings.data.normalize()(images, rng)

    run.test_loader = DataLoader(run.split.test, 10, transform=draws)
    with pytest.raises(TrainingInterrupted, match="SIGTERM") as raised:
        run.train(broken)
    assert raised.value.signal == signal.SIGTERM
    resumed = TrainingRun.resumed(broken)
    assert (len(resumed.history), resumed.batches_done) == (0, BATCHES)
    resumed.train(broken)
    assert broken.weights.read_bytes() == whole.weights.read_bytes()
    assert rows(broken)[0:2] == rows(whole)[0:2]


@pytest.mark.parametrize("every", [1, 4, 100])
def test_checkpoints_by_steps_are_written_when_they_are_due_and_two_are_kept(
    prepared: Prepare, tmp_path: Path, every: int
) -> None:
    run, seen = folder(tmp_path), set[int]()

    class Look(Callback):
        def batch(self, progress: Progress) -> None:
            seen.add(run.steps)
            assert 1 <= len(run.checkpoints) <= 2

    prepared(checkpoint_every=every).train(run, [Look()])
    assert run.steps == EPOCHS * BATCHES
    expected, last = {0}, 0
    for step in range(1, EPOCHS * BATCHES):
        if step - last >= every or step % BATCHES == 0:
            last = step
            expected.add(step)
    assert seen == expected


def test_checkpoints_by_seconds_follow_a_clock_that_cannot_be_set_back(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, now, seen = folder(tmp_path), [0.0], list[int]()
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "time", lambda: -1e9)

    class Work(Callback):
        def batch(self, progress: Progress) -> None:
            now[0] += 25.0
            seen.append(run.steps)

    prepared(checkpoint_every="1m", epochs=1).train(run, [Work()])
    assert seen == [0, 0, 0, 3, 3, 3]
    for i, path in enumerate(run.checkpoints):  # the newest one seems the oldest
        os.utime(path, (1e9 - i, 1e9 - i))
    assert len(TrainingRun.resumed(run).history) == 1


@pytest.mark.parametrize("every", ["", "0s", "-1", "1.5", "5 minutes", 0, True, "nans", "1e9s"])
def test_a_distance_that_is_none_is_refused(every: Any) -> None:
    model = tg.nn.Linear(1, 1)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"Checkpoint: every is .*, expected "):
        Checkpoint(model, optimizer, folder="x", every=every)


# --- one's own loop ----------------------------------------------------------------------------


class Own:
    """One's own loop, with a loader of one's own choice, and everything that is random."""

    def __init__(self, where: Path, few: Split, workers: int = 0) -> None:
        rng = np.random.default_rng(4)
        self.model = tg.nn.Sequential(
            tg.nn.Flatten(), tg.nn.Dropout(0.2, rng=rng), tg.nn.Linear(784, 10, rng=rng)
        )
        self.optimizer = tg.optim.Adam(self.model.parameters())
        self.schedule = tg.optim.CosineAnnealingLR(self.optimizer, T_max=30)
        self.average = tg.optim.AveragedModel(self.model)
        self.loader = DataLoader(few.train, 16, shuffle=True, num_workers=workers)
        self.checkpoint = Checkpoint(
            self.model, self.optimizer, self.schedule, self.loader,
            folder=where, every=4, average=self.average,
        )  # fmt: skip

    def train(self, epochs: int, stop: int = 0) -> None:
        with self.checkpoint:
            self.checkpoint.restore()
            for _ in range(self.loader.epoch, epochs):
                for images, labels in self.loader:
                    noise = np.random.normal(size=images.shape)  # noqa: NPY002
                    noisy = (images + 0.1 * noise).astype(np.float32)
                    self.optimizer.zero_grad()
                    tg.cross_entropy(self.model(noisy), labels).backward()
                    self.optimizer.step()
                    self.schedule.step()
                    self.average.update_parameters(self.model)
                    if self.checkpoint.steps + 1 == stop:
                        signal.raise_signal(signal.SIGTERM)
                    self.checkpoint.step()

    def state(self) -> dict[str, bytes]:
        parts = {**self.model.state_dict(), **self.average.state_dict()}
        return {name: np.asarray(array).tobytes() for name, array in parts.items()}


@pytest.mark.parametrize("stop", [5, 6, 7, 17])
def test_ones_own_loop_goes_on_with_the_same_bits(few: Split, tmp_path: Path, stop: int) -> None:
    np.random.seed(1)  # noqa: NPY002
    whole = Own(tmp_path / "whole", few)
    whole.train(3)
    np.random.seed(1)  # noqa: NPY002
    with pytest.raises(TrainingInterrupted):
        Own(tmp_path / "run", few).train(3, stop)
    np.random.seed(2)  # noqa: NPY002
    resumed = Own(tmp_path / "run", few, workers=2 if stop == 5 else 0)
    resumed.train(3)
    assert resumed.state() == whole.state()
    assert resumed.schedule.state_dict() == whole.schedule.state_dict()
    assert resumed.checkpoint.steps == 18
    assert [path.name for path in checkpoints(tmp_path / "run")][-1] == (
        "checkpoint-00000018.safetensors"  # written at the end of the block
    )


@pytest.mark.parametrize("kind", ["loader", "list"])
def test_fit_goes_on_where_the_same_program_was_interrupted(
    few: Split, tmp_path: Path, kind: str
) -> None:
    def program(where: Path, callbacks: list[Callback]) -> tuple[History, dict[str, Any]]:
        model = tg.nn.MLP((784, 8, 10), rng=np.random.default_rng(0))
        optimizer = tg.optim.Adam(model.parameters())
        loader = DataLoader(few.train, 16, shuffle=kind == "loader")
        history = fit(
            model, tg.cross_entropy, optimizer, loader if kind == "loader" else list(loader),
            epochs=3, validation=DataLoader(few.test), callbacks=callbacks,
            checkpoint=Checkpoint(model, optimizer, folder=where),
        )  # fmt: skip
        return history, model.state_dict()

    history, expected = program(tmp_path / "whole", [])
    with pytest.raises(TrainingInterrupted):
        program(tmp_path / "run", [Signal(8)])
    again, state = program(tmp_path / "run", [])
    assert again.column("loss") == history.column("loss")
    assert all((state[name] == expected[name]).all() for name in expected)
    assert program(tmp_path / "run", [])[0] == again  # it is complete


def test_a_part_without_a_state_is_refused(few: Split) -> None:
    model = tg.nn.Linear(1, 1)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"loader is list, expected an object with state_dict\(\)"):
        Checkpoint(model, optimizer, loader=[], folder="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Checkpoint: model is int, expected a Module"):
        Checkpoint(1, optimizer, folder="x")  # type: ignore[arg-type]


def test_a_part_that_a_checkpoint_lacks_is_named(few: Split, tmp_path: Path) -> None:
    model = tg.nn.Linear(1, 1)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    Checkpoint(model, optimizer, folder=tmp_path).save()
    average = tg.optim.AveragedModel(model)
    with pytest.warns(UserWarning, match="has no average: it starts from its initial state"):
        Checkpoint(model, optimizer, folder=tmp_path, average=average).restore()
    Checkpoint(model, optimizer, folder=tmp_path, average=average).save()
    without = Checkpoint(model, optimizer, folder=tmp_path)
    assert without.restore()
    without.save()  # keeps the part that it does not know
    assert "average" in read_state(checkpoints(tmp_path)[-1])["parts"]


def test_a_checkpoint_is_used_again_after_ctrl_c(few: Split, tmp_path: Path) -> None:
    whole, own = Own(tmp_path / "whole", few), Own(tmp_path / "run", few)
    np.random.seed(1)  # noqa: NPY002
    whole.train(3)
    np.random.seed(1)  # noqa: NPY002
    for stop in (5, 8):
        with pytest.raises(TrainingInterrupted):
            own.train(3, stop)
    own.train(3)  # as one runs a cell of a notebook again
    assert own.state() == whole.state()


def test_fit_goes_on_with_the_same_checkpoint_for_more_epochs(few: Split, tmp_path: Path) -> None:
    model = tg.nn.MLP((784, 8, 10), rng=np.random.default_rng(0))
    optimizer = tg.optim.Adam(model.parameters())
    loader, held = (DataLoader(part, 16, shuffle=True) for part in (few.train, few.test))
    checkpoint = Checkpoint(model, optimizer, folder=tmp_path)
    stopping = EarlyStopping(1, "loss", min_delta=100.0)
    arguments = (model, tg.cross_entropy, optimizer, loader)
    for epochs, rows in ((3, 2), (5, 2)):  # it has stopped after the second
        again = fit(*arguments, epochs=epochs, callbacks=[stopping], checkpoint=checkpoint)
        assert len(again) == rows
    with pytest.raises(TrainingInterrupted):
        fit(*arguments, epochs=5, validation=held, callbacks=[Signal(8)], checkpoint=checkpoint)
    history = fit(*arguments, epochs=5, validation=held, checkpoint=checkpoint)
    assert (len(history), checkpoint.steps) == (5, 30)


def test_a_shuffled_validation_set_is_in_the_same_order_again(few: Split, tmp_path: Path) -> None:
    def program(where: Path, callbacks: list[Callback]) -> History:
        model = tg.nn.Sequential(
            tg.nn.Flatten(), tg.nn.Linear(784, 10, rng=np.random.default_rng(0))
        )
        optimizer = tg.optim.Adam(model.parameters())
        checkpoint = Checkpoint(model, optimizer, folder=where)
        held = DataLoader(few.test, 16, shuffle=True, transform=Shift(3))
        return fit(
            model, tg.cross_entropy, optimizer, DataLoader(few.train, 16), epochs=3,
            validation=held, callbacks=callbacks, checkpoint=checkpoint,
        )  # fmt: skip

    whole = program(tmp_path / "whole", [])
    with pytest.raises(TrainingInterrupted):
        program(tmp_path / "run", [Signal(12)])
    again = program(tmp_path / "run", [])
    assert again.column("validation_loss") == whole.column("validation_loss")


def test_a_callback_that_ends_an_epoch_leaves_the_loader_at_the_next(
    few: Split, tmp_path: Path
) -> None:
    class End(Callback):
        def batch(self, progress: Progress) -> bool:
            return (progress.epoch, progress.batch) == (2, 3)

    def program(callbacks: list[Callback], epochs: int) -> tuple[History, int]:
        model = tg.nn.MLP((784, 8, 10), rng=np.random.default_rng(0))
        optimizer = tg.optim.Adam(model.parameters())
        checkpoint = Checkpoint(model, optimizer, folder=tmp_path, every=1)
        history = fit(
            model, tg.cross_entropy, optimizer, DataLoader(few.train, 16), epochs=epochs,
            callbacks=callbacks, checkpoint=checkpoint,
        )  # fmt: skip
        return history, checkpoint.steps

    with pytest.raises(TrainingInterrupted):
        program([End(), Signal(9)], 4)
    history, steps = program([], 4)
    assert (len(history), steps) == (2, 9)  # the epoch is finished, and training has ended
    assert program([], 4)[1] == 9 + 2 * 6
