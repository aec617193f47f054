"""Random computations, as data that a test can check a graph against."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg

Program = list[tuple[str, int, int]]
"""Steps (op, i, j) over a list of values that begins with two leaves and grows by each result."""

UNARY = {"tanh": tg.tanh, "sigmoid": tg.sigmoid, "neg": lambda x: -x}
BINARY = {"add": lambda a, b: a + b, "mul": lambda a, b: a * b}


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Return a strategy for programs of up to twelve steps."""
    count = draw(st.integers(1, 12))
    return [
        (
            draw(st.sampled_from([*UNARY, *BINARY])),
            draw(st.integers(0, k + 1)),
            draw(st.integers(0, k + 1)),
        )
        for k in range(count)
    ]


def run(program: Program) -> list[Any]:
    """Return all values of a program, as Tensors."""
    rng = np.random.default_rng(0)
    values = [tg.Tensor(rng.standard_normal(3), requires_grad=True) for _ in range(2)]
    for name, i, j in program:
        values.append(
            UNARY[name](values[i]) if name in UNARY else BINARY[name](values[i], values[j])
        )
    return values
