"""Every way the engine has to compute a convolution, and the shapes to try them on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.engine import bands, convolution, threads
from tinygrad_cnn.engine.convolution import (
    depthwise,
    depthwise_few,
    depthwise_gradient,
    direct,
    directions,
    im2col,
    input_gradient_apart,
    input_gradient_rows,
    input_gradient_shared,
    strips,
    weight_gradient_rows,
    winograd,
    winograd_few,
    winograd_lines,
    winograd_rows,
)
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.windows import Windows, windows

Array = np.ndarray[Any, Any]

ALGORITHMS = {
    "im2col": im2col,
    "direct": direct,
    "depthwise": depthwise,
    "depthwise_few": depthwise_few,
    "winograd": winograd,
    "winograd_few": winograd_few,
    "winograd_rows": winograd_rows,
    "winograd_lines": winograd_lines,
}


@contextmanager
def computed_by(name: str, cache: int = bands.CACHE, rows_added: bool = False) -> Iterator[None]:
    """Choose one algorithm for everything, bands of so many bytes, and threads however small.

    An algorithm for depthwise convolutions is replaced by the direct one for all others.

    With `rows_added`, images' gradients are computed by `input_gradient_rows` where they can be.
    """

    def choose(_n: int, c: int, _oc: int, at: Windows, groups: int, dtype: Any) -> Any:
        fits = "depthwise" not in name or depthwise.takes(c, at, groups, dtype)
        return ALGORITHMS[name] if fits else direct

    _forget_bands()
    with (
        tg.engine.options(fast=False),
        patch.object(directions, "choose", choose),
        patch.object(directions, "choose_weight_gradient", choose),
        patch.object(directions, "adds_rows", lambda _c, _at, groups: rows_added and groups == 1),
        patch.object(bands, "CACHE", cache),
        patch.object(im2col, "CACHE", cache),
        patch.object(depthwise_gradient, "CACHE", cache),
        patch.object(depthwise_few, "CACHE", cache),
        patch.object(strips, "CACHE", cache),
        patch.object(weight_gradient_rows, "CACHE", cache),
        patch.object(winograd, "CACHE", cache),
        patch.object(winograd_rows, "CACHE", cache),
        patch.object(winograd_few, "CACHE", cache),
        patch.object(winograd_few, "KERNEL_BYTES", cache << 1),
        patch.object(im2col, "MANY", cache // 2),
        patch.object(winograd_lines, "CACHE", cache),
        patch.object(threads, "SMALL", -1),
        patch.object(threads, "WORTH", 0),
    ):
        yield
    _forget_bands()


def _forget_bands() -> None:
    """Forget what was computed for a cache of another size."""
    bands.bands.cache_clear()
    for function in (im2col._bands, im2col._blocks, winograd_few._bands, winograd_few._blocks):
        function.cache_clear()
    strips.pieces_of.cache_clear()
    depthwise_few._bands.cache_clear()
    depthwise_gradient._blocks.cache_clear()


@contextmanager
def ways_taken() -> Iterator[set[tuple[str, ...]]]:
    """Collect the direction and the algorithm of every convolution computed inside.

    An image's gradient adds what was computed: all of it ("whole"), the cells of one phase of a
    stride ("phase"), rows for `input_gradient_rows` to add ("rows"), or cells that no kernel cell
    reaches ("zeros"). Phases whose windows are the same are "shared". Where windows are "apart", it
    is written at once in the layout of that name.
    """
    taken: set[tuple[str, ...]] = set()
    within: list[str] = []
    real = {name: getattr(directions, name) for name in (*DIRECTIONS, "phase_convolutions")}

    def entered(direction: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            within.append(direction)
            try:
                return function(*arguments)
            finally:
                within.pop()

        return call

    def parts(*arguments: Any) -> Any:
        for cells, kernels, at in real["phase_convolutions"](*arguments):
            if kernels is None:
                taken.add(("input_gradient", "zeros"))
            yield cells, kernels, at

    with ExitStack() as patches:
        patches.enter_context(patch.object(directions, "phase_convolutions", parts))
        rows = entered("rows", input_gradient_rows.input_gradient)
        patches.enter_context(patch.object(input_gradient_rows, "input_gradient", rows))
        for direction in DIRECTIONS:
            function = entered(direction, real[direction])
            patches.enter_context(patch.object(convolution, direction, function))
        deep = im2col.input_gradient

        def added(*given: Any) -> None:
            taken.add(("input_gradient", "im2col", "deep"))
            deep(*given)

        patches.enter_context(patch.object(im2col, "input_gradient", added))
        apart = input_gradient_apart.input_gradient

        def written(dy: Array, w: Array, at: Windows, order: Layout, dx: Array) -> None:
            taken.add(("input_gradient", "apart", order.name))
            apart(dy, w, at, order, dx)

        patches.enter_context(patch.object(input_gradient_apart, "input_gradient", written))
        shared = input_gradient_shared.input_gradient

        def gathered_once(*given: Any) -> None:
            taken.add(("input_gradient", "direct", "shared"))
            shared(*given)

        patches.enter_context(patch.object(input_gradient_shared, "input_gradient", gathered_once))
        for name, algorithm in ALGORITHMS.items():

            def convolve(*given: Any, out: Array, name: str = name,
                         function: Any = algorithm.convolve) -> None:  # fmt: skip
                whole = any(layout.memory(out).flags.c_contiguous for layout in Layout)
                kind = "rows" if within[-1] == "rows" else "whole" if whole else "phase"
                taken.add((within[0], name, *[kind] * (within[0] == "input_gradient")))
                function(*given, out=out)

            def gradient(*given: Any, name: str = name,
                         function: Any = algorithm.weight_gradient) -> Array:  # fmt: skip
                taken.add((within[0], name))
                return function(*given)

            patches.enter_context(patch.object(algorithm, "convolve", convolve))
            patches.enter_context(patch.object(algorithm, "weight_gradient", gradient))
        yield taken


DIRECTIONS = ("forward", "weight_gradient", "input_gradient")
EVERY_WAY = (
    {(direction, name) for direction in DIRECTIONS[:2] for name in ALGORITHMS}
    | {("input_gradient", name, kind) for name in ALGORITHMS for kind in ("whole", "phase")}
    | {("input_gradient", name, "rows") for name in ("im2col", "direct")}
    | {("input_gradient", "im2col", "deep"), ("input_gradient", "zeros")}
    | {("input_gradient", "direct", "shared")}
    | {("input_gradient", "apart", name) for name in ("IMAGES_LAST", "CHANNELS_LAST")}
)


@dataclass(frozen=True)
class Strides:
    """The strides of an array: the order of its axes, slowest first, and a step along each."""

    order: tuple[int, ...]
    steps: tuple[int, ...]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of NaN with these strides; its base, NaN as well, has the gaps too."""
        size = [shape[axis] * abs(step) for axis, step in zip(self.order, self.steps, strict=True)]
        return self._seen(np.full(size, np.nan if np.dtype(dtype).kind in "fc" else 0, dtype))

    def array(self, values: Array) -> Array:
        """Return a copy of the values with these strides."""
        out = self.empty(values.shape, values.dtype)
        out[...] = values
        return out

    def tensor(self, values: Array) -> tg.Tensor:
        """Return the values as a Tensor with these strides: a view of a leaf."""
        return self._seen(tg.Tensor(self.array(values).base, requires_grad=True))

    def _seen(self, memory: Any) -> Any:
        part = memory[tuple([slice(None, None, step) for step in self.steps])]
        return tg.transpose(part, tuple(np.argsort(self.order).tolist()))


def strides(axes: int) -> st.SearchStrategy[Strides]:
    """Draw strides of an array with that many axes: C or Fortran order, permuted, sliced."""
    orders = [tuple(range(axes)), tuple(reversed(range(axes)))]
    if axes == 4:
        orders += [(2, 3, 1, 0), (0, 1, 3, 2), (0, 2, 3, 1)]
    dense = st.just((1,) * axes)
    return st.builds(
        Strides,
        st.sampled_from(orders) | st.permutations(range(axes)).map(tuple),
        dense | st.tuples(*[st.sampled_from([1, 1, 2, 3, -1, -2])] * axes),
    )


@dataclass(frozen=True)
class Case:
    """A convolution: shapes and where its windows lie."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str
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


@st.composite
def _of_real_size(draw: st.DrawFn) -> Case:
    kinds = ["few", "many", "thin", "groups", "depthwise", "tiles", "phases", "large"]
    kind = draw(st.sampled_from(kinds))
    stride, dilation = draw(_pairs(1, 3)), draw(_pairs(1, 3))
    if draw(st.booleans()):
        dilation = (1, 1)
    kernel, count = draw(_pairs(1, 7)), draw(_pairs(1, 10))
    groups, fewest = 1, 1
    c, oc = draw(_pairs(1, 70))
    if kind == "thin":
        c = draw(st.integers(1, 8))
    elif kind == "groups":
        groups = draw(st.integers(2, 8))
        c, oc = draw(_pairs(1, 9))
    elif kind == "depthwise":
        groups, c, oc = draw(st.integers(2, 70)), 1, draw(st.sampled_from([1, 1, 2, 3]))
    elif kind == "large":  # in several bands
        groups, (c, oc) = draw(st.sampled_from([1, 1, 2, 20])), draw(_pairs(1, 4))
        kernel, count = draw(_pairs(1, 3)), draw(_pairs(16, 40))
    elif kind in ("tiles", "phases"):  # a kernel, or those of its phases, that fit tiles
        fewest, (c, oc), count = 16, draw(_pairs(16, 40)), draw(_pairs(3, 9))
        stride = (1, 1) if kind == "tiles" else draw(_pairs(1, 3))
        dilation = draw(st.sampled_from([(1, 1), stride]))
        kernel = tuple(
            3 if d == s else draw(st.integers(2 * s + 1, 7))
            for s, d in zip(stride, dilation, strict=True)
        )  # fmt: skip
    pads, size = [], []
    for s, d, k, o in zip(stride, dilation, kernel, count, strict=True):
        reach = (o - 1) * s + d * (k - 1) + 1
        pads.append(draw(st.integers(0, min(d * (k - 1), (reach - 1) // 2))))
        size.append(reach - 2 * pads[-1] + draw(st.integers(0, s - 1)))
    padding: Any = tuple(pads)
    kind_of_border = draw(st.sampled_from(["even", "even", "uneven", "same"]))
    if kind_of_border == "same":
        padding = "same"
        size = [o * s - draw(st.integers(0, s - 1)) for o, s in zip(count, stride, strict=True)]
    elif kind_of_border == "uneven":  # rows moved from one end to the other
        moved = [draw(st.integers(0, p)) for p in pads]
        padding = tuple((p - m, p + m) for p, m in zip(pads, moved, strict=True))
        padding = padding if draw(st.booleans()) else tuple((b, a) for a, b in padding)
    products = groups * c * oc * kernel[0] * kernel[1] * count[0] * count[1]
    most = max(fewest, min(130, PRODUCTS // products))
    n = draw(st.integers(1, min(7, most)) if kind == "few" else st.integers(fewest, most))
    return Case((n, c * groups, *size), (oc * groups, c, *kernel), stride, padding, dilation,
                groups)  # fmt: skip


PRODUCTS = 20_000_000  # multiply-adds of a case at most, so that thousands can be tried

general = _general().filter(_fits)
channel_by_channel = _channel_by_channel()
for_tiles = _for_tiles().filter(_fits)
of_real_size = _of_real_size()


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
