"""Max and average pooling. A maximum is a gather at the winning cells; an average is linear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import pooling as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Padding, Pair, Windows, borders, pair, windows
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, place
from tinygrad_cnn.ops.reduction import mean
from tinygrad_cnn.ops.shape import Options


@op(
    formula=Prose("max of x under each window"),
    latex=r"\max_{\text{window}} x",
    integers="kept",
    role="pooling",
    kind="max-pooling",
    selecting=True,
)
def maxpool(
    x: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> Array:
    """Return the largest value under each window; of equal ones the first gets the gradient.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    kernel_size : int or (int, int)
        The size of a window.
    stride : int or (int, int), optional
        The step between windows; defaults to the kernel size. Windows may overlap.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        A border that never wins, at most half a window wide (see `wide_padding`), or
        ``((top, bottom), (left, right))``, or as for `conv2d`.
    dilation : int or (int, int)
        The step between the cells of a window.
    ceil_mode : bool
        Include a last window that extends beyond the edge.
    wide_padding : bool
        Allow any border narrower than a window, as ONNX does: each window still reaches the image.
        PyTorch's limit is half a window.

    Returns
    -------
    Tensor
        Of shape (N, C, OH, OW), with OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1,
        rounded up with `ceil_mode`; (C, OH, OW) for a single image.

    Raises
    ------
    ValueError
        If an option is out of range or no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([[[[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 0.0, 0.0]]]])
    >>> tg.maxpool(x, 2).numpy()
    array([[[[4., 5.]]]], dtype=float32)
    """
    at = pooling_windows(
        "maxpool", np.shape(x), kernel_size, stride, padding, dilation, ceil_mode, wide_padding
    )
    y = engine.maximum(np.real(x), at)
    return engine.gather(x, engine.winner(x.real, y, at), at) if np.iscomplexobj(x) else y


@maxpool.residual
def winner(x: Array, y: Array, static: Options) -> Array:
    return engine.winner(np.real(x), np.real(y), pooling_windows("maxpool", np.shape(x), **static))


@maxpool.derivative("x", formula=Prose("g at the first maximum of its window, else 0"),
                    latex=r"g\,[x = \max_{\text{window}} x]")  # fmt: skip
def _(g: Array, *, winner: Array, x_shape: Shape, static: Options) -> Array:
    return scatter_windows(g, winner, x_shape, **static)


_BEYOND = {"x": np.arange(20.0).reshape(1, 1, 5, 4) / 16, "kernel_size": 2, "ceil_mode": True}
"""A call whose last windows extend beyond the edge."""
_IMAGE = {"x": np.arange(20.0).reshape(1, 5, 4) / 16, "kernel_size": 3, "stride": 2}
_SAME = _IMAGE | {"padding": "same"}
_UNEVEN = _IMAGE | {"padding": ((0, 1), (1, 0))}
"""Calls without a batch axis, with one row more at the bottom than at the top."""


@maxpool.calls(always=[{"x": np.zeros((0, 2, 5, 5))}, _BEYOND, _SAME, _UNEVEN])
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.poolings())
    ties = s.arrays(at.x, low=-1.0, high=1.0)
    return {"x": draw(s.one_of(s.distinct(at.x), ties)), **at.options}


@op(
    formula=Prose("x at the chosen cell of each window"),
    latex=r"x_{\text{winner}}",
    integers="kept",
    selecting=True,
)
def gather_windows(
    x: Array,
    winner: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> Array:
    """Return one cell of each window: the one at kernel offset ``winner = i·KW + j``.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    winner : ndarray of int
        Of shape (N, C, OH, OW), from 0 to KH·KW − 1.
    kernel_size, stride, padding, dilation, ceil_mode, wide_padding
        As for `maxpool`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([[[[1.0, 2.0], [4.0, 3.0]]]])
    >>> tg.gather_windows(x, np.array([[[[3]]]]), 2).numpy()
    array([[[[3.]]]], dtype=float32)
    """
    name = "gather_windows"
    at = pooling_windows(
        name, np.shape(x), kernel_size, stride, padding, dilation, ceil_mode, wide_padding
    )
    _check_windows(name, "winner", np.shape(winner), np.shape(x), at)
    return engine.gather(x, _checked_winner(name, winner, at), at)


@gather_windows.derivative(
    "x", formula=Prose("g put at the chosen cells"), latex=r"\text{scatter}(g)"
)
def _(g: Array, *, winner: Array, x_shape: Shape, static: Options) -> Array:
    return scatter_windows(g, winner, x_shape, **static)


@gather_windows.calls(always=[{"x": np.zeros((0, 2, 5, 5)), "winner": np.zeros((0, 2, 2, 2), int)}])
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.poolings())
    return {"x": draw(s.arrays(at.x)), "winner": draw(s.winners(at)), **at.options}


@op(
    formula=Prose("zeros with Σ of u at the chosen cells"),
    latex=r"\text{scatter}(u)",
    integers="widened",
    selecting=True,
)
def scatter_windows(
    u: Array,
    winner: Array,
    shape: Shape,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> Array:
    """Return zeros of `shape` with each value of `u` added at its window's chosen cell.

    This is the adjoint of `gather_windows`.

    Parameters
    ----------
    u : Tensor or array_like
        Of shape (N, C, OH, OW) or (C, OH, OW): one value for each window.
    winner : ndarray of int
        Of the shape of `u`: the kernel offset of each window's chosen cell, as for
        `gather_windows`.
    shape : tuple of int
        Of the images: (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, dilation, ceil_mode, wide_padding
        As for `maxpool`.

    Raises
    ------
    ValueError
        If `u` or `winner` does not have the shape of such a pooling's output, or a winner or an
        option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> u = tg.Tensor([[[[7.0]]]])
    >>> tg.scatter_windows(u, np.array([[[[3]]]]), (1, 1, 2, 2), 2).numpy()
    array([[[[0., 0.],
             [0., 7.]]]], dtype=float32)
    """
    name = "scatter_windows"
    at = pooling_windows(
        name, shape, kernel_size, stride, padding, dilation, ceil_mode, wide_padding
    )
    _check_windows(name, "u", np.shape(u), shape, at)
    _check_windows(name, "winner", np.shape(winner), shape, at)
    return engine.scatter(u, _checked_winner(name, winner, at), at)


@scatter_windows.derivative("u", formula=Prose("g at the chosen cells"), latex=r"g_{\text{winner}}")
def _(g: Array, *, winner: Array, static: Options) -> Array:
    return gather_windows(g, winner, **static)


@scatter_windows.calls(always=[{
    "u": np.zeros((0, 2, 2, 2)), "winner": np.zeros((0, 2, 2, 2), int), "shape": (0, 2, 5, 5),
}])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.poolings())
    return {"u": draw(s.arrays(at.y)), "winner": draw(s.winners(at)), "shape": at.x, **at.options}


@op(
    formula=Prose("mean of x under each window"),
    latex=r"\frac1k \sum_{\text{window}} x",
    role="pooling",
    kind="average-pooling",
)
def avgpool(
    x: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    wide_padding: bool = False,
) -> Array:
    """Return the mean under each window.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, ceil_mode
        As for `maxpool`; the border counts as zeros.
    count_include_pad : bool
        Whether the divisor counts cells of the border.
    wide_padding : bool
        As for `maxpool`.

    Returns
    -------
    Tensor
        Of shape (N, C, OH, OW), as for `maxpool`.

    Raises
    ------
    ValueError
        If an option is out of range or no window fits.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([[[[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 0.0, 0.0]]]])
    >>> tg.avgpool(x, 2).numpy()
    array([[[[2.5 , 1.25]]]], dtype=float32)
    """
    at = pooling_windows(
        "avgpool", np.shape(x), kernel_size, stride, padding, 1, ceil_mode, wide_padding
    )
    return engine.average(x, at, count_include_pad)


@avgpool.derivative("x", formula=Prose("g / k shared over the window"), latex=r"\frac{g}{k}")
def _(g: Array, *, x_shape: Shape, static: Options) -> Array:
    return avgpool_gradient(g, x_shape, **static)


@avgpool.calls(always=[{"x": np.zeros((0, 2, 5, 5))}, _BEYOND, _SAME, _UNEVEN])
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.poolings(average=True))
    return {"x": draw(s.arrays(at.x)), **at.options}


@op(formula=Prose("u / k shared over each window"), latex=r"\frac{u}{k}")
def avgpool_gradient(
    u: Array,
    shape: Shape,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    wide_padding: bool = False,
) -> Array:
    """Return `u` spread over the windows of an image of `shape`, the adjoint of `avgpool`.

    Parameters
    ----------
    u : Tensor or array_like
        The gradient of the output, of shape (N, C, OH, OW) or (C, OH, OW).
    shape : tuple of int
        Of the images: (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, ceil_mode, count_include_pad, wide_padding
        As for `avgpool`.

    Raises
    ------
    ValueError
        If `u` does not have the shape of such a pooling's output, or an option is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.avgpool_gradient(tg.Tensor([[[[4.0]]]]), (1, 1, 2, 2), 2).numpy()
    array([[[[1., 1.],
             [1., 1.]]]], dtype=float32)
    """
    name = "avgpool_gradient"
    at = pooling_windows(name, shape, kernel_size, stride, padding, 1, ceil_mode, wide_padding)
    _check_windows(name, "u", np.shape(u), shape, at)
    return engine.average_gradient(u, at, count_include_pad)


@avgpool_gradient.derivative("u", formula=Prose("mean of g under each window"),
                             latex=r"\frac1k \sum_{\text{window}} g")  # fmt: skip
def _(g: Array, *, static: Options) -> Array:
    return avgpool(g, **static)


@avgpool_gradient.calls(always=[{"u": np.zeros((0, 2, 2, 2)), "shape": (0, 2, 5, 5)}])
def _(draw: Draw, s: Strategies) -> Any:
    at = draw(s.poolings(average=True))
    return {"u": draw(s.arrays(at.y)), "shape": at.x, **at.options}


def global_avgpool(x: Array) -> Array:
    """Return the mean of each channel: (N, C, H, W) → (N, C), or (C, H, W) → (C,).

    Raises
    ------
    ValueError
        If `x` has other axes.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.global_avgpool(tg.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    Tensor([[2.5]])
    """
    if len(np.shape(x)) not in (3, 4):
        raise ValueError(
            f"global_avgpool: x has shape {np.shape(x)}, expected (N, C, H, W) or (C, H, W)"
        )
    return mean(x, axis=(-2, -1))


def pooling_windows(
    name: str,
    shape: Shape,
    kernel_size: Pair,
    stride: Pair | None,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    wide_padding: bool,
) -> Windows:
    """Return the pooling windows on images of `shape`."""
    if len(shape) not in (3, 4):
        raise ValueError(f"{name}: x has shape {shape}, expected (N, C, H, W) or (C, H, W)")
    kernel = pair(name, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(name, "stride", stride, 1)
    dilations = pair(name, "dilation", dilation, 1)
    if type(padding) is not int or padding:
        check_padding(name, kernel, padding, dilation, wide_padding)
    at = windows(name, (shape[-2], shape[-1]), kernel, steps, padding, dilations, bool(ceil_mode))
    if at.can_miss:
        raise ValueError(
            f"{name}: dilation is {dilation}, more than the image: {shape}; with padding a window "
            "could miss it"
        )
    return at


def check_padding(
    name: str, kernel: tuple[int, int], padding: Padding, dilation: Pair, wide: bool
) -> None:
    """Raise if the border exceeds half a window, or with `wide` reaches a whole one."""
    if isinstance(padding, str):
        return
    pads = [max(sides) for sides in borders(name, padding)]
    dilations = pair(name, "dilation", dilation, 1)
    reaches = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if wide and any(p >= reach for p, reach in zip(pads, reaches, strict=True)):
        raise ValueError(f"{name}: padding is {padding}, expected less than a window of {kernel}")
    if not wide and any(2 * p > reach for p, reach in zip(pads, reaches, strict=True)):
        raise ValueError(
            f"{name}: padding is {padding}, expected at most half of a window of {kernel}, or "
            "wide_padding=True"
        )


def _check_windows(name: str, argument: str, came: Shape, shape: Shape, at: Windows) -> None:
    if came != (*shape[:-2], *at.count):
        raise ValueError(
            f"{name}: {argument} has shape {came}, expected {(*shape[:-2], *at.count)}"
        )


def _checked_winner(name: str, winner: Array, at: Windows) -> Array:
    """Return `winner` as an array; raise if an entry is not a cell of a window."""
    winner = np.asarray(winner)
    cells = len(at.cells)
    if winner.dtype.kind not in "iu":
        raise TypeError(f"{name}: winner holds {winner.dtype}, expected integers")
    below = winner.dtype.kind == "i" and winner.min(initial=0) < 0
    if below or winner.max(initial=0) >= cells:
        wrong = winner[(winner < 0) | (winner >= cells)][0]
        raise ValueError(f"{name}: winner has {wrong}, expected 0 to {cells - 1}")
    return winner


# --- entries of the derivatives ------------------------------------------------------------------


@maxpool.entry("x")
@gather_windows.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape) -> LocalEntry:
    x = (*y[:-2], *(letters.fresh(n) for n in x_shape[-2:]))
    return x, f"[{at('y', y)} took {at('x', x)}]"


@avgpool.entry("x")
def _(
    y: Index,
    letters: Letters,
    *,
    x_shape: Shape,
    kernel_size: Pair,
    stride: Pair | None,
    padding: Padding,
    ceil_mode: bool,
) -> LocalEntry | None:
    on = pooling_windows("avgpool", x_shape, kernel_size, stride, padding, 1, ceil_mode, True)
    if on.rows.before or on.columns.before or ceil_mode or 1 in x_shape[-2:]:
        return None
    cells = [letters.fresh(n) for n in on.kernel]
    inside = (
        place((axis.stride, i), (1, k)) or "0"
        for axis, i, k in zip((on.rows, on.columns), y[-2:], cells, strict=True)
    )
    return (*y[:-2], *inside), f"1 / {math.prod(on.kernel)}"
