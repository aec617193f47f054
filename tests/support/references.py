"""The forward of each op by other means: NumPy, SciPy, or loops that read as its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from support import images, naive
from tinygrad_cnn.engine.convolution import reference

Array = np.ndarray[Any, Any]
REDUCE: dict[str, Callable[[Array], Any]] = {"mean": np.mean, "sum": np.sum, "none": np.asarray}


def scattered(x: Array, index: Any, shape: tuple[int, ...]) -> Array:
    y = np.zeros(shape)
    np.add.at(y, index, x)
    return y


def resample(
    x: Array, old: Any, new: Any, mode: str = "bilinear", factors: Any = (0.0, 0.0),
    align_corners: bool = False, adjoint: bool = False,
) -> Array:  # fmt: skip
    """Return the product with matrices whose columns are resampled unit vectors."""
    rows, columns = (
        np.array(
            [images.RESIZED[mode](e, m, (f and 1 / f) or n / m, align_corners) for e in np.eye(n)]
        )
        for n, m, f in zip(old, new, factors, strict=True)
    )
    letters = ("hi", "wj") if not adjoint else ("ih", "jw")
    return np.einsum(f"...hw,{letters[0]},{letters[1]}->...ij", x, rows, columns)


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    y = np.zeros(shape)
    cells = np.broadcast_to(np.arange(y.size).reshape(shape), x.shape)
    np.add.at(y.reshape(-1), cells.reshape(-1), x.reshape(-1))
    return y


def conv2d(x: Array, w: Array, bias: Array | None = None, **options: Any) -> Array:
    if x.ndim == 3:
        return conv2d(x[None], w, bias, **options)[0]
    y = reference.conv2d(x, w, **options)
    return y if bias is None else y + bias[:, None, None]


def linear(x: Array, w: Array, bias: Array | None = None) -> Array:
    y = np.einsum("...p,ip->...i", x, w)
    return y if bias is None else y + bias


def cross_entropy(
    logits: Array,
    target: Array,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    weight: Any = None,
    ignore_index: int = -100,
) -> Any:
    x = np.moveaxis(special.log_softmax(logits, axis=axis), axis, -1)
    weights = np.ones(x.shape[-1]) if weight is None else weight
    if target.ndim < logits.ndim:
        counted = (target != ignore_index) * 1.0
        rows = np.eye(len(weights))[target] * counted[..., None]
        counted *= weights[target]
    else:
        rows, counted = np.moveaxis(target, axis, -1), np.ones(x.shape[:-1])
    smooth = label_smoothing / len(weights) * (counted != 0)[..., None]
    losses = -np.sum(((1 - label_smoothing) * rows + smooth) * weights * x, axis=-1)
    return losses.sum() / counted.sum() if reduction == "mean" else REDUCE[reduction](losses)


def batch_norm(
    x: Array, w: Array | None, bias: Array | None, eps: float, ranks: Any = None
) -> Array:
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        centered = x[:, c] - x[:, c].mean()
        y[:, c] = centered / np.sqrt(x[:, c].var() + eps)
        y[:, c] *= 1.0 if w is None else w[c]
        y[:, c] += 0.0 if bias is None else bias[c]
    return y


def layer_norm(
    x: Array, normalized_shape: Any, weight: Array | None, bias: Array | None, eps: float
) -> Array:
    parts = x.reshape(-1, np.prod(normalized_shape))
    y = [(part - part.mean()) / np.sqrt(part.var() + eps) for part in parts]
    scaled = np.reshape(y, x.shape) * (1.0 if weight is None else weight)
    return scaled + (0.0 if bias is None else bias)


def group_norm(
    x: Array, num_groups: int, weight: Array | None, bias: Array | None, eps: float
) -> Array:
    parts = x.reshape(len(x), num_groups, -1)
    y = np.reshape([layer_norm(part, parts.shape[2], None, None, eps) for part in parts], x.shape)
    for c in range(x.shape[1]):
        y[:, c] *= 1.0 if weight is None else weight[c]
        y[:, c] += 0.0 if bias is None else bias[c]
    return y


def gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        return x * special.ndtr(x)
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def padded(x: Array, pad_width: Any, mode: str = "constant", value: float = 0.0) -> Array:
    return np.pad(x, pad_width, mode, **({"constant_values": value} if mode == "constant" else {}))


def unfold(x: Array, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Return the windows of a padded copy, with those of SciPy's layout put last."""
    kernel, steps, apart = (naive.both(option) for option in (kernel_size, stride, dilation))
    if padding == "same":
        borders = naive.same(x.shape[-2:], kernel, steps, apart)
    else:
        borders = naive.sides(0 if padding == "valid" else padding)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + borders)
    reach = [d * (k - 1) + 1 for d, k in zip(apart, kernel, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, (-2, -1))
    seen = seen[..., :: steps[0], :: steps[1], :: apart[0], :: apart[1]]
    seen = np.moveaxis(seen, (-2, -1), (-4, -3))  # (..., C, KH, KW, OH, OW)
    return seen.reshape(*x.shape[:-3], np.prod(seen.shape[-5:-2]), np.prod(seen.shape[-2:]))


def fold(x: Array, output_size: Any, kernel_size: Any, **options: Any) -> Array:
    """Return each entry of the columns added at the place that `unfold` takes it from."""
    size, kernel = naive.both(output_size), naive.both(kernel_size)
    shape = (*x.shape[:-2], x.shape[-2] // (kernel[0] * kernel[1]), *size)
    places = np.arange(1, np.prod(shape, dtype=int) + 1).reshape(shape)
    y = np.zeros(places.size + 1)  # the first takes what falls on the border
    np.add.at(y, unfold(places, kernel, **options), x)
    return y[1:].reshape(shape)


REFERENCES: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "multiply_add": lambda a, b, c: a * b + c,
    "div": np.divide,
    "neg": np.negative,
    "pow": np.float_power,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "erf": special.erf,
    "erfc": special.erfc,
    "expm1": lambda x: 2 * np.exp(x / 2) * np.sinh(x / 2),
    "log1p": lambda x: np.log(1 + x),
    "log2": lambda x: np.log(x) / np.log(2),
    "log10": lambda x: np.log(x) / np.log(10),
    "square": lambda x: x**2,
    "sin": lambda x: np.exp(1j * x).imag,
    "cos": lambda x: np.exp(1j * x).real,
    "tan": lambda x: np.sin(x) / np.cos(x),
    "arctan": lambda x: np.angle(1 + 1j * x),
    "arctan2": lambda a, b: np.angle(b + 1j * a),
    "hypot": lambda a, b: np.abs(a + 1j * b),
    "sinh": lambda x: (np.exp(x) - np.exp(-x)) / 2,
    "cosh": lambda x: (np.exp(x) + np.exp(-x)) / 2,
    "sign": lambda x: (x > 0) * 1.0 - (x < 0),
    "floor": lambda x: x - x % 1,
    "ceil": lambda x: x + -x % 1,
    "floor_divide": lambda a, b: (a - a % b) / b,
    "mod": lambda a, b: a - b * np.floor(a / b),
    "round": lambda x, decimals=0: np.rint(x * 10.0**decimals) / 10.0**decimals,
    "abs": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "clip": lambda x, low=None, high=None: np.clip(x, low, high),
    "astype": lambda x, dtype: x.astype(dtype),
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda x, at_zero: np.maximum(x, 0),
    "leaky_relu": lambda x, negative_slope, at_zero: np.where(x > 0, x, negative_slope * x),
    "elu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "hardtanh": lambda x, min_val, max_val: np.minimum(np.maximum(x, min_val), max_val),
    "gelu": gelu,
    "softplus": lambda x: np.logaddexp(0, x),
    "softmax": lambda x, axis=-1, temperature=1.0: special.softmax(x / temperature, axis),
    "log_softmax": lambda x, axis=-1, temperature=1.0: special.log_softmax(x / temperature, axis),
    "sum": np.sum,
    "mean": np.mean,
    "cumsum": np.cumsum,
    "max": np.max,
    "min": np.min,
    "logsumexp": lambda x, **options: np.log(np.sum(np.exp(x), **options)),
    "reshape": lambda x, shape: np.reshape(x, shape),
    "transpose": lambda x, axes=None: np.transpose(x, axes),
    "broadcast_to": np.broadcast_to,
    "sum_to": sum_to,
    "getitem": lambda x, index: x[index],
    "put": scattered,
    "concatenate": np.concatenate,
    "stack": np.stack,
    "pad": padded,
    "flip": np.flip,
    "matmul": np.matmul,
    "linear": linear,
    "conv2d": conv2d,
    "unfold": unfold,
    "resample": resample,
    "fold": fold,
    "maxpool": lambda x, kernel_size=2, **options: naive.maxpool(x, kernel_size, **options)[0],
    "avgpool": lambda x, kernel_size=2, **options: naive.avgpool(x, kernel_size, **options),
    "mse": lambda p, t, reduction: REDUCE[reduction]((p - t) ** 2),
    "squared_error": lambda p, t, reduction: REDUCE[reduction]((p - t) ** 2 / 2),
    "cross_entropy": cross_entropy,
    "dropout": lambda x, mask, p: np.where(mask, x / (1 - p), 0) if p < 1 else 0 * x,
    "batch_norm": batch_norm,
    "rank_average": lambda x, weight, ranks=None: x,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
}
"""By name. Other tests check a convolution's gradients, and pooling's gathers and scatters, as
adjoints."""
