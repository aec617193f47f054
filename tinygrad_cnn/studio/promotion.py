"""Promotion of models: a worse model is refused, unless the caller insists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_cnn.data import DataLoader, Dataset, load
from tinygrad_cnn.studio import model_files
from tinygrad_cnn.studio.image_sets import DRAWN_SETS
from tinygrad_cnn.studio.store import (
    ConflictError,
    Store,
    StoredDrawing,
    StoredModel,
    drawings,
    models,
)
from tinygrad_cnn.studio.training.preparation import images_and_labels
from tinygrad_cnn.train import evaluate

__all__ = ["WorseModelError", "common_set", "promote"]

BATCH = 100


class WorseModelError(Exception):
    """A model is worse than the promoted one.

    Attributes
    ----------
    before, after : float
        Accuracies of the promoted model and the candidate, on the same images.
    count : int
        Number of images.
    """

    def __init__(self, before: float, after: float, count: int) -> None:
        super().__init__(
            f"on {count} images that neither model was trained on, its accuracy is {after:.2%}, "
            f"that of the promoted model {before:.2%}: pass insist to promote it anyway"
        )
        self.before = before
        self.after = after
        self.count = count


def promote(store: Store, id: int, insist: bool = False) -> StoredModel:
    """Promote a model, unless it is worse than the promoted one.

    Both are evaluated on the same images, independent of their training data: see `common_set`.

    Parameters
    ----------
    store : Store
    id : int
    insist : bool
        Promote without comparing.

    Returns
    -------
    StoredModel
        The promoted model.

    Raises
    ------
    NotFoundError
        If the model does not exist.
    ConflictError
        If it does not classify drawings.
    WorseModelError
        If the model is worse and `insist` is False.
    """
    while True:
        with store.reading() as session:
            candidate = models.get(session, id)
            standard = models.promoted(session)
            drawn = drawings.held_back(session)
        source = candidate.settings["data"]["source"]
        if source not in DRAWN_SETS:
            raise ConflictError(
                f"model {id} classifies {source}, but the promoted model classifies drawings"
            )
        if not insist and standard is not None and standard.id != id:
            images = common_set(drawn)
            before, after = (_accuracy(model, images) for model in (standard, candidate))
            if after < before:
                raise WorseModelError(before, after, len(images))
        with store.session() as session:
            if insist or models.promoted_id(session) == (standard and standard.id):
                return models.promote(session, id, insist)
        # Another model was promoted meanwhile: compare with that one.


def common_set(drawn: Sequence[StoredDrawing]) -> Dataset:
    """Return the comparison set: the embedded test digits, and the held-back drawings."""
    test = load("digits").test
    images, labels = images_and_labels(drawn)
    return Dataset(
        np.concatenate([test.images, images]),
        np.concatenate([test.labels, labels]),
        test.classes,
        "the test digits and the held-out drawings",
    )


def _accuracy(model: StoredModel, images: Dataset) -> float:
    run = model_files.read(model.weights)
    loader = DataLoader(images, BATCH, transform=run.settings.data.normalize())
    return evaluate(run.model, loader).accuracy
