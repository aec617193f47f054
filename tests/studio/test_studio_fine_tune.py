"""Teaching a model a person's drawings: what it learns from, and what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load
from support.studio import add_model
from support.studio_training import opened, outcome, run_of

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, Dataset, Normalize, digits
from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio.store import ConflictError, Store, drawings, models
from tinygrad_cnn.studio.training.mixing import Lesson, mixed
from tinygrad_cnn.studio.training.requests import fine_tune_request, queue
from tinygrad_cnn.studio.training.worker import work
from tinygrad_cnn.train import RunError, RunFolder, evaluate, load_run

SHIFTED = 9
"""Pixels by which the test's drawings are off, so that the model has something to learn."""


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Store, StudioSettings]]:
    add_model(tmp_path)
    store, settings = opened(tmp_path)
    yield store, settings
    store.close()


def draw(store: Store, count: int, seed: int = 0, label: bool = True) -> list[int]:
    """Add drawings: digits of the test set, shifted."""
    test = digits().test
    chosen = np.random.default_rng(seed).choice(len(test), count, replace=False)
    ids = []
    with store.session() as session:
        for i in chosen:
            pixels = np.roll(test.images[i, 0], SHIFTED, axis=1)
            shown = int(test.labels[i]) if label else None
            added = drawings.add(
                session, name="drawn", picture=b"", input=pixels.tobytes(), label=shown
            )
            ids.append(added.id)
    return ids


def teach(store: Store, **chosen: float) -> int:
    """Queue the teaching of the promoted model."""
    with store.session() as session:
        base = models.promoted_id(session)
        asked = {"epochs": 2, "lr": 0.002, "replay": 400, **chosen}
        request = fine_tune_request(session, model_id=base, **asked)
        return queue(session, request, "taught").id


def lesson(count: int, held: int = 0) -> Lesson:
    rng = np.random.default_rng(count)
    images = [rng.integers(1, 255, (n, 1, 28, 28), np.uint8) for n in (count, held)]
    labels = [rng.integers(0, 10, n) for n in (count, held)]
    return Lesson(images[0], labels[0], images[1], labels[1])


# --- the images --------------------------------------------------------------------------------


@given(count=st.integers(1, 300), replay=st.integers(0, 1000), seed=st.integers(0, 9))
def test_drawings_are_about_a_fifth_and_all_equally_often_there(
    count: int, replay: int, seed: int
) -> None:
    base = digits().train[:800]
    drawn = lesson(count)
    dataset = mixed(base, drawn, replay, seed)
    replayed = min(replay, len(base))
    assert (len(dataset) - replayed) % count == 0
    copies = (len(dataset) - replayed) // count
    assert copies >= 1
    nearest = abs(copies * count - replayed / 4)
    assert copies == 1 or nearest <= count / 2  # one copy more or fewer would be no nearer
    for copy in range(copies):
        part = slice(replayed + copy * count, replayed + (copy + 1) * count)
        np.testing.assert_array_equal(dataset.images[part], drawn.images)
        np.testing.assert_array_equal(dataset.labels[part], drawn.labels)


@given(replay=st.integers(1, 400), seed=st.integers(0, 9))
def test_replayed_images_are_a_sample_without_repetition_that_the_seed_decides(
    replay: int, seed: int
) -> None:
    base = digits().train[:400]
    dataset = mixed(base, lesson(3), replay, seed)[:replay]
    place = {image.tobytes(): i for i, image in enumerate(base.images)}
    chosen = [place[image.tobytes()] for image in dataset.images]
    assert chosen == sorted(set(chosen))
    np.testing.assert_array_equal(dataset.labels, base.labels[chosen])
    again = mixed(base, lesson(3), replay, seed)[:replay]
    np.testing.assert_array_equal(dataset.images, again.images)


def test_a_lesson_is_read_as_it_was_written_and_not_if_it_is_damaged(tmp_path: Path) -> None:
    written = lesson(3, held=2)
    path = tmp_path / "lesson"
    written.write(path)
    for before, after in zip(written, Lesson.read(path), strict=True):
        np.testing.assert_array_equal(before, after)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="lesson: is damaged, truncated or not"):
        Lesson.read(path)


# --- the request -------------------------------------------------------------------------------


def test_a_request_keeps_which_drawings_there_were(studio: tuple[Store, StudioSettings]) -> None:
    store, _ = studio
    ids = draw(store, 10)
    draw(store, 3, label=False)
    run_id = teach(store)
    draw(store, 5, seed=1)
    request = run_of(store, run_id).request
    assert (request["drawings"], request["held_back"]) == (8, 2)
    assert request["last_drawing"] == ids[-1]


def test_with_no_labeled_drawing_there_is_nothing_to_learn(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, _ = studio
    draw(store, 3, label=False)
    with pytest.raises(ConflictError, match="no labeled drawing to fine-tune on"):
        teach(store)


# --- the training ------------------------------------------------------------------------------


def test_a_model_is_taught_and_measured_before_and_after(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    draw(store, 60)
    run_id = teach(store, epochs=3)
    work(store, settings, run_id)
    assert outcome(store, run_id)
    run = run_of(store, run_id)
    assert run.before["count"] == run.after["count"] == 12
    assert run.after["drawings"] > run.before["drawings"]
    assert run.after["test"] > 0.8

    # The accuracies are those of the models, measured by hand.
    taught = load_run(settings.runs_dir / str(run_id))
    base = tg.nn.LeNet5(rng=np.random.default_rng(0))
    with store.reading() as session:
        kept = models.promoted(session)
        held = drawings.held_back(session)
    base.load_state_dict(load(kept.weights))
    normalize = Normalize(kept.settings["data"]["mean"], kept.settings["data"]["std"])
    images = np.stack([np.frombuffer(d.input, np.uint8).reshape(1, 28, 28) for d in held])
    labels = np.array([d.label for d in held])
    sets = {
        "test": digits().test,
        "drawings": Dataset(images, labels, digits().test.classes, "held"),
    }
    for model, told in ((base, run.before), (taught.model, run.after)):
        for name, dataset in sets.items():
            found = evaluate(model, DataLoader(dataset, 100, transform=normalize)).accuracy
            assert told[name] == found


def test_a_taught_model_sees_its_images_as_before_and_knows_its_parent(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    draw(store, 6)
    run_id = teach(store, epochs=1)
    work(store, settings, run_id)
    with store.reading() as session:
        base = models.promoted(session)
        taught = models.get(session, run_of(store, run_id).model_id)
        assert taught.parent_id == base.id != taught.id
        assert taught.settings["data"]["mean"] == base.settings["data"]["mean"]
        assert taught.settings["data"]["std"] == base.settings["data"]["std"]
        assert taught.settings["data"]["source"] == "digits"
        assert taught.settings["model"] == base.settings["model"]
        told = taught.settings["data"]["training_images"]
        assert told == 400 + 20 * 5  # 5 drawings are not held back, each 20 times


def test_the_seed_decides_what_is_learned(studio: tuple[Store, StudioSettings]) -> None:
    store, settings = studio
    draw(store, 6)
    ids = [teach(store, epochs=1, seed=seed) for seed in (1, 1, 2)]
    for run_id in ids:
        work(store, settings, run_id)
    weights = [RunFolder(settings.runs_dir / str(run_id)).weights.read_bytes() for run_id in ids]
    assert weights[0] == weights[1] != weights[2]


def test_drawings_that_come_after_the_request_are_not_learned(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    draw(store, 11)
    run_id = teach(store, epochs=1)
    draw(store, 9, seed=1)
    work(store, settings, run_id)
    learned = Lesson.read(settings.runs_dir / str(run_id) / "drawings.safetensors")
    assert (len(learned.labels), len(learned.held_labels)) == (9, 2)
    with store.reading() as session:
        asked = [drawings.get(session, id) for id in (1, 2, 3, 4, 6, 7, 8, 9, 11)]
    assert learned.images.tobytes() == b"".join(drawing.input for drawing in asked)
    assert learned.labels.tolist() == [drawing.label for drawing in asked]
    assert run_of(store, run_id).after["count"] == 2


def test_drawings_that_are_deleted_before_it_begins_are_not_learned(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    ids = draw(store, 7)
    run_id, later = teach(store, epochs=1), teach(store, epochs=1)
    with store.session() as session:
        drawings.delete(session, ids[0])
        drawings.delete(session, ids[4])
    work(store, settings, run_id)
    learned = Lesson.read(settings.runs_dir / str(run_id) / "drawings.safetensors")
    assert (len(learned.labels), len(learned.held_labels)) == (5, 0)
    assert run_of(store, run_id).after["drawings"] is None
    with store.session() as session:
        for drawing in drawings.all(session):
            drawings.delete(session, drawing.id)
    work(store, settings, later)
    assert run_of(store, later).state == "failed"
    assert "have been deleted" in run_of(store, later).error


def test_a_model_that_is_deleted_before_it_is_taught_is_told(
    studio: tuple[Store, StudioSettings], tmp_path: Path
) -> None:
    store, settings = studio
    draw(store, 2)
    run_id = teach(store)
    add_model(tmp_path, "another")
    with store.session() as session:
        models.delete(session, run_of(store, run_id).request["model_id"])
    work(store, settings, run_id)
    assert run_of(store, run_id).state == "failed"
    assert run_of(store, run_id).error == "the model to fine-tune was deleted before the run began"
