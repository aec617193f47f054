"""Routes for runs: create, follow and control them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from tinygrad_cnn.data import is_local
from tinygrad_cnn.nn import ACTIVATIONS, POOLINGS
from tinygrad_cnn.studio.api.fields import LARGEST_ID, Id, IdempotencyKey, RequestBody, one_of
from tinygrad_cnn.studio.image_sets import IMAGE_SETS
from tinygrad_cnn.studio.problems import Problem, documented, refusal
from tinygrad_cnn.studio.services import UsesServices
from tinygrad_cnn.studio.store import (
    StoredPoint,
    StoredRun,
    StoredSnapshot,
    checked_name,
    created,
    models,
    points,
    runs,
    snapshots,
)
from tinygrad_cnn.studio.store.names import LONGEST_NAME
from tinygrad_cnn.studio.store.tables import RunKind, RunState, Wanted
from tinygrad_cnn.studio.training.requests import (
    FIRST,
    FIRST_FINE_TUNING,
    MODEL_OPTIONS,
    MOST_HIDDEN,
    NUMBERS,
    SettingError,
    fine_tune_request,
    queue,
    train_request,
)
from tinygrad_cnn.studio.training.supervisor import Supervisor
from tinygrad_cnn.train import AUGMENTATIONS, OPTIMIZERS, SCHEDULES

__all__ = ["RunAnswer", "answer", "payload_of", "router"]

MOST_STEPS = 1000
MOST_WAITING = 50

router = APIRouter(prefix="/api/runs", tags=["runs"])

RunName = Annotated[str | None, Field(description="name of the run and its model")]


def _number(name: str) -> Any:
    """Return the constraints of a number that `NUMBERS` declares."""
    return Field(**cast(Any, NUMBERS[name].bounds))


LearningRate = Annotated[float, _number("lr")]
Epochs = Annotated[int, _number("epochs")]
Seed = Annotated[int, _number("seed")]

Integer = Annotated[int, Field(ge=-(2**31), le=2**31)]
Value = Integer | float | bool | Annotated[str, Field(max_length=40)] | list[float]
RunOptions = Annotated[
    dict[str, Value] | None,
    Field(max_length=20, description="further arguments by name, as /api/state lists them"),
]


class RunRequest(RequestBody):
    """A new training run. Null means the default of the model or of the data's recipe."""

    model: Annotated[str, one_of(MODEL_OPTIONS)] = FIRST["model"]
    data: Annotated[str, one_of(IMAGE_SETS)] = FIRST["data"]
    activation: Annotated[str, one_of(ACTIVATIONS)] | None = None
    pooling: Annotated[str, one_of(POOLINGS)] | None = None
    hidden: list[Annotated[int, _number("hidden")]] | None = Field(None, max_length=MOST_HIDDEN)
    batch_norm: bool | None = None
    dropout: Annotated[float, _number("dropout")] | None = None
    optimizer: Annotated[str, one_of(OPTIMIZERS)] | None = None
    lr: LearningRate | None = None
    batch_size: Annotated[int, _number("batch_size")] | None = None
    schedule: Annotated[str, one_of(SCHEDULES)] | None = None
    augment: Annotated[str, one_of(AUGMENTATIONS)] | None = None
    weight_decay: Annotated[float, _number("weight_decay")] | None = None
    optimizer_options: RunOptions = None
    schedule_options: RunOptions = None
    epochs: Epochs = FIRST["epochs"]
    seed: Seed = FIRST["seed"]
    name: RunName = None


class FineTuningRequest(RequestBody):
    """Fine-tuning of a model, null for the promoted one, on labeled drawings not held out."""

    model: Id | None = None
    epochs: Epochs = FIRST_FINE_TUNING["epochs"]
    lr: LearningRate = FIRST_FINE_TUNING["lr"]
    replay: Annotated[int, _number("replay")] = FIRST_FINE_TUNING["replay"]
    seed: Seed = FIRST_FINE_TUNING["seed"]
    name: RunName = None


class RunResult(BaseModel):
    """The metrics of a run after its last epoch; `seconds` are those of all epochs."""

    loss: float | None
    accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float | None
    parameters: int | None


class RunAnswer(BaseModel):
    """A run.

    While it is queued, `position` is its place in the queue, from 1. A run that has begun but has
    no process is "interrupted": `error` says why, and it continues from its last epoch at
    `retry_at`, or soon. `waits_for` lists the runs that hold all places, if it waits for one: a
    paused or interrupted run keeps its place.
    """

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    kind: RunKind
    state: RunState | Literal["interrupted"]
    wanted: Wanted
    steps: int
    request: dict[str, Any]
    epoch: int
    epochs: int
    created: datetime
    started: datetime | None
    ended: datetime | None
    model_id: int | None
    result: RunResult | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    error: str | None
    attempts: int
    position: int | None = None
    retry_at: datetime | None = None
    waits_for: list[int] = []


class RunList(BaseModel):
    """All runs, newest first."""

    runs: list[RunAnswer]


class PointAnswer(BaseModel):
    """A metric or another event of a run; `payload` is its content."""

    id: int
    kind: str
    step: int
    payload: dict[str, Any]


class RunPoints(BaseModel):
    """Points of a run, thinned out evenly if there are too many, and its latest kernels."""

    points: list[PointAnswer]
    snapshot: dict[str, Any] | None


def answer(session: Session, run: StoredRun, supervisor: Supervisor) -> RunAnswer:
    """Return the answer for a run: its row, and whether it is at work."""
    found = RunAnswer.model_validate(run)
    found.position = runs.position(session, run)
    interruption = None if run.state in runs.ENDED else supervisor.interruption(run.id)
    if run.state in runs.BEGUN and (interruption is not None or run.error is not None):
        found.state = "interrupted"  # also while its next process starts: that clears the error
    if interruption is not None:
        found.error = interruption.reason or run.error
        found.retry_at = interruption.retry_at
        found.waits_for = supervisor.waits_for(run.id)
    return found


def payload_of(row: StoredPoint | StoredSnapshot) -> dict[str, Any]:
    """Return the payload of a point or a snapshot, for events and lists alike."""
    return {"run_id": row.run_id, "step": row.step, **row.payload}


@router.post("", status_code=201, responses=documented("invalid", "conflict"))
def create(
    new: RunRequest, services: UsesServices, idempotency_key: IdempotencyKey = None
) -> RunAnswer:
    """Queue a training run."""
    asked = new.model_dump(exclude={"name"})
    if new.name is not None:
        _check_name(new.name)
    try:
        request = train_request(asked.pop("model"), asked.pop("data"), **asked)
    except SettingError as error:
        raise _refused(error.setting, error.value, str(error)) from None
    if not is_local(new.data):
        reason = f"data: the images {new.data!r} are not on this machine"
        raise _refused("data", new.data, reason)
    with services.store.session() as session:
        known = created(session, StoredRun, idempotency_key)
        if known is not None:
            return answer(session, known, services.supervisor)
        _check_queue(session)
        run = queue(session, request, new.name or f"{new.model} on {new.data}")
        run.key = idempotency_key
        queued = answer(session, run, services.supervisor)
    services.supervisor.wake()
    return queued


@router.post(
    "/fine-tune",
    status_code=201,
    responses=documented("invalid", "conflict", "no-model", "not-found"),
)
def fine_tune(
    new: FineTuningRequest, services: UsesServices, idempotency_key: IdempotencyKey = None
) -> RunAnswer:
    """Queue the fine-tuning of a model, on the drawings that are stored now."""
    with services.store.session() as session:
        known = created(session, StoredRun, idempotency_key)
        if known is not None:
            return answer(session, known, services.supervisor)
        _check_queue(session)
        model_id = models.promoted_id(session) if new.model is None else new.model
        if model_id is None:
            raise Problem("no-model", "there is no model to fine-tune yet")
        base = models.get(session, model_id)
        chosen = new.model_dump(include={"epochs", "lr", "replay", "seed"})
        request = fine_tune_request(session, model_id=model_id, **chosen)
        if not is_local(request["data"]):
            reason = f"model: it needs the images {request['data']!r}, not on this machine"
            raise _refused("model", new.model, reason)
        name = _taught(base.name) if new.name is None else new.name
        _check_name(name)  # a model's name may be from a version that allowed more
        run = queue(session, request, name)
        run.key = idempotency_key
        queued = answer(session, run, services.supervisor)
    services.supervisor.wake()
    return queued


@router.get("")
def every(services: UsesServices) -> RunList:
    """List the runs."""
    with services.store.reading() as session:
        return RunList(
            runs=[answer(session, run, services.supervisor) for run in runs.all(session)]
        )


@router.get("/{id}", responses=documented("not-found"))
def one(id: Id, services: UsesServices) -> RunAnswer:
    """Return a run."""
    with services.store.reading() as session:
        return answer(session, runs.get(session, id), services.supervisor)


@router.delete("/{id}", status_code=204, responses=documented("not-found", "conflict"))
def delete(id: Id, services: UsesServices) -> None:
    """Delete a finished run, with its points; its model stays."""
    with services.store.session() as session:
        runs.delete(session, id)
    shutil.rmtree(services.settings.runs_dir / str(id), ignore_errors=True)


@router.get("/{id}/points", responses=documented("not-found"))
def figures(
    id: Id, services: UsesServices, after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0
) -> RunPoints:
    """Return the points of a run after a given one, and its latest kernels."""
    with services.store.reading() as session:
        runs.get(session, id)
        shown = snapshots.get(session, id)
        return RunPoints(
            points=_answers(points.thinned(session, id, after)),
            snapshot=payload_of(shown) if shown else None,
        )


@router.post("/{id}/pause", responses=documented("not-found", "conflict"))
def pause(id: Id, services: UsesServices) -> RunAnswer:
    """Pause a run after the current batch."""
    return _want(services, id, "pause")


@router.post("/{id}/resume", responses=documented("not-found", "conflict"))
def resume(id: Id, services: UsesServices) -> RunAnswer:
    """Resume a paused run."""
    return _want(services, id, "run")


@router.post("/{id}/step", responses=documented("not-found", "conflict"))
def step(id: Id, services: UsesServices) -> RunAnswer:
    """Run one batch of a paused run."""
    with services.store.session() as session:
        run = _begun(session, id, "step")
        if run.wanted != "pause":
            raise Problem("conflict", f"run {id} is not paused: pause it before you step")
        if run.steps >= MOST_STEPS:
            raise Problem("conflict", f"run {id} still has {run.steps} steps to do: wait for them")
        run.steps += 1
        session.flush()
        return answer(session, run, services.supervisor)


@router.post("/{id}/cancel", responses=documented("not-found", "conflict"))
def cancel(id: Id, services: UsesServices) -> RunAnswer:
    """Cancel a queued or started run; it gives no model."""
    with services.store.session() as session:
        run = runs.get(session, id)
        interrupted = services.supervisor.interruption(id) is not None
        at_once = run.state == "queued" or (run.state in runs.BEGUN and interrupted)
        if at_once:
            runs.set_state(session, id, "cancelled")
        canceled = answer(session, run, services.supervisor)
    if not at_once:
        return _want(services, id, "cancel")
    services.supervisor.wake()  # it has held a place
    return canceled


@router.post("/{id}/retry", responses=documented("not-found", "conflict"))
def retry(id: Id, services: UsesServices) -> RunAnswer:
    """Continue a failed run from its last epoch; if all are done, only finish it."""
    with services.store.session() as session:
        run = runs.reopen(session, id)
        reopened = answer(session, run, services.supervisor)
    services.supervisor.wake()
    return reopened


def _want(services: UsesServices, id: int, wanted: Wanted) -> RunAnswer:
    with services.store.session() as session:
        run = _begun(session, id, {"run": "resume"}.get(wanted, wanted))
        if run.wanted == "run" and wanted == "run":
            raise Problem("conflict", f"run {id} is not paused")
        if run.wanted == "cancel" and wanted != "cancel":
            raise Problem("conflict", f"run {id} is being canceled")
        if run.wanted != wanted:
            run.wanted = wanted
            run.steps = 0
            session.flush()
        return answer(session, run, services.supervisor)


def _begun(session: Session, id: int, act: str) -> StoredRun:
    run = runs.get(session, id)
    if run.state not in runs.BEGUN:
        raise Problem("conflict", f"run {id} is {run.state}: there is nothing to {act}")
    return run


def _check_name(name: str) -> None:
    try:
        checked_name(name)
    except ValueError as error:
        raise _refused("name", name, str(error)) from None


def _refused(setting: str, value: Any, reason: str) -> Problem:
    """Return the problem with one field of the body."""
    return Problem("invalid", reason, errors=[refusal(("body", setting), value, reason)])


def _taught(name: str) -> str:
    """Return the name of a model after fine-tuning."""
    end = ", taught"
    return name if name.endswith(end) else name[: LONGEST_NAME - len(end)] + end


def _check_queue(session: Session) -> None:
    waiting = len(runs.queued(session))
    if waiting >= MOST_WAITING:
        raise Problem("conflict", f"{waiting} runs are queued, the maximum: cancel some")


def _answers(found: Iterable[StoredPoint]) -> list[PointAnswer]:
    return [
        PointAnswer(id=point.id, kind=point.kind, step=point.step, payload=payload_of(point))
        for point in found
    ]
