"""`check_gradients`: compare backward's gradients with numerical derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_cnn.check.comparison import CheckOptions
from tinygrad_cnn.check.diagnosis import FLOW, locate
from tinygrad_cnn.check.errors import mismatch
from tinygrad_cnn.check.examination import compare_order, fit_method
from tinygrad_cnn.check.functional import functional
from tinygrad_cnn.check.inputs import (
    check_options,
    checked_inputs,
    checked_value,
    in_float64,
    labels_of,
    refuse_unbounded,
)
from tinygrad_cnn.check.report import GradientReport, InputReport
from tinygrad_cnn.core.calculus import Function


def check_gradients(
    f: Function,
    *arrays: Any,
    order: int = 1,
    method: str = "auto",
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    entries: int = 128,
    names: Sequence[str] | None = None,
) -> GradientReport:
    """Compare the gradients of `f` for all inputs with numerical derivatives, up to `order`.

    The differentiated scalar is φ₁ = ⟨u, f⟩ with random u and, for each further order,
    φₖ₊₁ = Σᵢ ⟨vᵢ, ∂φₖ/∂xᵢ⟩ with random v. From order 2 on, the gradient for u, called ``g``, is
    also checked.

    Parameters
    ----------
    f : callable
        A function from Tensors to one Tensor of any shape: an op, a layer, a loss, or any function
        of them. A `Module` is checked as a copy in float64.
    *arrays : ndarray
        The point to check at, one array per input of `f`. Floats, copied to float64.
    order : int
        The highest order of derivatives to check.
    method : {"auto", "complex", "central"}
        ``"complex"``: the complex step, exact to rounding, for ops that take complex arrays.
        ``"central"``: central differences, which estimate their own error. ``"auto"``: the complex
        step if every called op is declared with ``complex_step`` and central differences along a
        random line per input confirm it; else central differences.
    rtol : float, optional
        The relative tolerance; by default 1e-12 for the complex step, else 1e-9.
    atol : float, optional
        The absolute tolerance. By default, it is measured at each entry: the reference's own error
        estimate and, if that is not enough, 64 times the rounding of the entry. This is its change
        when all ops round differently, or 2⁻⁵² of the largest gradient of all inputs if that is
        more. So errors below 1.4e-14 of the largest gradient are not found.
    seed : int
        The seed of u, v and the random directions.
    entries : int
        Inputs of up to this many elements are compared entry by entry, larger ones along random
        directions. If one of these shows an error, the wrong entries are searched for.
    names : sequence of str, optional
        The names of the inputs; by default, the parameters of `f`.

    Returns
    -------
    GradientReport
        The worst error of each input at each order, its location and the tolerance. ``print`` it.

    Raises
    ------
    GradientMismatch
        If a gradient is wrong: with the wrong entries, their pattern, the rule at fault, and a line
        of code that reproduces the error.
    TypeError
        If an array does not hold floats, or `f` does not return one Tensor of floats.
    ValueError
        If there are no arrays, or an option is out of range; if an array, the result of f, or a
        gradient to differentiate again holds NaN or infinity; or if f changes its inputs or is not
        deterministic.

    Notes
    -----
    At a kink, a derivative is a convention. With central differences, an entry whose neighborhood
    takes several branches for every step size is reported as a kink and not compared. The complex
    step stays on the branch that the forward takes, and the rule is compared with this branch.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x, w = np.array([[1.0, -2.0]]), np.array([[0.5, 0.25], [3.0, -1.0]])
    >>> report = tg.check.check_gradients(lambda x, w: tg.tanh(tg.linear(x, w)), x, w, order=2)
    >>> report.worst < 1e-12
    True
    >>> tg.check.check_gradients(lambda x: x * x.detach(), x)
    Traceback (most recent call last):
    tinygrad_cnn.check.errors.GradientMismatch: the gradient for input 0 (x) does not match ...
      entry      (0, 1)
      backward   1.53957
      values     3.07915  (complex step, tolerance 3.2e-12)
      wrong      2 of 2 entries: factor 1/2
    each op on the way is correct by itself: f depends on its inputs outside the graph ...
    """
    check_options(f, order, method, rtol, atol, seed, entries)
    labels = labels_of(f, len(arrays), names)
    f = in_float64(f)
    inputs = checked_inputs(arrays, labels)
    options = CheckOptions(method, rtol, atol, seed, entries)
    rows: list[InputReport] = []
    with np.errstate(all="ignore"):
        y = checked_value(f, inputs, labels)
        whole, points = functional(f, inputs, y.shape, order, seed)
        by = fit_method(options, whole, order, points)
        for k in range(1, order + 1):
            refuse_unbounded(whole, points, labels, k)
            compared = compare_order(whole, points, [*labels, FLOW], k, by, method == "auto")
            if by.method == "complex" and compared[0].method == "central":
                options = by = replace(options, method="central")
            if any(made.failed for made in compared):
                fault = locate(whole, points, k, options)
                raise mismatch(f, inputs, compared, fault, replace(options, method=method))
            rows += [InputReport.of(made) for made in compared]
    return GradientReport(tuple(rows))
