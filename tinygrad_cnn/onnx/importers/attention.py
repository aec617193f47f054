"""Attention: by scaled dot products, by a state of the past, and rotary position embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer

PRECISIONS = {1: np.float32, 10: np.float16, 11: np.float64, 16: np.float32}
"""By the standard's number; bfloat16 is computed in float32."""


@importer("Attention")
def _(
    node: Operator,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    past_key: Any = None,
    past_value: Any = None,
    lengths: Any = None,
) -> Any:
    """Compute softmax(q kᵀ / √d + bias) v for each head.

    Of shape (N, heads, L, d), or (N, L, heads·d) with the number of heads as an attribute.
    """
    joined = q.ndim == 3
    if joined:
        heads = node.get("q_num_heads", 0), node.get("kv_num_heads", 0)
        q, k, v = (_heads(node, x, n) for x, n in ((q, heads[0]), (k, heads[1]), (v, heads[1])))
    before = 0
    if past_key is not None and past_value is not None:
        before = past_key.shape[2]
        k, v = ops.concatenate([past_key, k], 2), ops.concatenate([past_value, v], 2)
    bias, hidden = _bias(node, q.shape[2], k.shape[2], q.dtype, mask, before, lengths)
    products = _products(node, q, _repeated(q, k))
    capped = _capped(products, node.get("softcap", 0.0))
    biased = capped if bias is None else capped + bias
    precision = PRECISIONS.get(node.get("softmax_precision", 0))
    wide = biased if precision is None else ops.astype(biased, precision)
    if hidden is None:
        shares = ops.softmax(wide)
    else:  # a query with nothing to attend to gets 0
        zero = np.zeros((), wide.dtype)
        shares = ops.where(hidden, zero, ops.softmax(ops.where(hidden, zero, wide)))
    shares = ops.astype(shares, q.dtype)
    y = ops.matmul(shares, _repeated(q, v))
    if joined:
        y = ops.swapaxes(y, 1, 2)
        y = y.reshape((*y.shape[:2], -1))
    shown = (products, capped, biased, shares)[node.get("qk_matmul_output_mode", 0)]
    return y, k, v, shown


def _heads(node: Operator, x: Any, heads: int) -> Any:
    """Return (N, L, heads·d) as (N, heads, L, d)."""
    if x.ndim != 3 or heads < 1 or x.shape[2] % heads:
        raise refused(node, f"x has shape {x.shape}, expected (N, L, {heads}·d)")
    return ops.swapaxes(x.reshape((*x.shape[:2], heads, x.shape[2] // heads)), 1, 2)


def _repeated(q: Any, k: Any) -> Any:
    """Return `k` with a head for each head of `q`: several may share one."""
    return k if q.shape[1] == k.shape[1] else ops.repeat(k, q.shape[1] // k.shape[1], 1)


def _products(node: Operator, q: Any, k: Any) -> Any:
    scale = node.get("scale")
    root = math.sqrt(1 / math.sqrt(q.shape[3]) if scale is None else scale)
    return ops.matmul(q * root, ops.swapaxes(k * root, 2, 3))


def _capped(x: Any, cap: float) -> Any:
    return ops.tanh(x / cap) * cap if cap > 0 else x


def _bias(
    node: Operator, rows: int, columns: int, dtype: Any, mask: Any, before: int, lengths: Any
) -> tuple[Any, Any]:
    """Return the bias of the products, and the rows in which all is hidden; None for neither."""
    seen = _seen(node, rows, columns, before, lengths)
    bias = None
    if mask is not None:
        short = columns - mask.shape[-1]
        if short > 0:  # keys beyond the mask are hidden
            fill = False if mask.dtype == np.bool_ else -np.inf
            mask = ops.pad(mask, [*[(0, 0)] * (mask.ndim - 1), (0, short)], value=fill)
        if mask.dtype == np.bool_:
            seen = np.logical_and(plain(mask), True if seen is None else seen)
        else:
            bias = mask
    if seen is not None:
        shut = np.where(seen, 0.0, -np.inf).astype(dtype)
        bias = shut if bias is None else bias + shut
    if bias is None:
        return None, None
    hidden = np.isneginf(np.max(plain(bias), -1, keepdims=True))
    return bias, hidden if hidden.any() else None


def _seen(node: Operator, rows: int, columns: int, before: int, lengths: Any) -> Any:
    """Return which keys each query may attend to, to broadcast with (N, heads, rows, columns)."""
    ends = None if lengths is None else np.asarray(lengths).reshape(-1, 1, 1, 1)
    key = np.arange(columns)
    # the place of each query among the keys; without a cache of keys, from the first one on
    place = (before if ends is None else ends - rows) + np.arange(rows)[:, np.newaxis]
    rules = [] if ends is None else [key < ends]
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    if node.get("is_causal", 0):
        rules.append(key <= place)
    if left >= 0:
        rules.append(key >= place - left)
    if right >= 0:
        rules.append(key <= place + right)
    seen: Any = None
    for rule in rules:
        seen = rule if seen is None else seen & rule
    return seen


@importer("LinearAttention")
def _(
    node: Operator, q: Any, k: Any, v: Any, past: Any = None, decay: Any = None, beta: Any = None
) -> Any:
    """Attend by a matrix that sums up the past, S ← e^decay·S + k (v − Sᵀk)ᵀ: y = Sᵀ q / √d.

    Without decay and beta, S ← S + k vᵀ.
    """
    rule, heads = node.get("update_rule", "gated_delta"), int(node.get("kv_num_heads", 0))
    if (decay is None) == ("gated" in rule) or (beta is None) == ("delta" in rule):
        raise refused(node, f"update_rule is {rule!r}, which does not fit decay and beta")
    q, k, v = (
        _heads(node, x, n) for x, n in ((q, node.get("q_num_heads", 0)), (k, heads), (v, heads))
    )
    decay = None if decay is None else ops.exp(_heads(node, decay, heads))
    beta = None if beta is None else _heads(node, beta, beta.shape[2])
    scale = node.get("scale", 0.0) or 1 / math.sqrt(q.shape[3])
    if past is None:
        past = np.zeros((*k.shape[:2], k.shape[3], v.shape[3]), q.dtype)
    state, outputs = past, []
    for t in range(q.shape[2]):
        at = (slice(None), slice(None), slice(t, t + 1))  # one row: (N, heads, 1, d)
        key, value = ops.swapaxes(k[at], 2, 3), v[at]
        if decay is not None:
            state = state * ops.swapaxes(decay[at], 2, 3)
        if beta is not None:
            value = beta[at] * (value - ops.matmul(k[at], state))
        state = state + ops.matmul(key, value)
        outputs.append(ops.matmul(q[at], _repeated(q, state)))
    y = ops.swapaxes(ops.concatenate(outputs, 2), 1, 2) * scale
    return y.reshape((*y.shape[:2], -1)), state


@importer("RotaryEmbedding")
def _(node: Operator, x: Any, cosines: Any, sines: Any, places: Any = None) -> Any:
    """Rotate pairs of entries by angles that depend on the place: (N, heads, L, d), (N, L, h·d)."""
    joined = x.ndim == 3
    parts = _heads(node, x, node.get("num_heads", 0)) if joined else x
    size = node.get("rotary_embedding_dim", 0) or parts.shape[3]
    if places is not None:
        cosines, sines = (ops.getitem(v, np.asarray(places)) for v in (cosines, sines))
    cosines, sines = (ops.expand_dims(v, 1) for v in (cosines, sines))  # (N, 1, L, size / 2)
    halves = (slice(0, size, 2), slice(1, size, 2))
    if not node.get("interleaved", 0):
        halves = (slice(size // 2), slice(size // 2, size))
    a, b = (ops.getitem(parts, (..., half)) for half in halves)
    turned = [cosines * a - sines * b, sines * a + cosines * b]
    if node.get("interleaved", 0):
        y = ops.stack(turned, -1)
        y = y.reshape((*y.shape[:3], size))
    else:
        y = ops.concatenate(turned, -1)
    if size < parts.shape[3]:
        y = ops.concatenate([y, ops.getitem(parts, (..., slice(size, None)))], -1)
    return ops.swapaxes(y, 1, 2).reshape(x.shape) if joined else y
