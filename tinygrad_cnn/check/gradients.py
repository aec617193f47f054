"""Check that gradients are derivatives: backward against the values of the function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_cnn.check.comparison import Settings
from tinygrad_cnn.check.diagnosis import FLOW, locate
from tinygrad_cnn.check.examination import compare_order, fit_method
from tinygrad_cnn.check.functional import Function, functional
from tinygrad_cnn.check.inputs import (
    check_options,
    checked_inputs,
    checked_value,
    in_float64,
    labels_of,
    refuse_unbounded,
)
from tinygrad_cnn.check.mismatch import mismatch
from tinygrad_cnn.check.report import GradientReport, InputReport


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
    """Check the gradients of `f` for all its inputs against its values, at orders 1 to `order`.

    What is differentiated is φ₁ = ⟨u, f⟩ with random u, and for each further order the sum
    φₖ₊₁ = Σᵢ ⟨vᵢ, ∂φₖ/∂xᵢ⟩ with random v. From order 2 on the gradient for u, called ``g``, is
    checked as well.

    Parameters
    ----------
    f : callable
        From Tensors to one Tensor, of any shape: an op, a layer, a loss, any function of them. Of
        a `Module` a copy in float64 is checked.
    *arrays : ndarray
        Where to check, one an input of `f`: floats, of which float64 copies are used.
    order : int
        How often to differentiate.
    method : {"auto", "complex", "central"}
        ``"complex"``: the complex step, exact to rounding, for ops that take complex arrays.
        ``"central"``: central differences, which estimate their own error. ``"auto"``: the former
        if every op that is called is declared with ``complex_step``, and central differences along
        a random line for each input confirm it; else the latter.
    rtol : float, optional
        The error to allow, relative to the reference: 1e-12 for the complex step, else 1e-9.
    atol : float, optional
        The error to allow beside that. By default it is measured at each entry: what the reference
        says of its own error, and 64 times what a change of all points by rounding changes.
    seed : int
        Of u, v, and the random directions.
    entries : int
        Inputs of up to so many elements are compared entry by entry, larger ones along random
        directions; where one of these shows that something is wrong, the entries are looked for.
    names : sequence of str, optional
        What to call the inputs; by default as the parameters of `f`.

    Returns
    -------
    GradientReport
        The worst error of each input at each order, where, and what was allowed. ``print`` it.

    Raises
    ------
    GradientMismatch
        If a gradient is wrong: which entries, in what pattern, by whose rule, and how to see it
        again.
    TypeError
        If an array does not hold floats, or `f` does not return one Tensor of floats.
    ValueError
        If there are no arrays, an option is out of range, an array, f, or a gradient that is to be
        differentiated again holds NaN or infinity, f changes its inputs, or gives another answer
        when called again.

    Notes
    -----
    Where a function has a kink, its derivative is a convention. With central differences an entry
    whose neighbourhood takes several branches, however small the step, is reported as a kink and
    not compared. The complex step keeps to the branch that the forward takes, so that there the
    rule is held against this branch.

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
    tinygrad_cnn.check.mismatch.GradientMismatch: the gradient for input 0 (x) is not what ...
      entry      (0, 1)
      backward   1.53957
      values     3.07915  (complex step, tolerance 3.2e-12)
      wrong      2 of 2 entries: factor 1/2
    each op on the way is right by itself: f depends on its inputs past the graph ...
    """
    check_options(f, order, method, rtol, atol, seed, entries)
    labels = labels_of(f, len(arrays), names)
    f = in_float64(f)
    inputs = checked_inputs(arrays, labels)
    settings = Settings(method, rtol, atol, seed, entries)
    rows: list[InputReport] = []
    with np.errstate(all="ignore"):
        y = checked_value(f, inputs, labels)
        whole, points = functional(f, inputs, y.shape, order, seed)
        by = settings
        if method == "auto":
            by = replace(settings, method=fit_method(whole, order, points))
        for k in range(1, order + 1):
            refuse_unbounded(whole, points, labels, k)
            compared = compare_order(whole, points, [*labels, FLOW], k, by, method == "auto")
            if by.method == "complex" and compared[0].method == "central":
                settings = by = replace(settings, method="central")
            if any(made.failed for made in compared):
                fault = locate(whole, points, k, settings)
                raise mismatch(f, inputs, compared, fault, replace(settings, method=method))
            rows += [InputReport.of(made) for made in compared]
    return GradientReport(tuple(rows))
