"""Runs, their points and their kernels: in order, none missed, none told twice."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studio_models import ask, opened

from tinygrad_cnn.studio.store import (
    ConflictError,
    Store,
    points,
    runs,
    snapshots,
)


def test_runs_wait_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    with store.session() as session:
        first, second, third = (ask(session) for _ in range(3))
        assert runs.queued(session)[0] is first
        runs.set_state(session, first.id, "running")
        assert [runs.position(session, run) for run in (first, second, third)] == [None, 1, 2]
        runs.set_state(session, second.id, "cancelled")
        assert runs.queued(session) == [third]
        assert runs.unfinished(session) == [first]


def test_a_run_that_has_ended_stays_so(store: Store) -> None:
    with store.session() as session:
        run = ask(session)
        runs.set_state(session, run.id, "running")
        assert run.started is not None
        assert run.ended is None
        runs.set_state(session, run.id, "failed", error="it diverged")
        assert run.ended is not None
        assert run.ended >= run.started
        with pytest.raises(ConflictError, match="run 1 is failed, and cannot become running"):
            runs.set_state(session, run.id, "running")


def test_a_run_goes_with_its_points_but_not_before_it_has_ended(store: Store) -> None:
    with store.session() as session:
        gone, stays = ask(session), ask(session)
        for run in (gone, stays):
            points.add_many(session, run.id, [("point", 1, {})])
            snapshots.put(session, run.id, 1, {})
        with pytest.raises(ConflictError, match="run 1 is queued: cancel it"):
            runs.delete(session, gone.id)
        runs.set_state(session, gone.id, "done")
        runs.delete(session, gone.id)
        assert [point.run_id for point in points.after(session, 0)] == [stays.id]
        session.expire_all()
        assert snapshots.get(session, gone.id) is None


def test_points_come_in_their_order_from_where_one_was(store: Store) -> None:
    with store.session() as session:
        a, b = ask(session), ask(session)
        for step in range(5):
            points.add_many(session, a.id, [("point", step, {"loss": step / 3})])
            points.add_many(session, b.id, [("point", step, {}), ("epoch", step, {})])
        all_of_them = points.after(session, 0)
        assert [point.id for point in all_of_them] == list(range(1, 16))
        assert [point.id for point in points.after(session, 3, limit=2)] == [4, 5]
        assert [point.step for point in points.after(session, 4, run_id=a.id)] == [2, 3, 4]
        assert points.after(session, 0, a.id)[1].payload == {"loss": 1 / 3}


def test_figures_after_a_checkpoint_are_forgotten_and_their_numbers_not_used_again(
    store: Store,
) -> None:
    with store.session() as session:
        a, b = ask(session), ask(session)
        for run in (a, b):
            points.add_many(session, run.id, [("point", step, {}) for step in range(1, 6)])
        points.forget_after(session, b.id, 2)
        points.add_many(session, b.id, [("restarted", 2, {})])
        left = [(point.kind, point.step) for point in points.after(session, 0, b.id)]
        assert left == [("point", 1), ("point", 2), ("restarted", 2)]
        assert len(points.after(session, 0, a.id)) == 5
        assert points.after(session, 0)[-1].id == 11


@given(count=st.integers(0, 60), most=st.integers(1, 40), after=st.integers(0, 70))
def test_points_are_thinned_evenly_and_the_last_is_there(count: int, most: int, after: int) -> None:
    with TemporaryDirectory() as folder, opened(Path(folder, "studio.db")) as store:
        with store.session() as session:
            run = ask(session)
            for step in range(1, count + 1):
                kind = "epoch" if step % 7 == 0 else "point"
                points.add_many(session, run.id, [(kind, step, {})])
        with store.reading() as session:
            whole = points.after(session, after, run.id)
            kept = points.thinned(session, run.id, after, most)
    steps = [[p.step for p in each if p.kind == "point"] for each in (whole, kept)]
    epochs = [[p.step for p in each if p.kind == "epoch"] for each in (whole, kept)]
    assert epochs[0] == epochs[1]
    assert [p.id for p in kept] == sorted(p.id for p in kept)
    assert len(steps[1]) <= most
    every = max(1, -(-len(steps[0]) // most))
    assert steps[1] == steps[0][::-1][::every][::-1]


def test_only_the_latest_kernels_are_kept(store: Store) -> None:
    for step in (1, 2):
        with store.session() as session:
            if step == 1:
                ask(session)
            snapshots.put(session, 1, step, {"kernels": step})
    with store.reading() as session:
        shown = snapshots.get(session, 1)
    assert shown is not None
    assert (shown.step, shown.payload) == (2, {"kernels": 2})
