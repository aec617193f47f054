"""Entries of pooling ops."""

from __future__ import annotations

import math

from tinygrad_cnn.derivation.entries.registry import (
    Letters,
    Local,
    at,
    entry,
    place,
)
from tinygrad_cnn.derivation.notation import Index
from tinygrad_cnn.derivation.paths import Edge
from tinygrad_cnn.derivation.symbols import options_of
from tinygrad_cnn.engine.windows import pair


@entry(("maxpool", "x"), ("gather_windows", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    x = (*y[:2], *(letters.fresh(n) for n in edge.target.shape[2:]))
    return x, f"[{at('y', y)} took {at('x', x)}]"


@entry(("avgpool", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local | None:
    options = options_of(edge.node)
    size = pair("avgpool", "kernel_size", options["kernel_size"], 1)
    stride = options["stride"]
    steps = size if stride is None else pair("avgpool", "stride", stride, 1)
    paddings = pair("avgpool", "padding", options["padding"], 0)
    if any(paddings) or options["ceil_mode"] or 1 in edge.target.shape[2:]:
        return None
    cells = [letters.fresh(length) for length in size]
    inside = (place((s, i), (1, k)) or "0" for s, i, k in zip(steps, y[2:], cells, strict=True))
    return (*y[:2], *inside), f"1 / {math.prod(size)}"
