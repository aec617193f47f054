"""The database tables. A change here needs a new file in ``migrations/versions``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ColumnElement,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    and_,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

__all__ = [
    "HELD_BACK_EVERY",
    "Base",
    "Change",
    "ChangeKind",
    "Created",
    "PointKind",
    "Promotion",
    "RunKind",
    "RunState",
    "StoredDrawing",
    "StoredModel",
    "StoredPoint",
    "StoredRun",
    "StoredSnapshot",
    "Wanted",
    "now",
]

RunKind = Literal["train", "fine-tune"]
RunState = Literal["queued", "running", "paused", "done", "cancelled", "failed"]
Wanted = Literal["run", "pause", "cancel"]
PointKind = Literal["point", "epoch", "restarted"]
ChangeKind = Literal["model", "drawing", "run", "point", "snapshot"]

HELD_BACK_EVERY = 5
"""Every fifth drawing is never trained with; see `StoredDrawing.held_back`."""


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A time with its zone; SQLite stores none, so all times are stored in UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"store: the time {value} has no zone")
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


def _one_of(kind: Any, name: str) -> Enum:
    """Return the column type for the strings of a Literal."""
    return Enum(*get_args(kind), name=name, native_enum=False, create_constraint=True, length=16)


class Base(DeclarativeBase):
    """Base class of all tables. Ids are never reused, so links and folders stay unambiguous."""

    metadata = MetaData(
        naming_convention={
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Moment, dict[str, Any]: JSON(none_as_null=True)}  # noqa: RUF012  # SQLAlchemy's


class Created:
    """A row that a client's request created.

    Attributes
    ----------
    key : str or None
        The request's idempotency key.
    """

    key: Mapped[str | None] = mapped_column(index=True, unique=True)


class StoredModel(Created, Base):
    """A trained model.

    Attributes
    ----------
    settings : dict
        `tinygrad_cnn.train.RunSettings` as JSON.
    weights : bytes
        Format of `tinygrad_cnn.studio.model_files`. Lists of models load it only when it is
        accessed within the session.
    parameters : int
        Number of learned parameters.
    accuracy : float
        Accuracy on its test images.
    report : dict
        See `tinygrad_cnn.studio.report`. Lists load it only on access, too.
    detector : bytes or None
        See `tinygrad_cnn.studio.novelty`; uploaded models and those of earlier versions have none.
    run_id, parent_id : int or None
        The run that trained it, and the model that the run started from, if they still exist.
    """

    __tablename__ = "models"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    created: Mapped[datetime] = mapped_column(default=now)
    settings: Mapped[dict[str, Any]]
    weights: Mapped[bytes] = mapped_column(deferred=True)
    parameters: Mapped[int]
    accuracy: Mapped[float]
    report: Mapped[dict[str, Any]] = mapped_column(deferred=True)
    detector: Mapped[bytes | None] = mapped_column(deferred=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"))


class Promotion(Base):
    """An entry in the history of promotions: the last row is in effect. Rows are never deleted.

    Attributes
    ----------
    model_id : int or None
        None once the model is deleted.
    insisted : bool
        Whether it was promoted although worse than the one before.
    restores : int or None
        For a roll-back: the promotion that it restores.
    """

    __tablename__ = "promotions"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int | None] = mapped_column(
        ForeignKey("models.id", ondelete="SET NULL"), index=True
    )
    at: Mapped[datetime] = mapped_column(default=now)
    insisted: Mapped[bool] = mapped_column(default=False)
    restores: Mapped[int | None] = mapped_column(ForeignKey("promotions.id"))


class StoredDrawing(Created, Base):
    """A user's drawing.

    Attributes
    ----------
    label : int or None
        The digit, if labeled.
    picture : bytes
        A PNG.
    input : bytes
        The 28 × 28 gray values of the network's input.
    """

    __tablename__ = "drawings"
    __table_args__ = (
        CheckConstraint("label BETWEEN 0 AND 9", name="label"),
        CheckConstraint("length(input) = 784", name="input"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    label: Mapped[int | None] = mapped_column(index=True)
    created: Mapped[datetime] = mapped_column(default=now)
    picture: Mapped[bytes] = mapped_column(deferred=True)
    input: Mapped[bytes]

    @hybrid_property
    def held_back(self) -> bool:
        """Whether it is held back for evaluation: it has a label, and its id is a multiple of five.

        Both criteria are stable: a drawing used in training is never used for evaluation, whatever
        is deleted or relabeled.
        """
        return self.label is not None and self.id % HELD_BACK_EVERY == 0

    @held_back.inplace.expression
    @classmethod
    def _held_back(cls) -> ColumnElement[bool]:
        return and_(cls.label.is_not(None), cls.id % HELD_BACK_EVERY == 0)


class StoredRun(Created, Base):
    """A requested training run.

    Attributes
    ----------
    state : str
        The current state.
    wanted : str
        The requested state; the training process checks it between batches.
    steps : int
        Number of batches to do while paused.
    request : dict
        The request.
    epoch, epochs : int
        Epochs done, and epochs in total.
    model_id : int or None
        The resulting model.
    result : dict or None
        Metrics after the last epoch that is done; see `tinygrad_cnn.studio.training.reporting`.
    before, after : dict or None
        Accuracies before and after a fine-tuning.
    error : str or None
        Why it failed, or why its last process has ended.
    attempts : int
        Number of starts since the last finished epoch.
    """

    __tablename__ = "runs"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[RunKind] = mapped_column(_one_of(RunKind, "kind"))
    state: Mapped[RunState] = mapped_column(
        _one_of(RunState, "state"), default="queued", index=True
    )
    wanted: Mapped[Wanted] = mapped_column(_one_of(Wanted, "wanted"), default="run")
    steps: Mapped[int] = mapped_column(default=0)
    request: Mapped[dict[str, Any]]
    epoch: Mapped[int] = mapped_column(default=0)
    epochs: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    ended: Mapped[datetime | None]
    model_id: Mapped[int | None] = mapped_column(
        # Models refer to runs as well: use_alter breaks the cycle for the table order.
        ForeignKey("models.id", ondelete="SET NULL", use_alter=True)
    )
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)


class StoredPoint(Base):
    """A metric or an event of a run; the id orders them.

    Attributes
    ----------
    step : int
        Number of batches that the run had done.
    """

    __tablename__ = "points"
    __table_args__ = (
        Index("ix_points_run_id", "run_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    kind: Mapped[PointKind] = mapped_column(_one_of(PointKind, "kind"))
    step: Mapped[int]
    payload: Mapped[dict[str, Any]]


class StoredSnapshot(Base):
    """The latest kernels of a run."""

    __tablename__ = "snapshots"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int]
    payload: Mapped[dict[str, Any]]


class Change(Base):
    """An entry of the outbox: a row was added, changed or deleted, or a model promoted.

    Attributes
    ----------
    kind : str
    row_id : int
        The id of the row; that of the run for a snapshot.
    """

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[ChangeKind] = mapped_column(String)
    row_id: Mapped[int]
