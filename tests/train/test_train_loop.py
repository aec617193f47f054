"""The training loop."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.small_sets import linear, made

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.train import (
    Callback,
    F1Score,
    History,
    Progress,
    TopKAccuracy,
    evaluate,
    fit,
)
from tinygrad_cnn.train.evaluation import Meter


def test_fit_is_the_loop_that_one_writes_oneself() -> None:
    data = made()
    ours, theirs = linear(), linear()
    optimizer = tg.optim.Adam(ours.parameters(), lr=0.1)
    schedule = tg.optim.CosineAnnealingLR(optimizer, T_max=9)
    loader = DataLoader(data, batch_size=8, shuffle=True, seed=5)
    history = fit(ours, tg.cross_entropy, optimizer, loader, epochs=3, schedule=schedule)

    optimizer = tg.optim.Adam(theirs.parameters(), lr=0.1)
    schedule = tg.optim.CosineAnnealingLR(optimizer, T_max=9)
    loader = DataLoader(data, batch_size=8, shuffle=True, seed=5)
    losses, rates = [], []
    for _ in range(3):
        total = 0.0
        for images, labels in loader:
            loss = tg.cross_entropy(theirs(tg.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            rates.append(optimizer.lr)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(images)
        losses.append(total / 20)

    np.testing.assert_array_equal(ours.weight.data, theirs.weight.data)
    assert history.column("loss") == losses
    assert history.column("learning_rate") == rates[2::3]
    assert all(row.seconds > 0 and row.images_per_second > 0 for row in history)
    assert all(math.isnan(row.validation_loss) for row in history)


def test_validation_is_the_evaluation_after_the_epoch() -> None:
    model, loader = linear(), DataLoader(made(), batch_size=7)
    history = fit(
        model,
        tg.cross_entropy,
        tg.optim.SGD(model.parameters(), lr=0.1),
        loader,
        epochs=2,
        validation=loader,
    )
    result = evaluate(model, loader)
    assert history[-1].validation_loss == result.loss
    assert history[-1].validation_accuracy == result.accuracy


def test_a_plateau_looks_at_the_training_loss_and_no_validation_example() -> None:
    class Spy(tg.optim.ReduceLROnPlateau):
        seen: list[float]

        def step(self, metric: float) -> None:
            self.seen.append(metric)

    model = linear()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    schedule = Spy(optimizer)
    schedule.seen = []
    loader, other = DataLoader(made(), batch_size=8), DataLoader(made(seed=1))
    history = fit(
        model, tg.cross_entropy, optimizer, loader, epochs=3, validation=other, schedule=schedule
    )
    assert schedule.seen == history.column("loss")


def test_the_gradient_is_clipped_before_the_step() -> None:
    model = linear()
    before = np.concatenate([p.numpy().ravel() for p in model.parameters()])
    optimizer = tg.optim.SGD(model.parameters(), lr=1.0)
    fit(model, tg.cross_entropy, optimizer, [made()], epochs=1, clip_norm=0.01)
    after = np.concatenate([p.numpy().ravel() for p in model.parameters()])
    assert np.linalg.norm(after - before) == pytest.approx(0.01, rel=1e-4)


def test_a_model_gets_the_very_arrays_of_the_loader() -> None:
    class Spy(tg.nn.Linear):
        def forward(self, x: Any) -> Any:
            assert x._array is images
            return super().forward(x)

    images, labels = made()
    images.flags.writeable = False
    model = Spy(4, 3, rng=np.random.default_rng(0))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    assert len(fit(model, tg.cross_entropy, optimizer, [(images, labels)], epochs=1)) == 1


def test_a_history_is_gone_on_with() -> None:
    model = linear()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, tg.cross_entropy, optimizer, [made()], epochs=2)
    weight = model.weight.numpy().copy()
    again = fit(model, tg.cross_entropy, optimizer, [made()], epochs=2, history=history)
    assert again is history
    np.testing.assert_array_equal(model.weight.data, weight)
    fit(model, tg.cross_entropy, optimizer, [made()], epochs=3, history=history)
    assert history.column("epoch") == [1, 2, 3]


@given(st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_a_history_is_gone_on_with_in_the_order_of_the_next_epoch(
    done: int, looked_at: int, shift: bool
) -> None:
    """Whatever the loader was used for meanwhile, and with the transforms of that epoch."""

    def noise(images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        return images + rng.normal(size=images.shape).astype("f4")

    def new() -> tuple[tg.nn.Linear, tg.optim.Optimizer, DataLoader]:
        model = linear()
        loader = DataLoader(made(), 8, shuffle=True, seed=5, transform=noise if shift else None)
        return model, tg.optim.SGD(model.parameters(), lr=0.1), loader

    whole, optimizer, loader = new()
    fit(whole, tg.cross_entropy, optimizer, loader, epochs=5)
    first, optimizer, loader = new()
    history = fit(first, tg.cross_entropy, optimizer, loader, epochs=done)
    second, optimizer, loader = new()
    second.load_state_dict(first.state_dict())
    for _ in range(looked_at):
        iter(loader)
    fit(second, tg.cross_entropy, optimizer, loader, epochs=5, history=history)
    assert second.weight.data.tobytes() == whole.weight.data.tobytes()


def test_callbacks_are_told_of_every_batch_and_epoch() -> None:
    class Spy(Callback):
        def __init__(self) -> None:
            self.told: list[Any] = []

        def batch(self, progress: Progress) -> None:
            self.told.append((progress.epoch, progress.batch, progress.batches, progress.images))

        def epoch(self, history: History) -> None:
            self.told.append(len(history))

    model, spy = linear(), Spy()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(made(), batch_size=12)
    fit(model, tg.cross_entropy, optimizer, loader, epochs=2, callbacks=[spy])
    assert spy.told == [(1, 1, 2, 12), (1, 2, 2, 20), 1, (2, 1, 2, 12), (2, 2, 2, 20), 2]


class Ends(Callback):
    """Ends training at (epoch, batch), or after an epoch, and notes all its calls."""

    def __init__(self, place: tuple[int, int] | int | None = None) -> None:
        self.place = place
        self.calls: list[Any] = []

    def start(self, model: Any, columns: Sequence[str], history: History, epochs: int) -> bool:
        self.calls.append(("start", columns))
        return self.place == 0

    def batch(self, progress: Progress) -> bool:
        self.calls.append((progress.epoch, progress.batch))
        return self.calls[-1] == self.place

    def epoch(self, history: History) -> Any:
        self.calls.append(len(history))
        return np.bool_(len(history) == self.place)

    def end(self, history: History) -> None:
        self.calls.append(("end", len(history)))


def ended(place: Any) -> tuple[tg.nn.Linear, History, list[Any]]:
    """Train 3 epochs of 3 batches with two callbacks, the first of which may end it."""
    model, first, second = linear(), Ends(place), Ends()
    optimizer = tg.optim.Adam(model.parameters(), lr=0.1)
    loader = DataLoader(made(), batch_size=8, shuffle=True, seed=5)
    history = fit(
        model,
        tg.cross_entropy,
        optimizer,
        loader,
        epochs=3,
        validation=[made(seed=1)],
        callbacks=[first, second],
    )
    assert first.calls == second.calls, "the second hears of everything although the first ended it"
    return model, history, first.calls


def test_a_callback_ends_training_after_an_epoch_as_if_it_were_the_last() -> None:
    model, history, calls = ended(2)
    assert calls[1:] == [(1, 1), (1, 2), (1, 3), 1, (2, 1), (2, 2), (2, 3), 2, ("end", 2)]
    whole, longer, _ = ended(None)
    assert [row.loss for row in history] == [row.loss for row in longer[:2]]
    assert not np.array_equal(model.weight.data, whole.weight.data)


def test_a_callback_ends_training_after_a_batch_and_the_epoch_is_validated() -> None:
    model, history, calls = ended((2, 2))
    assert calls[1:] == [(1, 1), (1, 2), (1, 3), 1, (2, 1), (2, 2), 2, ("end", 2)]
    result = evaluate(model, [made(seed=1)])
    assert history[1].validation_loss == result.loss
    accuracies = {i / 16 for i in range(17)}  # of the 16 images before the end
    assert history[1].accuracy in accuracies
    assert history[0].accuracy in {i / 20 for i in range(21)}


def test_a_callback_can_end_training_before_it_begins() -> None:
    model, _, calls = ended(0)
    assert calls[1:] == [("end", 0)]
    np.testing.assert_array_equal(model.weight.data, linear().weight.data)


def test_a_callback_learns_which_columns_the_history_will_have() -> None:
    for validation in (None, [made(seed=1)]):
        model, spy = linear(), Ends()
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
        history = fit(
            model,
            tg.cross_entropy,
            optimizer,
            [made()],
            epochs=1,
            validation=validation,
            callbacks=[spy],
            metrics={"f1": F1Score()},
        )
        assert spy.calls[0] == (
            "start",
            tuple(name for name in history.columns if not math.isnan(history.column(name)[0])),
        )


def test_an_answer_that_is_neither_true_nor_false_is_refused() -> None:
    class Odd(Callback):
        def epoch(self, history: History) -> Any:
            return history[-1].loss

    model = linear()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"fit: Odd\.epoch returned 1\.\d+; expected True to end"):
        fit(model, tg.cross_entropy, optimizer, [made()], epochs=1, callbacks=[Odd()])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_in_its_own_mode_afterwards_whatever_happens(training: bool) -> None:
    class Stop(Callback):
        def batch(self, progress: Progress) -> None:
            assert model.training
            raise KeyboardInterrupt

    model = tg.nn.Sequential(linear(), tg.nn.Dropout(0.5, rng=np.random.default_rng(0)))
    model.train(training)
    model[1].training = not training
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KeyboardInterrupt):
        fit(model, tg.cross_entropy, optimizer, [made()], epochs=1, callbacks=[Stop()])
    assert (model.training, model[1].training) == (training, not training)


@given(st.integers(1, 5), st.sampled_from(["classes", "weights", "nan"]), st.integers(0, 99))
def test_a_meter_goes_on_from_its_state(after: int, kind: str, seed: int) -> None:
    """Through a file, as in a checkpoint, and with the same bits."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(6, 4, 3)).astype("f4")
    labels: Any = [rng.integers(3, size=4) for _ in outputs]
    losses = rng.random(6).tolist()
    if kind == "weights":
        labels[2] = rng.dirichlet(np.ones(3), size=4)
    elif kind == "nan":
        losses[2] = math.nan
    metrics = {"f1": F1Score(), "top": TopKAccuracy(2)}

    def added(meter: Meter, batches: range) -> Meter:
        for i in batches:
            meter.add(losses[i], outputs[i], labels[i])
        return meter

    first = added(Meter(metrics), range(after))
    state = first.state_dict()
    added(first, range(after, 6))  # does not change the state
    with tempfile.TemporaryDirectory() as folder:
        tg.save(folder + "/state", meter=state)
        state = tg.load(folder + "/state")["meter"]
    second = Meter(metrics)
    second.load_state_dict(state)
    added(second, range(after, 6))
    for name in ("images", "loss", "accuracy", "metrics"):
        assert repr(getattr(second, name)) == repr(getattr(first, name))
    np.testing.assert_array_equal(second.confusion, first.confusion)
    with pytest.raises(ValueError, match="the metrics are f1, top; expected none"):
        Meter({}).load_state_dict(state)


# --- the optimizer's parameters ----------------------------------------------------------------


def head_and_body() -> tg.nn.Sequential:
    rng = np.random.default_rng(0)
    return tg.nn.Sequential(tg.nn.Linear(4, 5, rng=rng), tg.nn.Linear(5, 3, rng=rng))


def test_an_optimizer_of_another_model_is_refused() -> None:
    model = head_and_body()
    optimizer = tg.optim.SGD(head_and_body().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="none of the optimizer's 4 parameters is one of the mode"):
        fit(model, tg.cross_entropy, optimizer, [made()], epochs=1)
    copied = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="a Sequential; expected an optimizer of"):
        fit(copy.deepcopy(model), tg.cross_entropy, copied, [made()], epochs=1)


@pytest.mark.parametrize("freeze", [True, False])
def test_an_optimizer_of_the_head_trains_the_head_without_a_word(freeze: bool) -> None:
    model = head_and_body()
    for parameter in model[0].parameters():
        parameter.requires_grad = not freeze
    before = model.state_dict()
    optimizer = tg.optim.SGD(model[1].parameters(), lr=0.1)
    fit(model, tg.cross_entropy, optimizer, [made()], epochs=1)
    changed = [name for name, array in model.state_dict().items() if (array != before[name]).any()]
    assert changed == ["1.weight", "1.bias"]


def test_an_optimizer_of_a_replaced_layer_warns_and_names_what_is_not_trained() -> None:
    model = head_and_body()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    model[1] = tg.nn.Linear(5, 3, rng=np.random.default_rng(1))
    with pytest.warns(UserWarning, match=r"2 of .* it lacks 1\.weight, 1\.bias, which will not"):
        fit(model, tg.cross_entropy, optimizer, [made()], epochs=1)


def test_an_optimizer_may_have_parameters_of_the_loss() -> None:
    class Scaled(tg.nn.Module):
        def __init__(self) -> None:
            self.scale = tg.nn.Parameter(np.ones(1, "f4"))

        def forward(self, outputs: Any, labels: Any) -> Any:
            return tg.cross_entropy(outputs * self.scale, labels)

    model, loss = head_and_body(), Scaled()
    optimizer = tg.optim.SGD([*model[1].parameters(), loss.scale], lr=0.1)
    fit(model, loss, optimizer, [made()], epochs=1)
    assert loss.scale.item() != 1.0
