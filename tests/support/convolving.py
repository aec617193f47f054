"""Every way the engine has to compute a convolution, and the shapes to try them on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from tinygrad_cnn.engine import (
    bands,
    columns,
    convolution,
    depthwise,
    direct,
    threads,
    weights,
    winograd,
)
from tinygrad_cnn.engine.windows import Windows, windows

Array = np.ndarray[Any, Any]

ALGORITHMS = {
    "columns": columns,
    "depthwise": depthwise,
    "direct": direct,
    "winograd": winograd,
}


@contextmanager
def computed_by(name: str, cache: int = bands.CACHE, rows_added: bool = False) -> Iterator[None]:
    """Choose one algorithm for everything, bands of so many bytes, and threads however small.

    With `rows_added`, images' gradients are computed by `scattered` where they can be.
    """
    _forget_bands()
    with (
        patch.object(convolution, "choose", lambda *_: ALGORITHMS[name]),
        patch.object(convolution, "scatters", lambda _c, _at, groups: rows_added and groups == 1),
        patch.object(bands, "CACHE", cache),
        patch.object(columns, "CACHE", cache),
        patch.object(weights, "CACHE", cache),
        patch.object(winograd, "CACHE", cache),
        patch.object(threads, "SMALL", -1),
        patch.object(threads, "WORTH", 0),
    ):
        yield
    _forget_bands()


def _forget_bands() -> None:
    """Forget what was computed for a cache of another size."""
    bands.bands.cache_clear()
    columns._bands.cache_clear()


@dataclass(frozen=True)
class Case:
    """A convolution: shapes and where its windows lie."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def at(self) -> Windows:
        return windows(
            "case", self.x[2:], self.w[2:], self.stride, self.padding, self.dilation
        )  # fmt: skip

    @property
    def y(self) -> tuple[int, int, int, int]:
        return (self.x[0], self.w[0], *self.at.count)


def _fits(case: Case) -> bool:
    return all(
        n + 2 * p >= d * (k - 1) + 1
        for n, k, p, d in zip(case.x[2:], case.w[2:], case.padding, case.dilation, strict=True)
    )


@st.composite
def _general(draw: st.DrawFn) -> Case:
    groups = draw(st.integers(1, 3))
    c, oc = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n = draw(st.sampled_from([0, 1, 2, 3, 5, 16, 33]))
    size, kernel = draw(_pairs(1, 8)), draw(_pairs(1, 4))
    return Case((n, c * groups, *size), (oc * groups, c, *kernel), draw(_pairs(1, 3)),
                draw(_pairs(0, 5)), draw(_pairs(1, 3)), groups)  # fmt: skip


@st.composite
def _channel_by_channel(draw: st.DrawFn) -> Case:
    case = draw(general)
    groups = case.x[1]
    return replace(case, w=(groups * draw(st.integers(1, 3)), 1, *case.w[2:]), groups=groups)


@st.composite
def _for_tiles(draw: st.DrawFn) -> Case:
    n = draw(st.sampled_from([1, 2, 5, 16]))
    c, oc = draw(_pairs(1, 18))
    padding = draw(_pairs(0, 2))
    return Case((n, c, *draw(_pairs(1, 11))), (oc, c, 3, 3), (1, 1), padding, (1, 1), 1)


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


general = _general().filter(_fits)
channel_by_channel = _channel_by_channel()
for_tiles = _for_tiles().filter(_fits)


def reference(x: Array, w: Array, case: Case) -> Array:
    """Return the convolution by the sum over kernel cells, in the widest dtype."""
    wide = np.result_type(x, np.float64)
    (n, _, height, width), (oc, c, kh, kw), groups = x.shape, w.shape, case.groups
    (ph, pw), (sh, sw), (dh, dw) = case.padding, case.stride, case.dilation
    padded = np.zeros((*x.shape[:2], height + 2 * ph, width + 2 * pw), wide)
    padded[:, :, ph : ph + height, pw : pw + width] = x
    padded = padded.reshape(n, groups, c, *padded.shape[2:])
    kernels = w.astype(wide).reshape(groups, oc // groups, c, kh, kw)
    oh, ow = case.at.count
    y = np.zeros((n, groups, oc // groups, oh, ow), wide)
    for i, j in np.ndindex(kh, kw):
        rows = slice(i * dh, i * dh + sh * (oh - 1) + 1, sh)
        cells = slice(j * dw, j * dw + sw * (ow - 1) + 1, sw)
        y += np.einsum("ngchw,goc->ngohw", padded[..., rows, cells], kernels[..., i, j])
    return y.reshape(n, oc, oh, ow)


def draw_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, order: str) -> Array:
    """Return normal values, in one of the memory orders an array may come in."""
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    values = values.astype(dtype)
    if order == "images last":
        return np.ascontiguousarray(values.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    if order == "every other":
        wide = np.zeros((*shape[:3], 2 * shape[3]), dtype)
        wide[..., ::2] = values
        return wide[..., ::2]
    return values
