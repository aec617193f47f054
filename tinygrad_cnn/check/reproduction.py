"""Reproduction of a wrong gradient: a line of Python with numbers as short as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.check.call import SHOWN, Call, spelled
from tinygrad_cnn.check.comparison import CheckOptions
from tinygrad_cnn.check.examination import compare_order, fit_method
from tinygrad_cnn.check.functional import functional, leaf
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.engine.arrays import Array

SHORT = len("-2.0625")
"""The most characters of a number that needs no rounding."""


def reproduction(
    f: Callable[..., Any],
    function: str,
    inputs: Sequence[Array],
    order: int,
    options: CheckOptions,
) -> tuple[str, tuple[Array, ...]]:
    """Return a line that checks `f`, written as `function`, and the arrays that it uses.

    Small arrays are written out, rounded if that still shows the error. Large arrays are replaced
    by normal numbers from a seed if these show it. Other arrays are taken from the error's
    ``arrays``.
    """
    arrays, spellings = next(
        (arrays, spellings)
        for arrays, spellings in _candidates(inputs)
        if arrays is inputs or _fails(f, arrays, order, options)
    )
    given = [f"order={order}"] if order > 1 else []
    given += [] if options.method == "auto" else [f"method={options.method!r}"]
    for name in ("rtol", "atol"):
        value = getattr(options, name)
        given += [] if value is None else [f"{name}={value!r}"]
    given += [f"seed={options.seed}"] if options.seed else []
    line = f"tg.check.check_gradients({', '.join([function, *spellings, *given])})"
    return line, tuple(arrays)


def as_lambda(call: Call) -> str:
    """Return a call as Python source: a lambda of the inputs to differentiate by."""
    op = call.op
    if op.sequence:
        names = [f"x{k}" for k in range(len(call.inputs))]
        passed = [f"[{', '.join(names)}]"]
    else:
        names = list(call.of)
        passed = [f"{name}={name}" for name in names]
    for name, value in call.constants.items():
        if not _is_default(op, name, value):
            passed.append(f"{name}={spelled(value)}")
    return f"lambda {', '.join(names)}: tg.OPS[{op.name!r}]({', '.join(passed)})"


def name_of(f: Callable[..., Any]) -> str:
    """Return the name of `f`, or "f" if it is not an identifier."""
    name = getattr(f, "__name__", "")
    return name if name.isidentifier() else "f"


def _candidates(inputs: Sequence[Array]) -> Iterator[tuple[Sequence[Array], list[str]]]:
    """Yield arrays to try and their source texts; the `inputs` themselves come last."""
    small = [x.size <= SHOWN for x in inputs]
    as_given = (
        inputs,
        [
            spelled(x) if is_small else f"error.arrays[{k}]"
            for k, (x, is_small) in enumerate(zip(inputs, small, strict=True))
        ],
    )
    if all(small) and all(len(repr(v)) <= SHORT for x in inputs for v in x.ravel().tolist()):
        yield as_given
        return
    drawn = [
        (f"np.random.default_rng({k}).normal(size={x.shape})", np.random.default_rng(k))
        for k, x in enumerate(inputs)
    ]
    for digits in (1, 3) if any(small) else (1,):
        arrays = [
            np.round(x, digits) + 0.0 if is_small else rng.normal(size=x.shape)
            for x, is_small, (_, rng) in zip(inputs, small, drawn, strict=True)
        ]
        yield (
            arrays,
            [
                spelled(x) if is_small else text
                for x, is_small, (text, _) in zip(arrays, small, drawn, strict=True)
            ],
        )
    yield as_given


def _fails(
    f: Callable[..., Any], arrays: Sequence[Array], order: int, options: CheckOptions
) -> bool:
    """Return whether the check fails with these arrays at this order, but not at lower ones."""
    try:
        y = f(*[leaf(x) for x in arrays])._array
        made, points = functional(f, arrays, y.shape, order, options.seed)
        by = fit_method(options, made, order, points)
        labels = [""] * len(points)
        failed = [
            any(row.failed for row in compare_order(made, points, labels, k, by))
            for k in range(1, order + 1)
        ]
    except Exception:  # f does not take these arrays
        return False
    return bool(np.isfinite(y).all()) and failed[-1] and not any(failed[:-1])


def _is_default(op: Op[..., Any], name: str, value: Any) -> bool:
    default = op.signature.parameters[name].default
    return not isinstance(value, np.ndarray) and type(default) is type(value) and default == value
