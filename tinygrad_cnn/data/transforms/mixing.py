"""Transforms of a batch that mix images and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.data.labels import one_hot
from tinygrad_cnn.data.transforms.base import Images, check, in_floats
from tinygrad_cnn.data.transforms.cropping import rectangles
from tinygrad_cnn.support.arguments import positive, whole

__all__ = ["CutMix", "MixUp"]

Batch: TypeAlias = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class _Mixing:
    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        positive(type(self).__name__, "alpha", self.alpha)
        if self.num_classes is not None:
            whole(type(self).__name__, "num_classes", self.num_classes)

    def __call__(self, batch: Batch, rng: np.random.Generator | None = None) -> Batch:
        """Mix a batch ``(images, labels)``; the labels of the result are rows of weights."""
        name = type(self).__name__
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"{name}: got a {type(batch).__name__}; expected a batch (images, labels), as "
                f"DataLoader(..., batch_transform={name}(...)) passes it"
            )
        images, labels = batch
        check(name, images)
        rows = self._rows(np.asarray(labels), len(images), images)
        rng = generator(name, rng)
        other = rng.permutation(len(images))
        share = rng.beta(self.alpha, self.alpha, len(images))
        mixed, share = self._mix(images, images[other], share, rng)
        weight = share.astype(rows.dtype)[:, None]
        return mixed, weight * rows + (1 - weight) * rows[other]

    def _rows(self, labels: NDArray[Any], count: int, images: Images) -> NDArray[Any]:
        """Return labels as rows of weights, in the dtype of the images."""
        name = type(self).__name__
        dtype = np.float32 if images.dtype == np.uint8 else images.dtype
        if labels.ndim == 2 and len(labels) == count:
            return labels.astype(dtype)
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise TypeError(
                f"{name}: labels are {labels.dtype} of shape {labels.shape}; expected integers of "
                f"shape ({count},), or rows of weights"
            )
        if self.num_classes is None:
            raise ValueError(f"{name}: labels are classes: expected num_classes=...")
        rows: NDArray[Any] = one_hot(labels, self.num_classes).astype(dtype)
        return rows

    def _mix(
        self, images: Images, others: Images, share: NDArray[Any], rng: np.random.Generator
    ) -> tuple[Images, NDArray[Any]]:
        """Return the mixed images, and the share of the first in each."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class MixUp(_Mixing):
    """Average each image, and its label, with another of the batch (Zhang et al. 2018).

    It is a transform of a batch: ``DataLoader(..., batch_transform=MixUp(num_classes=10))``. The
    labels become rows of weights with sum 1, which `cross_entropy` takes as they are.

    Parameters
    ----------
    alpha : float
        The share of the first image is drawn for each pair from the distribution Beta(α, α).
    num_classes : int, optional
        The number of classes; needed if labels are integers.

    Raises
    ------
    ValueError
        If `alpha` is not positive, or `num_classes` is missing.

    References
    ----------
    H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization",
    ICLR 2018.

    Examples
    --------
    >>> batch = np.array([0.0, 1.0]).reshape(2, 1, 1, 1), np.array([0, 1])
    >>> images, labels = MixUp(num_classes=2)(batch, np.random.default_rng(4))
    >>> images.ravel().round(2), labels.round(2).tolist()
    (array([0.88, 0.53]), [[0.12, 0.88], [0.47, 0.53]])
    """

    def _mix(
        self, images: Images, others: Images, share: NDArray[Any], rng: np.random.Generator
    ) -> tuple[Images, NDArray[Any]]:
        if images.dtype == np.uint8:
            others = others.astype(np.float32)

        def mixed(floats: Any) -> Any:
            weight = share.astype(floats.dtype)[:, None, None, None]
            return weight * floats + (1 - weight) * others

        return in_floats(images, mixed), share


@dataclass(frozen=True, kw_only=True)
class CutMix(_Mixing):
    """Paste a rectangle of another image of the batch into each (Yun et al. 2019).

    It is a transform of a batch: ``DataLoader(..., batch_transform=CutMix(num_classes=10))``. The
    labels become rows of weights: the share of each image in the pixels.

    Parameters
    ----------
    alpha : float
        The share of the first image is drawn for each pair from the distribution Beta(α, α). The
        rectangle has a uniformly distributed center and is cut off at the borders.
    num_classes : int, optional
        The number of classes; needed if labels are integers.

    Raises
    ------
    ValueError
        If `alpha` is not positive, or `num_classes` is missing.

    References
    ----------
    S. Yun, D. Han, S. J. Oh, S. Chun, J. Choe, Y. Yoo, "CutMix: regularization strategy to train
    strong classifiers with localizable features", ICCV 2019.

    Examples
    --------
    >>> batch = np.array([0.0, 1.0]).repeat(8).reshape(2, 1, 2, 4), np.array([0, 1])
    >>> images, labels = CutMix(num_classes=2)(batch, np.random.default_rng(4))
    >>> images[0, 0]
    array([[0., 1., 1., 1.],
           [0., 0., 0., 0.]])
    >>> labels[0]
    array([0.625, 0.375])
    """

    def _mix(
        self, images: Images, others: Images, share: NDArray[Any], rng: np.random.Generator
    ) -> tuple[Images, NDArray[Any]]:
        ends = []
        for n in images.shape[2:]:
            center, half = rng.integers(n, size=len(images)), n * np.sqrt(1 - share) / 2
            ends.append([np.clip(center + sign * half, 0, n).astype(int) for sign in (-1, 1)])
        (top, bottom), (left, right) = ends
        size = images.shape[2:]
        pasted = rectangles(top, left, bottom - top, right - left, size)
        return np.where(pasted, others, images), 1 - pasted.mean(axis=(1, 2, 3))
