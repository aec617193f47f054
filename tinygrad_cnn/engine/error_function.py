"""The error function, which NumPy lacks, with all digits and without SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_cnn.engine import chunks
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.selection import where

WORK = 64  # for each element


def erf(x: Array) -> Array:
    """Return the error function 2/√π · ∫₀ˣ e^(−t²) dt of a floating or complex array.

    The result is right to a few units in the last place (W. J. Cody, "Rational Chebyshev
    approximations for the error function", Mathematics of Computation 23, 1969). Complex values
    are accepted next to the real axis only, as a complex step needs them; see `_continued`.
    """
    if np.iscomplexobj(x):
        return _continued("erf", erf, x, 1.0)
    return _in_chunks(_erf, x)


def erfc(x: Array) -> Array:
    """Return 1 − erf(x) without cancellation: right to a few units in the last place; see `erf`."""
    if np.iscomplexobj(x):
        return _continued("erfc", erfc, x, -1.0)
    return _in_chunks(_erfc, x)


# Coefficients from Cody, 1969, the highest power first, for the intervals below.
_NEAR = 0.46875  # erf(x) = x·P(x²) / Q(x²) up to here,
_P_NEAR = (
    1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02,
    3.77485237685302021e02, 3.20937758913846947e03,
)  # fmt: skip
_Q_NEAR = (
    1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03,
    2.84423683343917062e03,
)  # fmt: skip
_FAR = 4.0  # erfc(x) = e^(−x²)·P(x) / Q(x) up to here,
_P_MIDDLE = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00,
    6.61191906371416295e01, 2.98635138197400131e02, 8.81952221241769090e02,
    1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03,
)  # fmt: skip
_Q_MIDDLE = (
    1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02,
    1.62138957456669019e03, 3.29079923573345963e03, 4.36261909014324716e03,
    3.43936767414372164e03, 1.23033935480374942e03,
)  # fmt: skip
# and erfc(x) = e^(−x²)/x · (1/√π − z·P(z) / Q(z)) with z = 1/x² beyond
_P_FAR = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
    1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4,
)  # fmt: skip
_Q_FAR = (
    1.0, 2.56852019228982242e00, 1.87295284992346725e00, 5.27905102951428412e-1,
    6.05183413124413191e-2, 2.33520497626869185e-3,
)  # fmt: skip
# In float32 fewer are enough, fitted so that the largest relative error is 7e-9: erf(x) = x·P(x²)
# up to 0.5, and erfc(x) = e^(−x²)·P(x) / Q(x) from 0 to 11.
_SINGLE_NEAR = (
    4.71798984460671e-3, -2.67571841550612e-2, 1.12828228074081e-1, -3.76126085727503e-1,
    1.12837916556734e00,
)  # fmt: skip
_SINGLE_P = (
    3.353833041044187e-2, 2.327375110564405e-1, 7.389670790329763e-1, 1.2454169364493959e00,
    1.0000000067325456e00,
)  # fmt: skip
_SINGLE_Q = (
    5.944450350125987e-2, 4.12539627799772e-1, 1.3391162335038191e00, 2.4174992011875727e00,
    2.373796774598453e00, 1.0,
)  # fmt: skip
_SHORT = np.int32(-1 << 12)  # of the bits of a float32: 12 digits remain, whose square is exact
_VANISHED = {"f": 11.0, "d": 30.0}  # where e^(−x²) is 0


def _erf(x: Array) -> Array:
    size = np.abs(x)
    return where(size <= _NEAR, _near(x), np.copysign(1.0 - _tail(size), x))


def _erfc(x: Array) -> Array:
    size = np.abs(x)
    tail = _tail(size)
    right = where(x < 0, 2.0 - tail, tail)
    return right if x.dtype.char == "f" else where(size <= _NEAR, 1.0 - _near(x), right)


def _near(x: Array) -> Array:
    """Return erf(x) where |x| ≤ 0.46875."""
    x = np.clip(x, -_NEAR, _NEAR)
    z = x * x
    if x.dtype.char == "f":
        return x * _polynomial(_SINGLE_NEAR, z)
    return x * (_polynomial(_P_NEAR, z) / _polynomial(_Q_NEAR, z))


def _tail(x: Array) -> Array:
    """Return erfc(x) where x > 0.46875, or in float32 where x ≥ 0."""
    x = np.minimum(x, _VANISHED[x.dtype.char])
    if x.dtype.char == "f":
        y = _polynomial(_SINGLE_P, x)
        y /= _polynomial(_SINGLE_Q, x)
        return _times_gaussian(y, x, (x.view("i4") & _SHORT).view("f4"))
    y = _polynomial(_P_MIDDLE, x) / _polynomial(_Q_MIDDLE, x)
    if (far := x > _FAR).any():
        beyond = x[far]
        z = 1.0 / (beyond * beyond)
        rest = z * (_polynomial(_P_FAR, z) / _polynomial(_Q_FAR, z))
        y[far] = (1.0 / math.sqrt(math.pi) - rest) / beyond
    return _times_gaussian(y, x, np.floor(x * 16.0) * 0.0625)


def _times_gaussian(y: Array, x: Array, m: Array) -> Array:
    """Multiply `y` by e^(−x²), with m ≈ x of so few digits that m² is exact.

    x² would be rounded, and e^(−x²) wrong by x² roundings; but x² = m² + (x − m)(x + m).
    """
    rest = m - x
    rest *= m + x
    y *= np.exp(rest, out=rest)
    np.multiply(m, m, out=rest)
    y *= np.exp(np.negative(rest, out=rest), out=rest)
    return y


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Return the polynomial with these coefficients, the highest power first, at `x`."""
    value = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value *= x
        value += coefficient
    return value


def _continued(name: str, function: Callable[[Array], Array], x: Array, sign: float) -> Array:
    """Return f(a + ib) = f(a) + ib·f′(a), exact to rounding next to the real axis.

    Raises
    ------
    ValueError
        If the imaginary part is so large that the next term, b²·f″(a) / 2, counts.
    """
    a, b = np.real(x), np.imag(x)
    if (np.abs(b) > 1e-9).any():
        worst = x[np.unravel_index(np.argmax(np.abs(b)), x.shape)]
        raise ValueError(
            f"{name}: x has {worst}, expected real numbers, or imaginary parts of at most 1e-9"
        )
    m = np.minimum(np.abs(a), _VANISHED["d"])
    slope = (sign * 2.0 / math.sqrt(math.pi)) * np.exp(-m * m)
    return np.asarray(function(a) + 1j * (slope * b))


def _in_chunks(function: Callable[[Array], Array], x: Array) -> Array:
    """Return ``function(x)`` of an elementwise function, computed in chunks and by threads."""
    if x.ndim == 0:
        return function(x.reshape(1)).reshape(())
    return chunks.mapped(function, x, work=WORK)
