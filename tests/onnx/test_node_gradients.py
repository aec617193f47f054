"""Gradients of loaded operators at the points of the standard's node tests, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from support.onnx_cases import Case, cases, not_supported

import tinygrad_cnn as tg

SMALL = 10_000  # the most values of the inputs of a case
SETTINGS = {
    "OneHot": {0, 1}, "Pad": {2}, "Resize": {1, 2}, "RoiAlign": {1}, "Upsample": {1},
}  # fmt: skip
"""Inputs of floats that are settings: indices, a value of padding, scales, regions."""

STEPPED = {
    "Hardmax": "constant between its steps, so that the result is an array",
    "Range": "the number of values depends on the values",
    "Unique": "the number of values depends on the values",
}


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.char in "fd"


def smallest() -> dict[str, Case]:
    """Return for each operator its smallest case with floats in and out, all finite."""
    found: dict[str, Case] = {}
    for case in cases():
        inputs, outputs = case.data[0]
        floats = [x for x in inputs if is_float(x)]
        usable = (
            case.kind == "node"
            and not case.is_expanded
            and not not_supported().reasons(case)
            and case.operator not in STEPPED
            and is_float(outputs[0])
            and all(np.isfinite(x).all() for x in floats)
        )
        size = sum(x.size for x in floats)
        if usable and 0 < size <= SMALL:
            before = found.get(case.operator)
            if before is None or size < sum(x.size for x in before.data[0][0] if is_float(x)):
                found[case.operator] = case
    return found


def in_float64(model: onnx.ModelProto) -> bytes:
    """Return the file of a model whose inputs and outputs of float32 are of float64."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in [*copy.graph.input, *copy.graph.output]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return copy.SerializeToString()


def check(case: Case, path: Path) -> None:
    """Compare the gradients of a loaded case for its inputs with central differences."""
    path.write_bytes(in_float64(case.model))
    module = tg.onnx.load(path)
    given = [x.astype(np.float64) if is_float(x) else x for x in case.data[0][0]]
    settings = SETTINGS.get(case.operator, set())
    places = [k for k, x in enumerate(given) if is_float(x) and k not in settings]

    def f(*x: Any) -> Any:
        arguments = list(given)
        for k, value in zip(places, x, strict=True):
            arguments[k] = value
        results = module.eval()(*arguments)
        return results[0] if isinstance(results, tuple) else results

    tg.check.check_gradients(f, *(given[k] for k in places), method="central", entries=16)


def test_gradients_agree_with_differences(tmp_path: Path) -> None:
    wrong, found = {}, smallest()
    for operator, case in found.items():
        try:
            check(case, tmp_path / "case.onnx")
        except (ValueError, TypeError, AssertionError) as error:
            wrong[operator] = f"{case.name}: {error}"
    assert wrong == {}
    assert len(found) >= 100
