"""Ops on windows of images as short NumPy functions; images may have any axes before (C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinygrad_cnn.deployment.source import numpy_source

__all__: list[str] = []

# --- convolution -------------------------------------------------------------------------------


@numpy_source("conv2d")
def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Return y[..., f, h, w] = Σ x[..., c, h + i, w + j] · w[f, c, i, j] over c, i and j."""
    if padding == "same":
        padding = same_padding(x, w.shape[2:], stride, dilation)
    if padding == "valid":
        padding = 0
    if isinstance(padding, int):
        x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(padding, padding)] * 2)
    else:
        x = bordered(x, padding)
    if dilation != 1:
        w = dilated(w, dilation)
    if groups != 1:
        x = x.reshape(*x.shape[:-3], groups, x.shape[-3] // groups, *x.shape[-2:])
        w = w.reshape(groups, len(w) // groups, *w.shape[1:])
    windows = sliding_window_view(x, w.shape[-2:], (-2, -1))  # (..., C, H', W', kh, kw)
    if stride != 1:
        sh, sw = np.broadcast_to(stride, 2)
        windows = windows[..., ::sh, ::sw, :, :]
    if groups == 1:
        y = np.einsum("...chwij,fcij->...fhw", windows, w, optimize=True)
    if groups != 1:
        cells = [(windows[..., i, j], w[..., i, j]) for i, j in np.ndindex(*w.shape[-2:])]
        y = sum(np.einsum("...gchw,gfc->...gfhw", *each) for each in cells)
        y = y.reshape(*y.shape[:-4], groups * y.shape[-3], *y.shape[-2:])
    if bias is None:
        return y
    return y + bias[:, None, None]


@numpy_source("conv_transpose2d")
def conv_transpose2d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Add x[..., c, h, w] · w[c, f, i, j] to y[..., f, h · stride + i, w · stride + j]."""
    if dilation != 1:
        w = dilated(w, dilation)
    *N, C, H, W = x.shape
    x = x.reshape(*N, groups, C // groups, H, W)
    w = w.reshape(groups, C // groups, *w.shape[1:])
    (sh, sw), (kh, kw) = np.broadcast_to(stride, 2), w.shape[3:]
    oh, ow = ((H, W) - np.ones(2, int)) * (sh, sw) + (kh, kw) + output_padding
    y = np.zeros((*N, groups, w.shape[2], oh, ow), x.dtype)
    for i, j in np.ndindex(kh, kw):
        cells = y[..., i : i + (H - 1) * sh + 1 : sh, j : j + (W - 1) * sw + 1 : sw]
        cells += np.einsum("...gchw,gcf->...gfhw", x, w[..., i, j], optimize=True)
    y = y.reshape(*N, groups * w.shape[2], oh, ow)
    if padding != 0:
        (top, bottom), (left, right) = np.broadcast_to(np.transpose(padding), (2, 2)).T
        y = y[..., top : oh - bottom, left : ow - right]
    if bias is None:
        return y
    return y + bias[:, None, None]


def dilated(w: Any, dilation: Any) -> Any:
    """Return the kernels with zeros between their entries."""
    dh, dw = np.broadcast_to(dilation, 2)
    kh, kw = w.shape[2:]
    wide = np.zeros((*w.shape[:2], (kh - 1) * dh + 1, (kw - 1) * dw + 1), w.dtype)
    wide[:, :, ::dh, ::dw] = w
    return wide


# --- pooling -----------------------------------------------------------------------------------


@numpy_source("maxpool")
def maxpool(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    wide_padding: bool = False,
) -> Any:
    kh, kw = sh, sw = np.broadcast_to(size, 2)
    if stride is not None:
        sh, sw = np.broadcast_to(stride, 2)
    if dilation != 1:
        dh, dw = np.broadcast_to(dilation, 2)
        kh, kw = (kh - 1) * dh + 1, (kw - 1) * dw + 1
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = same_padding(x, (kh, kw), (sh, sw), 1)
    if padding != 0:
        x = bordered(x, padding, -np.inf)
    if ceil_mode:
        x = extended(x, padding, (kh, kw), (sh, sw), -np.inf)
    windows = sliding_window_view(x, (kh, kw), (-2, -1))[..., ::sh, ::sw, :, :]
    if dilation != 1:
        windows = windows[..., ::dh, ::dw]
    return windows.max((-2, -1))


@numpy_source("avgpool")
def avgpool(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    wide_padding: bool = False,
) -> Any:
    kh, kw = sh, sw = np.broadcast_to(size, 2)
    if stride is not None:
        sh, sw = np.broadcast_to(stride, 2)
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = same_padding(x, size, (sh, sw), 1)
    if ceil_mode or not count_include_pad:
        counted = bordered(np.ones(x.shape[-2:], x.dtype), padding, count_include_pad)
    if padding != 0:
        x = bordered(x, padding)
    if ceil_mode:
        x = extended(x, padding, (kh, kw), (sh, sw))
        counted = extended(counted, padding, (kh, kw), (sh, sw))
    windows = sliding_window_view(x, (kh, kw), (-2, -1))[..., ::sh, ::sw, :, :]
    if ceil_mode or not count_include_pad:
        counted = sliding_window_view(counted, (kh, kw), (-2, -1))[..., ::sh, ::sw, :, :]
        return windows.sum((-2, -1)) / counted.sum((-2, -1))
    return windows.mean((-2, -1))


# --- borders -----------------------------------------------------------------------------------


def extended(x: Any, padding: Any, size: Any, stride: Any, value: float = 0.0) -> Any:
    """Pad the end of height and width for a last window, if it starts before the border."""
    n, after = np.array(x.shape[-2:]), np.broadcast_to(np.transpose(padding), (2, 2))[1]
    more = np.subtract(size, n) % stride
    more = np.where(n + more - size < n - after, more, 0)
    pairs = [(0, 0)] * (x.ndim - 2) + [(0, more[0]), (0, more[1])]
    return np.pad(x, pairs, constant_values=value)


def bordered(x: Any, padding: Any, value: float = 0.0) -> Any:
    """Pad height and width by a number, (rows, columns), or pairs (before, after)."""
    pairs = np.broadcast_to(np.transpose(padding), (2, 2)).T
    return np.pad(x, [(0, 0)] * (x.ndim - 2) + [*pairs], constant_values=value)


def same_padding(x: Any, size: Any, stride: Any, dilation: Any) -> Any:
    """Return the borders that give ⌈size / stride⌉ windows."""
    k, s, d = (np.broadcast_to(each, 2) for each in (size, stride, dilation))
    n = np.array(x.shape[-2:])
    border = np.maximum((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return np.stack([border // 2, border - border // 2], 1).tolist()


# --- columns -----------------------------------------------------------------------------------


@numpy_source("unfold")
def unfold(x: Any, size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Return the cells under each window as a column."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = same_padding(x, size, stride, dilation)
    if padding != 0:
        x = bordered(x, padding)
    k, (dh, dw), (sh, sw) = (np.broadcast_to(each, 2) for each in (size, dilation, stride))
    windows = sliding_window_view(x, (k - 1) * (dh, dw) + 1, (-2, -1))
    cells = np.moveaxis(windows[..., ::sh, ::sw, ::dh, ::dw], (-2, -1), (-4, -3))
    *N, C, kh, kw, oh, ow = cells.shape
    return cells.reshape(*N, C * kh * kw, oh * ow)


@numpy_source("fold")
def fold(
    x: Any, output_size: Any, size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Add each column to the cells of its window."""
    H, W = np.broadcast_to(output_size, 2)
    if padding == "valid":
        padding = 0
    if padding == "same":
        padding = same_padding(np.empty((H, W)), size, stride, dilation)
    (top, bottom), (left, right) = np.broadcast_to(np.transpose(padding), (2, 2)).T
    (kh, kw), d, s = (np.broadcast_to(each, 2) for each in (size, dilation, stride))
    wide = np.array([H + top + bottom, W + left + right])
    oh, ow = (wide - ((kh, kw) - np.ones(2, int)) * d - 1) // s + 1
    y = np.zeros((*x.shape[:-2], x.shape[-2] // (kh * kw), *wide), x.dtype)
    cells = x.reshape(*y.shape[:-2], kh, kw, oh, ow)
    for i, j in np.ndindex(kh, kw):
        y[..., i * d[0] :: s[0], j * d[1] :: s[1]][..., :oh, :ow] += cells[..., i, j, :, :]
    return y[..., top : top + H, left : left + W]


# --- another size ------------------------------------------------------------------------------


@numpy_source("resample")
def resample(
    x: Any,
    old: Any,
    new: Any,
    mode: str = "bilinear",
    factors: Any = (0.0, 0.0),
    align_corners: bool = False,
    adjoint: bool = False,
) -> Any:
    """Return R x Cᵀ: a row of R or C has the weights of the cells that make a new one."""
    if mode == "area":
        R, C = (shares(old[k], new[k]) for k in (0, 1))
    if mode != "area":
        R, C = (neighbors(old[k], new[k], factors[k], mode, align_corners) for k in (0, 1))
    if adjoint:
        R, C = R.T, C.T
    dtype = np.result_type(x, np.float32)
    return R.astype(dtype) @ x @ C.astype(dtype).T


def shares(n: Any, m: Any) -> Any:
    """Return the weights of n cells in each of m means."""
    i, cells = np.arange(m)[:, None], np.arange(n)
    inside = (i * n // m <= cells) & (cells < -(-(i + 1) * n // m))
    return inside / inside.sum(1, keepdims=True)


def neighbors(n: Any, m: Any, factor: Any, mode: str, align_corners: bool) -> Any:
    """Return the weights of n cells in each of m cells between them."""
    i = np.arange(m)[:, None]
    center = (1 / factor if factor else n / m) * (i + 0.5) - 0.5
    if align_corners:
        center = i * ((n - 1) / max(m - 1, 1))
    reach = 2 if mode == "bicubic" else 1
    cells = np.floor(center) + np.arange(1 - reach, 1 + reach)
    d = np.abs(cells - center)
    weights = 1 - d
    if mode == "bicubic":
        far = ((3.75 - 0.75 * d) * d - 6) * d + 3
        weights = np.where(d < 1, (1.25 * d - 2.25) * d * d + 1, far)
    R = np.zeros((m, n))
    np.add.at(R, (i, np.clip(cells, 0, n - 1).astype(int)), weights)
    return R
