"""What onnxruntime computes with exported functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import tinygrad_cnn as tg

SILENT = 4  # onnxruntime's level of messages: none but fatal errors


class NoKernelError(Exception):
    """Onnxruntime has no kernel of an operator for the dtype."""


def session(file: Any) -> onnxruntime.InferenceSession:
    """Return a session of onnxruntime with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    try:
        return onnxruntime.InferenceSession(file.SerializeToString(), options)
    except Exception as error:
        if "NOT_IMPLEMENTED" in str(error):
            raise NoKernelError(str(error)) from error
        raise


def computed(file: Any, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the outputs of a file for inputs in its order."""
    names = [value.name for value in file.graph.input]
    results: list[Any] = session(file).run(None, dict(zip(names, inputs, strict=True)))
    return results


def assert_exported(
    function: Callable[..., Any],
    inputs: Sequence[NDArray[Any]],
    others: Sequence[Sequence[NDArray[Any]]] = (),
    tolerance: float = 1e-5,
    **options: Any,
) -> Any:
    """Export a function of these inputs, and compare it with onnxruntime, also for `others`.

    Without options, no axis varies and the export does not check itself. Returns the file.
    """
    options = {"dynamic": {}, "check": False} | options
    names = [f"x{i}" for i in range(len(inputs))]
    file = tg.onnx.export(function, tuple(inputs), input_names=names, **options)
    for given in (inputs, *others):
        expected = function(*map(tg.Tensor._of, given))
        several = expected if isinstance(expected, list | tuple) else [expected]
        found = computed(file, given)
        assert len(found) == len(several)
        for theirs, ours in zip(found, map(_array, several), strict=True):
            assert_close(theirs, ours, tolerance)
    return file


def reversed_values(inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return inputs of the same shapes and values, in reverse order."""
    return [np.flip(x.reshape(-1)).reshape(x.shape) for x in inputs]


def assert_close(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> None:
    """Compare values, shapes and dtypes; the tolerance is of each value and of the largest."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max(initial=1.0)) if expected.dtype.kind == "f" else 0.0
    np.testing.assert_allclose(found, expected, tolerance, tolerance * scale)


def _array(value: Any) -> NDArray[Any]:
    return value.numpy() if isinstance(value, tg.Tensor) else np.asarray(value)
