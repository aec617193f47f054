"""One call of an op, and the values of the letters in its formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from support import numeric
from support.prose import PROSE

LEFT_OUT = {"approximate", "at_zero", "ignore_index", "keepdims", "reduction", "weight"}
"""Options that formulas do not show: these hold for the defaults."""


class Evaluation:
    """The values of the letters in the formulas of a call."""

    def __init__(self, name: str, arguments: dict[str, Any], g_seed: int) -> None:
        op = tg.OPS[name]
        self.op = op
        defaults = {k: v.default for k, v in op.signature.parameters.items()}
        shown = op.role == "normalization"  # where the weight is an operand
        given = {k: v for k, v in arguments.items() if shown or k not in LEFT_OUT}
        self.arguments = {**defaults, **given}
        self.y = np.asarray(op(**self.arguments))
        self.g = np.random.default_rng(g_seed).normal(size=self.y.shape)
        self.axes: Any = None
        self.values: dict[str, Any] = {**self.arguments, "g": self.g, "y": self.y}
        self.values |= {alias: self.arguments[name] for name, alias in op.aliases.items()}
        special = getattr(self, f"_of_{name}", None) or self._of_family(name)
        if special:
            special()
        self.values |= {"axes": self.axes, "axes_of_call": self.arguments.get("axes")}

    def _of_family(self, name: str) -> Any:
        if name in ("sum", "mean", "max", "min", "logsumexp"):
            return self._reduce
        if name.startswith("conv"):
            return self._convolve
        return None

    def _reduce(self) -> None:
        x, self.axes = self.arguments["x"], self.arguments["axis"]
        kept = np.sum(x, axis=self.axes, keepdims=True).shape
        self.values |= {"g": self.g.reshape(kept), "y": self.y.reshape(kept)}
        self.values["n"] = x.size // max(math.prod(kept), 1)

    def _convolve(self) -> None:
        name, given = self.op.name, self.arguments
        image = {"conv2d": "x", "conv2d_weight_gradient": "x"}.get(name)
        kernel = "shape" if name == "conv2d_weight_gradient" else "w"
        self.values["image"] = given[image].shape if image else given.get("shape", self.y.shape)
        self.values["kernel"] = given[kernel] if kernel == "shape" else given[kernel].shape
        bias = given.get("bias")
        self.values["b"] = np.zeros(()) if bias is None else bias.reshape(-1, 1, 1)

    def _of_clip(self) -> None:
        low, high = self.arguments["low"], self.arguments["high"]
        self.values["low"] = -np.inf if low is None else low
        self.values["high"] = np.inf if high is None else high

    def _of_softmax(self) -> None:
        self.axes = self.arguments["axis"]

    _of_log_softmax = _of_softmax

    def _of_matmul(self) -> None:
        a, b = self.arguments["a"], self.arguments["b"]
        a = a[None, :] if a.ndim == 1 else a
        b = b[:, None] if b.ndim == 1 else b
        self.values |= {"a": a, "b": b, "g": self.g.reshape(np.matmul(a, b).shape)}

    def _of_linear(self) -> None:
        x, w = self.arguments["x"], self.arguments["w"]
        rows = math.prod(x.shape[:-1])
        bias = self.arguments["bias"]
        self.axes = 0
        self.values |= {"x": x.reshape(rows, x.shape[-1]), "g": self.g.reshape(rows, len(w))}
        self.values["b"] = np.zeros(()) if bias is None else bias

    def _of_mse(self) -> None:
        self.values["n"] = self.arguments["target"].size

    def _of_cross_entropy(self) -> None:
        x, target = self.arguments["logits"], self.arguments["target"]
        axis = self.arguments["axis"]
        classes = x.shape[axis]
        rows = target
        if np.ndim(target) < x.ndim:
            rows = np.moveaxis(np.eye(classes)[target], -1, axis)
        smoothing = self.arguments["label_smoothing"]
        self.values["t"] = (1 - smoothing) * rows + smoothing / classes
        self.values["n"] = x.size // classes

    def _of_batch_norm(self) -> None:
        x, w, bias = (self.arguments[name] for name in ("x", "w", "bias"))
        self.axes = (0, *range(2, x.ndim))
        mean = x.mean(axis=self.axes, keepdims=True)
        variance = x.var(axis=self.axes, keepdims=True)
        channel = (1, -1) + (1,) * (x.ndim - 2)
        self.values |= {
            "w": np.ones(()) if w is None else w.reshape(channel),
            "b": np.zeros(()) if bias is None else bias.reshape(channel),
            "μ": mean,
            "σ²": variance,
            "x̂": (x - mean) / np.sqrt(variance + self.arguments["eps"]),
        }

    def value(self, formula: str) -> Any:
        if formula in PROSE:
            return PROSE[formula](self.values)
        with np.errstate(all="ignore"):  # 0·0⁻¹ has no value; those entries are not compared
            return numeric.value(formula, self.values, self.axes, self.values)

    def fitted(self, result: Any, shape: tuple[int, ...]) -> Any:
        """Return the value of a formula in the shape of an argument: broadcasting is undone."""
        result = np.asarray(result)
        if self.op.name == "matmul" and len(shape) == 1:  # a row, or a column
            row = np.ndim(self.arguments["a"]) == 1 and result.shape[-1] == shape[0]
            matrix = (1, *shape) if row else (*shape, 1)
            return self.fitted(result, matrix).reshape(shape)
        if result.size == math.prod(shape):
            return result.reshape(shape)
        if result.size < math.prod(shape):
            return np.broadcast_to(result, shape)
        lead = result.ndim - len(shape)
        summed = result.sum(axis=tuple(range(lead)))
        axes = tuple(a for a, n in enumerate(shape) if n == 1)
        return summed.sum(axis=axes, keepdims=True).reshape(shape)
