"""Which model answers: a history that is only ever added to, whoever changes it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.orm import Session
from support import studio_models
from support.studio_models import ask, opened

from tinygrad_cnn.studio.store import (
    ConflictError,
    NotFoundError,
    Promotion,
    Store,
    models,
    runs,
)


def test_a_list_of_models_leaves_the_large_columns_in_the_database(store: Store) -> None:
    with store.session() as session:
        id = studio_models.add(session).id
    with store.reading() as session:
        [listed] = models.all(session)
        assert {"weights", "report"} & listed.__dict__.keys() == set()
    with store.reading() as session:
        whole = models.get(session, id)
    assert whole.weights == studio_models.file_of()
    assert whole.report["images"] == 200
    assert (whole.accuracy, whole.parameters) == (whole.report["accuracy"], 23860)


def test_the_promoted_model_cannot_be_deleted(store: Store) -> None:
    with store.session() as session:
        first, second = (studio_models.add(session).id for _ in range(2))
        models.promote(session, first)
        with pytest.raises(ConflictError, match="model 1 is promoted"):
            models.delete(session, first)
        models.promote(session, second)
        models.delete(session, first)
        assert [model.id for model in models.all(session)] == [second]


def test_a_model_outlives_its_run_and_its_parent(store: Store) -> None:
    with store.session() as session:
        run, parent = ask(session), studio_models.add(session)
        child = studio_models.add(session)
        child.run_id, child.parent_id = run.id, parent.id
        runs.set_state(session, run.id, "done", model_id=child.id)
        runs.delete(session, run.id)
        models.delete(session, parent.id)
    with store.reading() as session:
        found = models.get(session, child.id)
        assert (found.run_id, found.parent_id) == (None, None)


acts = st.lists(
    st.tuples(st.sampled_from(["promote", "roll back", "delete"]), st.integers(1, 4)), max_size=25
)


@given(acts=acts)
@example(acts=[("promote", i) for i in (1, 2, 3)] + [("roll back", 1)] * 3)
@example(acts=[("promote", 1), ("promote", 2), ("promote", 1), ("delete", 2), ("roll back", 1)])
@example(
    acts=[("promote", 1), ("promote", 2), ("promote", 3), ("roll back", 1), ("delete", 3),
          ("roll back", 1), ("delete", 2), ("promote", 4), ("roll back", 1)]
)  # fmt: skip
def test_promotions_and_roll_backs_are_a_stack_of_which_nothing_is_removed(
    acts: list[tuple[str, int]],
) -> None:
    stack: list[int] = []
    there = {1, 2, 3, 4}
    with TemporaryDirectory() as folder, opened(Path(folder, "studio.db")) as store:
        with store.session() as session:
            for _ in there:
                studio_models.add(session)
        written = 0
        for act, id in acts:
            top = stack[-1] if stack else None
            expected: type[Exception] | None = None
            if act == "roll back":
                below = [each for each in stack[:-1] if each in there and each != top]
                if below:
                    while stack[-1] == top or stack[-1] not in there:
                        stack.pop()
                else:
                    expected = ConflictError
            elif id not in there:
                expected = NotFoundError
            elif act == "promote":
                stack += [id] if id != top else []
            elif id == top:
                expected = ConflictError
            else:
                there.remove(id)
            try:
                with store.session() as session:
                    if act == "roll back":
                        models.roll_back(session)
                    else:
                        {"promote": models.promote, "delete": models.delete}[act](session, id)
                came = None
            except (ConflictError, NotFoundError) as error:
                came = type(error)
            assert came is expected
            with store.reading() as session:
                assert models.promoted_id(session) == (stack[-1] if stack else None)
                rows = session.query(Promotion).count()
            assert rows >= written
            written = rows


def _together(
    barrier: threading.Barrier, id: int, store: Store, change: Callable[[Session, int], object]
) -> bool:
    """Change a model as the others do at the same time, and return whether that was allowed."""
    barrier.wait()
    try:
        with store.session() as session:
            change(session, id)
    except (ConflictError, NotFoundError):
        return False
    return True


def test_a_model_is_either_promoted_or_deleted_never_both(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "studio.db")
    with store.session() as session:
        first = studio_models.add(session).id
        models.promote(session, first)
    for _ in range(15):
        with store.session() as session:
            id = studio_models.add(session).id
        act = partial(_together, threading.Barrier(2), id)
        with ThreadPoolExecutor(2) as pool:
            promoting = pool.submit(act, store, models.promote)
            deleting = pool.submit(act, other, models.delete)
        assert promoting.result() != deleting.result()
        with store.reading() as session:
            assert (models.promoted_id(session) == id) == promoting.result()
            assert (id in {model.id for model in models.all(session)}) == promoting.result()
    other.close()
