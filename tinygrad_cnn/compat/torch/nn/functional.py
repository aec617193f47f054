"""``torch.nn.functional``: functions of networks, under PyTorch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch import names, table
from tinygrad_cnn.compat.torch.creation import rng_of
from tinygrad_cnn.compat.torch.tensor import Tensor, in_place, wrapped
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.ops.batch_normalization import (
    announce_inference,
    batch_statistics,
    saved_statistics,
)

globals().update(table.functions(table.FUNCTIONAL, __name__))


# --- dropout -------------------------------------------------------------------------------------


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero random values with probability `p`, and divide the others by 1 − p."""
    return _dropped(input, input.shape, p, training)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero whole channels of (N, C, L) with probability `p`."""
    return _dropped(input, (*input.shape[:2], *(1,) * (input.dim() - 2)), p, training)


dropout2d = dropout3d = feature_dropout = dropout1d


def _dropped(input: Any, shape: Any, p: float, training: bool) -> Any:
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0.0
    return wrapped(ops.dropout(input, _drawn(shape, p), p))


@effect
def _drawn(shape: Any, p: float) -> Any:
    """Return a mask that is False with probability `p`."""
    return rng_of(None).random(shape) >= p


# --- normalization -------------------------------------------------------------------------------


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize each channel with the statistics of the batch (`training`) or the running ones."""
    return batch_norm_of_ranks(
        input, running_mean, running_var, weight, bias, training, momentum, eps, None
    )


def batch_norm_of_ranks(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool,
    momentum: float, eps: float, ranks: Any,
) -> Any:  # fmt: skip
    """Return `batch_norm` with the statistics of all `ranks`; None for this process alone."""
    if training or running_mean is None:
        count = input.shape[1]
        if input.numel() <= count and ranks is None:
            raise ValueError(
                f"batch_norm: input has shape {tuple(input.shape)}, expected more than one value a "
                "channel in training; take a larger batch, or call model.eval()"
            )
        y = wrapped(ops.batch_norm(input, weight, bias, eps, ranks))
        if running_mean is not None:
            _follow(running_mean, running_var, saved_statistics(y), input, momentum, ranks)
        return y
    channels = (1, -1) + (1,) * (input.dim() - 2)
    scale = 1.0 / ops.sqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    y = wrapped(ops.multiply_add(input, ops.reshape(scale, channels), ops.reshape(shift, channels)))
    announce_inference(input, running_mean, running_var, weight, bias, eps, y)
    return y


@effect
def _follow(
    mean: Any, variance: Any, statistics: Any, input: Any, momentum: float, ranks: Any
) -> None:
    """Move running statistics towards those of a batch."""
    found = batch_statistics(statistics, array_of(input), ranks)
    for running, batch in zip((mean, variance), found, strict=False):
        running._write("batch_norm", ..., (1 - momentum) * running._array + momentum * batch)


def gumbel_softmax(
    logits: Any, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """Draw from the categories that `logits` give, as probabilities or, if `hard`, one-hot."""
    noise = -np.log(rng_of(None).exponential(size=logits.shape)).astype(logits._array.dtype)
    soft = wrapped(ops.softmax((logits + Tensor._of(noise)) / tau, axis=dim))
    if not hard:
        return soft
    chosen = soft._array == soft._array.max(axis=dim, keepdims=True)
    return Tensor._of(chosen.astype(soft._array.dtype)) - soft.detach() + soft


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None,
) -> Any:  # fmt: skip
    """Return ``softmax(query keyᵀ / √d) value``, with a mask of bools or of terms to add."""
    scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "scaled_dot_product_attention: got attn_mask and is_causal=True; leave one out"
        )
    if is_causal:
        attn_mask = Tensor._of(np.tri(*scores.shape[-2:], dtype=bool))
    if attn_mask is not None and attn_mask._array.dtype == bool:
        scores = scores.masked_fill(~attn_mask, -np.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return dropout(scores.softmax(-1), dropout_p) @ value


# --- images --------------------------------------------------------------------------------------


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Add a border: `pad` has the widths (left, right, top, bottom, ...) of the last axes."""
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    widths = [(0, 0)] * (input.dim() - len(pairs)) + pairs
    if min(min(pair) for pair in widths) < 0:  # negative widths crop
        parts = tuple(
            slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(input.shape, widths, strict=True)
        )
        input, widths = input[parts], [(max(0, a), max(0, b)) for a, b in widths]
    if mode == "constant":
        return wrapped(ops.pad(input, widths, value=0.0 if value is None else value))
    names_ = {"replicate": "edge", "circular": "wrap"}
    return wrapped(ops.pad(input, widths, mode=names_.get(mode, mode)))


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Resize images to `size`, or by `scale_factor`."""
    table.refuse("interpolate", recompute_scale_factor=recompute_scale_factor, antialias=antialias)
    return wrapped(ops.interpolate(input, size, scale_factor, mode, bool(align_corners)))


upsample = interpolate


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Return a row of zeros for each label, with 1 at its place."""
    classes = int(tensor.max()) + 1 if num_classes == -1 else num_classes
    return (tensor[..., None] == np.arange(classes)).long()  # type: ignore[no-any-return]


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Return the rows of `weight` at the indices `input`."""
    rows = wrapped(ops.getitem(weight, array_of(input)))
    if padding_idx is None or not recording.get().on:
        return rows
    padding = (array_of(input) == padding_idx % weight.shape[0])[..., None]
    return wrapped(ops.where(padding, rows.detach(), rows))  # without a gradient


for _name in ("relu", "leaky_relu", "elu", "selu", "celu", "hardtanh", "threshold"):
    globals()[f"{_name}_"] = in_place(globals()[_name])

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.nn.functional", "torch.nn.functional")
else:

    def __getattr__(name: str) -> Any: ...
