"""The node tests of the ONNX standard, and whether a loaded model agrees with each.

``python tests/support/onnx_cases.py test_conv* test_gemm*`` prints the cases that do not agree.
"""

from __future__ import annotations

import re
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx.defs
import onnx.numpy_helper
from onnx.backend.test.loader import load_model_tests

import tinygrad_cnn as tg
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx.load import _declare_importers
from tinygrad_cnn.onnx.operator import IMPORTERS

KINDS = {
    "node": "single operators",
    "simple": "small graphs",
    "pytorch-operator": "operators written by PyTorch",
    "pytorch-converted": "layers written by PyTorch",
}
LIST = Path(__file__).parents[1] / "onnx" / "not_supported.toml"
COARSE = {"test_dft_inverse*": 1e-6}  # what is expected of a 0 has a larger error than its atol
EXPANDED = re.compile(r"(_ver\d+)?_expanded.*$")


@dataclass(frozen=True)
class Case:
    """A model with inputs, and the outputs that the standard expects."""

    name: str
    kind: str
    operator: str  # of a node test; of an expanded one, the operator that it defines
    is_expanded: bool  # written with other operators: the body of the operator's function
    model: onnx.ModelProto
    data: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float

    @property
    def key(self) -> str:
        """A name that no other case has."""
        return f"{self.kind}/{self.name}"

    @property
    def op_types(self) -> set[str]:
        """The operators in the graph and its subgraphs, with their domain if it has one."""
        return set(_op_types(self.model.graph))


@dataclass(frozen=True)
class NotSupported:
    """The declared list of what cannot be loaded, with the reasons."""

    version: tuple[int, ...]  # of onnx, for which the list is complete
    operators: dict[str, str]
    cases: dict[str, str]
    earlier: dict[str, str]  # cases that are others in earlier versions

    def reasons(self, case: Case) -> set[str]:
        """Return the entries that a case falls under."""
        listed = {name for name in case.op_types if name in self.operators}
        return listed | {pattern for pattern in self.cases if fnmatchcase(case.name, pattern)}


@cache
def not_supported() -> NotSupported:
    """Return the declared list."""
    table = tomllib.loads(LIST.read_text("utf-8"))
    parts = [
        {name: entry["why"] for entry in table[part] for name in entry["names"]}
        for part in ("operators", "cases", "earlier")
    ]
    return NotSupported(version(table["onnx"]), *parts)


def version(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(map(int, text.split(".")[:2]))


INSTALLED = version(onnx.__version__)


def importers() -> set[str]:
    """Return the names of the operators that can be computed."""
    _declare_importers()
    return {*IMPORTERS, "Constant"}  # whose value the reader takes


@cache
def cases() -> list[Case]:
    """Return all test cases of the installed package ``onnx``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the standard's own examples
        found = {kind: load_model_tests(kind=kind) for kind in KINDS}
    listed = not_supported()
    left_out = listed.earlier if listed.version > INSTALLED else {}
    operator = {
        case.name: _operator(_model(case)) for case in found["node"] if "_expanded" not in case.name
    }
    return [
        Case(
            case.name,
            kind,
            operator.get(EXPANDED.sub("", case.name), "") if kind == "node" else "",
            "_expanded" in case.name,
            model := _model(case),
            _data(case, model),
            case.rtol,
            max([case.atol, *(a for p, a in COARSE.items() if fnmatchcase(case.name, p))]),
        )
        for kind in KINDS
        for case in sorted(found[kind], key=lambda case: case.name)
        if not any(fnmatchcase(case.name, pattern) for pattern in left_out)
    ]


@dataclass(frozen=True)
class Outcome:
    """What a loaded model does with a case: it agrees, it is refused, or it is wrong."""

    agrees: bool
    refused: bool = False
    message: str = ""


@cache
def outcomes() -> dict[str, Outcome]:
    """Return the outcome of every case, by its key."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "case.onnx"
        return {case.key: outcome(case, path) for case in cases()}


def outcome(case: Case, path: Path) -> Outcome:
    """Load a case from a file at `path`, call the model and compare its outputs."""
    path.write_bytes(case.model.SerializeToString())
    try:
        module = tg.onnx.load(path)
        module.eval()
        for inputs, expected in case.data:
            with np.errstate(all="ignore"):  # a NaN may be what is expected
                results = module(*map(given_value, inputs))
            results = results if isinstance(results, tuple) else (results,)
            if len(results) != len(expected):
                return Outcome(False, False, f"{len(results)} outputs for {len(expected)}")
            for k, pair in enumerate(zip(results, expected, strict=True)):
                if message := difference(*pair, case.rtol, case.atol):
                    return Outcome(False, False, f"output {k}: {message}")
    except tg.onnx.OnnxError as error:
        return Outcome(False, True, str(error))
    except Exception as error:
        return Outcome(False, False, f"{type(error).__name__}: {error}")
    return Outcome(True)


def difference(result: Any, expected: Any, rtol: float, atol: float) -> str:
    """Return how a result differs from the expected array; "" if it agrees."""
    if isinstance(expected, list) or expected is None:
        return "a sequence or an optional value is expected"
    result, expected = np.asarray(array_of(result)), np.asarray(expected)
    digits = {"float16": 10, "bfloat16": 7}.get(expected.dtype.name)
    if digits is not None:  # computed in float32; the standard's own steps are rounded
        expected, rtol = expected.astype(np.float32), max(rtol, 2.0 ** (2 - digits))
    if result.shape != expected.shape or result.dtype != expected.dtype:
        return f"{result.dtype} {result.shape}, expected {expected.dtype} {expected.shape}"
    if expected.dtype.kind in "fc":
        near = np.isclose(result, expected, rtol, atol, equal_nan=True)
    else:
        near = np.asarray(result == expected)
    if near.all():
        return ""
    place = np.argwhere(~near)[0]
    return f"{result[tuple(place)]} at {tuple(place)}, expected {expected[tuple(place)]}"


def _op_types(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for attribute in node.attribute:
            for part in [attribute.g, *attribute.graphs]:
                yield from _op_types(part)


def _operator(model: onnx.ModelProto) -> str:
    """Return the operator that a node test is of: the last of its graph."""
    node = model.graph.node[-1]
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _model(case: Any) -> onnx.ModelProto:
    return onnx.load(Path(case.model_dir) / "model.onnx") if case.model is None else case.model


def _data(case: Any, model: onnx.ModelProto) -> Sequence[tuple[Sequence[Any], Sequence[Any]]]:
    """Return the pairs of inputs and outputs, from the files beside the model if it has any."""
    if case.data_sets is not None:
        return [tuple([*map(_value, values)] for values in pair) for pair in case.data_sets]
    return [
        (
            _arrays(folder, "input", model.graph.input),
            _arrays(folder, "output", model.graph.output),
        )
        for folder in sorted(Path(case.model_dir).glob("test_data_set_*"))
    ]


def _arrays(folder: Path, stem: str, values: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    count = len(list(folder.glob(f"{stem}_*.pb")))
    return [
        _array((folder / f"{stem}_{k}.pb").read_bytes(), values[k].type.WhichOneof("value"))
        for k in range(count)
    ]


def _value(value: Any) -> Any:
    """Return an array for a tensor of the standard; others unchanged."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def given_value(value: Any) -> Any:
    """Return an input as a user gives it: NumPy itself has no bfloat16."""
    is_bfloat16 = isinstance(value, np.ndarray) and value.dtype.name == "bfloat16"
    return value.astype(np.float32) if is_bfloat16 else value


def _array(content: bytes, kind: str) -> Any:
    if kind == "tensor_type":
        return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content))
    if kind == "sequence_type":
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(content))


def _print(patterns: list[str]) -> None:
    counts = {"agree": 0, "refused": 0, "WRONG": 0}
    with TemporaryDirectory() as folder:
        for case in cases():
            if any(fnmatchcase(case.name, pattern) for pattern in patterns or ["*"]):
                result = outcome(case, Path(folder) / "case.onnx")
                word = "agree" if result.agrees else "refused" if result.refused else "WRONG"
                counts[word] += 1
                if not result.agrees:
                    message = " ".join(result.message.split())
                    sys.stdout.write(f"{word} {case.key}: {message[:300]}\n")
    sys.stdout.write(f"{counts}\n")


if __name__ == "__main__":
    _print(sys.argv[1:])
