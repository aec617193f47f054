"""The check that an exported file computes the same as the model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.capture import flat
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.load import load

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["check_file"]


def check_file(written: ModelProto, computed: Any, given: Mapping[str, Tensor]) -> None:
    """Raise OnnxError unless the file computes for these inputs what the function has computed.

    A file that `load` cannot read is a warning.
    """
    try:
        loaded = load(written)
    except OnnxError as error:
        warnings.warn(f"export: the file could not be checked: {error}", stacklevel=3)
        return
    shapes = ", ".join(f"{name} of shape {v.shape}" for name, v in given.items())
    wrong = f"export: the file does not compute what the model does: for {shapes}"
    with np.errstate(all="ignore"), no_grad():
        try:
            results = loaded(*(value._array for value in given.values()))
        except OnnxError as error:
            raise OnnxError(f"{wrong}, {error}") from error
    expected = [np.asarray(array_of(value)) for _, value in flat(computed)]
    found = results if isinstance(results, tuple) else (results,)
    for output, result, ours in zip(written.graph.output, found, expected, strict=True):
        theirs = np.asarray(array_of(result))
        if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
            raise OnnxError(
                f"{wrong}, {output.name} is {theirs.dtype} of shape {theirs.shape}, expected "
                f"{ours.dtype} of {ours.shape}"
            )
        scale = float(np.abs(ours).max(initial=1.0, where=np.isfinite(ours)))
        tolerance = (1e-4 if ours.dtype == np.float32 else 1e-7) * scale
        same = np.isclose(theirs, ours, 0.0, tolerance, equal_nan=True)
        if not same.all():
            one, other = theirs[~same][0], ours[~same][0]
            raise OnnxError(
                f"{wrong}, {output.name} differs in {(~same).sum()} of {same.size} values, such as "
                f"{one} instead of {other}"
            )
