"""What `export` checks: its arguments, the model's results, and the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.graph import EXPORTERS


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"opset": 7}, ValueError, "opset is 7, expected 20 to 22"),
    ({"dynamic": {"y": {0: "n"}}}, ValueError, "dynamic has 'y', expected the name of an input: x"),
    ({"dynamic": {"x": {2: "n"}}}, ValueError, r"dynamic has axis 2 of x, of shape \(2, 3\)"),
    ({"input_names": ["a", "b"]}, ValueError, r"input_names is \['a', 'b'\], expected 1"),
    ({"output_names": ["a", "b"]}, ValueError, r"output_names is \['a', 'b'\], expected 1"),
    ({"output_names": ["x"]}, ValueError, r"output_names is \['x'\].* none that is an input's"),
    ({"dynamic": {"x": [0]}}, TypeError, r"dynamic is \{'x': \[0\]\}, expected names of axes"),
    ({"dynamic": ["x"]}, TypeError, "dynamic is "),
    ({"dynamic": {"x": {0: 7}}}, TypeError, "dynamic is "),
    ({"dynamic": {"x": {0: "b", -2: "c"}}}, ValueError, "dynamic has axis -2 of x, of shape"),
    ({"metadata": {"a": 1}}, TypeError, r"metadata has \['a', 1\], expected texts"),
    ({"metadata": [1]}, TypeError, r"metadata is \[1\], expected texts by name"),
    ({"input_names": [3]}, TypeError, r"input_names has \[3\], expected texts"),
    ({"input_names": [""]}, ValueError, r"input_names is \[''\], expected 1 distinct names"),
    ({"output_names": "y"}, TypeError, "output_names has 'y', expected texts"),
    ({"output_names": [""]}, ValueError, r"output_names is \[''\], expected 1 distinct names"),
])  # fmt: skip
def test_arguments_are_checked(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"export: {message}"):
        tg.onnx.export(nn.Linear(3, 2), random(2, 3), **options)


def test_models_and_examples_are_checked() -> None:
    def second(x: Any, pair: Any) -> Any:
        return x + pair[0]

    pair = (random(2, 3), tg.Tensor(random(2, 3)))
    for several in (pair, list(pair), [[pair[0]], [pair[1]]]):
        with pytest.raises(TypeError, match=r"example of pair is a .* pass several as arguments"):
            tg.onnx.export(second, (random(2, 3), several))
    for model in (3, nn.Linear):
        with pytest.raises(TypeError, match=r"model is .*, expected a Module or a function"):
            tg.onnx.export(model, random(2, 3))
    with pytest.raises(ValueError, match="example is 'abc', expected at least one array"):
        tg.onnx.export(second, "abc")
    with pytest.raises(OnnxError, match=r"returns \{\}, expected at least one Tensor"):
        tg.onnx.export(lambda x: {}, random(2, 3))


def test_results_in_nested_dicts_have_distinct_names() -> None:
    file = tg.onnx.export(lambda x: {"a": {"out": x}, "b": {"out": x * 2.0}}, random(2, 3))
    assert [output.name for output in file.graph.output] == ["a.out", "b.out"]


def test_a_file_that_computes_something_else_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setitem(EXPORTERS, "tanh", lambda graph, x: graph.node("Sigmoid", x))
    with pytest.raises(OnnxError, match="does not compute what the model does: for x of shape"):
        tg.onnx.export(lambda x: tg.tanh(x), random(2, 3))


def test_faults_of_exporters_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORTERS, "isnan", lambda graph, a: graph.node("Equal", a, a))
    with pytest.raises(OnnxError, match="output differs in 12 of 12 values, such as True instead"):
        tg.onnx.export(lambda x: np.isnan(x), random(2, 3))
    for op_type in ("Relu", "Nothing"):  # a float, expected a bool; no operator
        monkeypatch.setitem(EXPORTERS, "isnan", lambda graph, a, op=op_type: graph.node(op, a))
        with pytest.raises(OnnxError, match="an exporter violates the standard: "):
            tg.onnx.export(lambda x: np.isnan(x), random(2, 3))


def test_infinite_results_do_not_hide_wrong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORTERS, "floor", lambda graph, x: graph.node("Identity", x))

    def function(x: Any) -> Any:
        return tg.concatenate([tg.floor(x), x / 0.0, tg.log(x * 0.0 - 1.0)])

    with pytest.raises(OnnxError, match="output differs in 6 of 18 values"):
        tg.onnx.export(function, np.abs(random(2, 3)), dynamic={})


def test_file_that_cannot_be_checked_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORTERS, "floor", lambda graph, x: graph.node("Bernoulli", x))
    with pytest.warns(UserWarning, match=r"could not be checked: .*cannot be loaded: Bernoulli"):
        tg.onnx.export(lambda x: tg.floor(x), random(2, 3))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, -1e-4, 3.0, -7.0, np.inf])
def test_other_inputs_for_an_example_of_one_value_stay_near_it(value: float) -> None:
    drawn = []

    def function(x: Any) -> Any:
        drawn.append(x._array)
        return x * 2.0

    tg.onnx.export(function, np.full((2, 3), value, np.float32))
    assert len(drawn) > 2
    for array in drawn[1:]:
        assert np.ptp(array) > 0
        if 0 <= value <= 1:
            assert 0 <= array.min() <= array.max() <= 1
        elif np.isfinite(value):
            assert (np.abs(array) <= 2 * abs(value)).all()
            assert (np.sign(array) == np.sign(value)).all()
