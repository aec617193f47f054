"""Numerical derivatives, as the reference for gradients from the graph.

Two methods, for a function φ of one number t, at t = 0:

- **Complex step.** For an analytic φ that is real on real arguments,
  φ(ih) = φ(0) + ih φ′(0) − h²φ″(0)/2 − …, so Im φ(ih) / h is φ′(0) up to h². Without subtraction, h
  can be 1e-20, and the result is exact to rounding (Squire and Trapp, 1998).
- **Central differences**, with one Richardson step: D(h) = (φ(h) − φ(−h)) / 2h is φ′(0) + c h² + …,
  and R(h) = (4 D(h/2) − D(h)) / 3 is free of c. The change of R when h is halved, plus the rounding
  of φ over h, estimates the error. While it is large, or a branch changes within ±h, h shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

COMPLEX_STEP = 1e-20
SHRINK = 1 / 8
SHRINKS = 12
SMALL = 2.0**-28  # relative: below this error, no smaller step is tried


@dataclass(frozen=True, slots=True)
class Slope:
    """A derivative with its error estimate, or the `kink` that prevents it."""

    value: float
    error: float
    kink: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of φ at a point.

    `size` is the sum of the absolute values of its terms, the scale of rounding; `parted` names the
    op that took another branch than at 0.
    """

    value: float
    size: float
    parted: str = ""


def complex_step(phi: Callable[[complex], Any], h: float = COMPLEX_STEP) -> float:
    """Return φ′(0), exact to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> complex_step(lambda t: np.exp(2 * t))
    2.0
    """
    return float(np.imag(phi(1j * h)) / h)


def central_difference(phi: Callable[[float], Sample], h: float, epsilon: float) -> Slope:
    """Return φ′(0) for the step with the smallest error, among `h` and smaller steps.

    If every step takes another branch, 0 is on a kink, which the slope names. `epsilon` is the
    relative rounding of φ.

    Examples
    --------
    >>> import numpy as np
    >>> slope = central_difference(lambda t: Sample(np.exp(2 * t), 1.0), 2.0**-10, 2.0**-52)
    >>> bool(abs(slope.value - 2.0) < slope.error < 1e-9)
    True
    >>> kinked = lambda t: Sample(abs(t), 1.0, "abs" if t < 0 else "")
    >>> central_difference(kinked, 0.5, 2.0**-52).kink
    'abs'
    """
    best = Slope(np.nan, np.inf)
    parted = ""
    for _ in range(SHRINKS):
        points = {t: phi(t) for t in (-h, h, -h / 2, h / 2, -h / 4, h / 4)}
        beyond = [point.parted for point in points.values() if point.parted]
        if beyond:
            least = h * SHRINK ** (SHRINKS - 1)
            if not parted and (phi(least).parted or phi(-least).parted):
                return Slope(np.nan, np.inf, beyond[0])  # no step is small enough
            parted = beyond[0]
        else:
            slope, rounding = _richardson(points, h, epsilon)
            apart = abs(slope.value - best.value)
            settled = slope.error <= SMALL * abs(slope.value)
            if slope.error < best.error or (settled and apart > 8 * (slope.error + best.error)):
                best = slope  # the error of too long a step was underestimated
            if slope.error <= max(2 * rounding, SMALL * abs(slope.value)):
                break
        h *= SHRINK
    return best if np.isfinite(best.error) else Slope(np.nan, np.inf, parted or "not finite")


def bend(phi: Callable[[float], Sample], h: float, epsilon: float) -> tuple[float, float] | None:
    """Return the slopes left and right of 0 if φ has a corner there, else None.

    For a smooth φ, their difference is h φ″ and shrinks with h; at a corner it stays.

    Examples
    --------
    >>> bend(lambda t: Sample(max(t, 0.0), 1.0), 2.0**-10, 2.0**-52)
    (0.0, 1.0)
    >>> bend(lambda t: Sample(t * t, 1.0), 2.0**-10, 2.0**-52)
    """
    here = phi(0.0)
    sides = []
    for step in (h, h / 64):
        before, after = phi(-step), phi(step)
        sides.append(((here.value - before.value) / step, (after.value - here.value) / step))
    (left, right), rounding = sides[1], 64 * epsilon * max(before.size, after.size) * 64 / h
    wide, narrow = (abs(b - a) for a, b in sides)
    return (left, right) if narrow > max(wide / 4, rounding) else None


def _richardson(points: dict[float, Sample], h: float, epsilon: float) -> tuple[Slope, float]:
    """Return the slope from the values at ±h, ±h/2 and ±h/4, and its rounding error."""
    wide, middle, narrow = (
        (points[t].value - points[-t].value) / (2 * t) for t in (h, h / 2, h / 4)
    )
    coarse, fine = (4 * middle - wide) / 3, (4 * narrow - middle) / 3
    rounding = 8 * epsilon * max(point.size for point in points.values()) / h
    return Slope(fine, abs(fine - coarse) + rounding), rounding
