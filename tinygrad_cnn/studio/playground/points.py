"""The playground's data sets, points of two classes in a plane, and the features made from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATA_SETS", "FEATURES", "REACH", "DataSet", "Feature", "features_of", "grid", "sampled"]

REACH = 3.0
"""The plane goes from −REACH to REACH in both directions."""

RADIUS = 2.5
NOISE = 0.8  # standard deviation of the noise 1
GAP = 0.15  # between the quadrants of "xor"
SPREAD = 0.5  # standard deviation of the clouds of "gaussians"
TURNS = 1.75

PlanePoints = NDArray[np.float64]
"""Points of shape (N, 2)."""


@dataclass(frozen=True)
class DataSet:
    """A data set of the plane.

    Attributes
    ----------
    label : str
    draw : callable
        Returns a point per class in ``classes``, which are 0 or 1.
    """

    label: str
    draw: Callable[[NDArray[np.int64], np.random.Generator], PlanePoints]


def _circles(classes: NDArray[np.int64], rng: np.random.Generator) -> PlanePoints:
    inner, outer = rng.uniform(0.0, 0.5, len(classes)), rng.uniform(0.7, 1.0, len(classes))
    return _polar(RADIUS * np.where(classes == 1, inner, outer), rng.uniform(0, 1, len(classes)))


def _xor(classes: NDArray[np.int64], rng: np.random.Generator) -> PlanePoints:
    points = rng.uniform(GAP, RADIUS, (len(classes), 2))
    signs = rng.choice([-1.0, 1.0], len(classes))
    points[:, 0] *= signs
    points[:, 1] *= np.where(classes == 1, signs, -signs)
    return points


def _gaussians(classes: NDArray[np.int64], rng: np.random.Generator) -> PlanePoints:
    centers = np.where(classes == 1, 1.2, -1.2)[:, np.newaxis]
    return centers + rng.normal(0.0, SPREAD, (len(classes), 2))


def _spiral(classes: NDArray[np.int64], rng: np.random.Generator) -> PlanePoints:
    shares = rng.uniform(0.04, 1.0, len(classes))
    return _polar(RADIUS * shares, TURNS * shares + 0.5 * classes)


def _polar(radius: NDArray[np.float64], turns: NDArray[np.float64]) -> PlanePoints:
    angle = 2 * np.pi * turns
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)


DATA_SETS = {
    "circles": DataSet("Circles", _circles),
    "xor": DataSet("Exclusive or", _xor),
    "gaussians": DataSet("Two Gaussians", _gaussians),
    "spiral": DataSet("Spiral", _spiral),
}
"""Data sets by name."""


def sampled(
    name: str, count: int, noise: float, seed: int
) -> tuple[PlanePoints, NDArray[np.int64]]:
    """Return points of a data set in random order, as many of either class, rounded.

    Parameters
    ----------
    name : str
        A key of ``DATA_SETS``.
    count : int
    noise : float
        0 for none; 1 for a standard deviation of 0.8.
    seed : int

    Returns
    -------
    tuple of ndarray
        Points of shape (count, 2) within the plane, and their classes, 0 or 1.

    Examples
    --------
    >>> points, classes = sampled("circles", 4, noise=0.0, seed=1)
    >>> points.shape, sorted(classes.tolist())
    ((4, 2), [0, 0, 1, 1])
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(count, dtype=np.int64) % 2)
    points = DATA_SETS[name].draw(classes, rng) + NOISE * noise * rng.normal(size=(count, 2))
    rounded: PlanePoints = np.round(points.clip(-REACH, REACH), 3)
    return rounded, classes


# --- features ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feature:
    """An input of the network, computed from the coordinates of a point.

    Attributes
    ----------
    label : str
    compute : callable
        Of the two coordinates, each of shape (N,).
    """

    label: str
    compute: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


FEATURES = {
    "x1": Feature("x₁", lambda x1, x2: x1),
    "x2": Feature("x₂", lambda x1, x2: x2),
    "x1^2": Feature("x₁²", lambda x1, x2: x1 * x1),
    "x2^2": Feature("x₂²", lambda x1, x2: x2 * x2),
    "x1*x2": Feature("x₁x₂", lambda x1, x2: x1 * x2),
    "sin x1": Feature("sin 2x₁", lambda x1, x2: np.sin(2 * x1)),
    "sin x2": Feature("sin 2x₂", lambda x1, x2: np.sin(2 * x2)),
}
"""Features by name."""


def features_of(points: PlanePoints, names: list[str]) -> NDArray[np.float64]:
    """Return the features of points, of shape (N, features).

    Examples
    --------
    >>> features_of(np.array([[2.0, -1.0]]), ["x2", "x1*x2"])
    array([[-1., -2.]])
    """
    x1, x2 = points.reshape(-1, 2).T
    return np.stack([FEATURES[name].compute(x1, x2) for name in names], 1)


def grid(size: int) -> PlanePoints:
    """Return the centers of size × size cells of the plane, row by row from the top left."""
    centers = REACH * ((2 * np.arange(size) + 1) / size - 1)
    x1, x2 = np.meshgrid(centers, -centers)
    return np.stack([x1.ravel(), x2.ravel()], 1)
