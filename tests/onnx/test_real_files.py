"""Files that others made: outputs, gradients and exports equal onnxruntime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import onnx_files
from support.onnx_files import (
    QUANTIZED,
    VARIABLE,
    WHEELS,
    Export,
    Wheel,
    difference,
    outputs,
    reference,
    steps,
)

import tinygrad_cnn as tg

TOLERANCE = 1e-4
ARITHMETIC = {"Shape", "Gather", "ConstantOfShape", "Range"}


@pytest.fixture(params=WHEELS, ids=lambda wheel: wheel.name)
def wheel(request: pytest.FixtureRequest) -> Wheel:
    """Return a file of a wheel."""
    return request.param


@pytest.fixture
def path(wheel: Wheel) -> Path:
    """Return its path, or skip."""
    return found(wheel.path)


def found(path: str) -> Path:
    file = onnx_files.find(path)
    if file is None:
        pytest.skip(f"{VARIABLE} names no folder with {path}")
    return file


class TestWheels:
    def test_outputs_equal_onnxruntimes(self, wheel: Wheel, path: Path) -> None:
        model = tg.onnx.load(path)
        for shape in wheel.shapes:
            x = onnx_files.random_input(path, shape)
            assert difference(outputs(model, [x]), reference(path, [x])) < TOLERANCE, shape

    def test_gradients_equal_difference_quotients(self, wheel: Wheel, path: Path) -> None:
        x = onnx_files.random_input(path, wheel.shapes[0])
        assert onnx_files.slope_error(tg.onnx.load(path), [x]) < 1e-4

    def test_shape_arithmetic_is_folded(self, wheel: Wheel, path: Path) -> None:
        import onnx

        nodes = [node.op_type for node in onnx.load(path).graph.node]
        name = onnx.load(path).graph.input[0].name
        model = tg.onnx.load(path, {name: wheel.shapes[0]})
        assert ARITHMETIC.isdisjoint(steps(model))
        assert len(steps(model)) <= len(nodes) - nodes.count("Constant")
        x = onnx_files.random_input(path, wheel.shapes[0])
        assert difference(outputs(model, [x]), reference(path, [x])) < TOLERANCE

    def test_export_computes_the_same(self, wheel: Wheel, path: Path, tmp_path: Path) -> None:
        x = onnx_files.random_input(path, wheel.shapes[0])
        onnx_files.export_again(tg.onnx.load(path), [x], tmp_path / "again.onnx")
        again = reference(tmp_path / "again.onnx", [x])
        assert difference(again, reference(path, [x])) < TOLERANCE

    def test_a_step_of_training_lowers_the_loss(self, wheel: Wheel, path: Path) -> None:
        model = tg.onnx.load(path)
        x = onnx_files.random_input(path, wheel.shapes[0])
        target = outputs(model, [x])[0].numpy() * 0.9
        parameters = list(model.parameters())

        def loss() -> tg.Tensor:
            return tg.mse(outputs(model, [x])[0], target)

        before = loss()
        gradients = tg.grad(before, parameters)
        squared = sum(float((g * g).sum()) for g in gradients)
        rate = 0.01 * before.item() / squared  # to first order, a hundredth less
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.data -= np.float32(rate) * gradient
        assert loss().item() < before.item()

    def test_it_is_drawn_and_summarized(self, wheel: Wheel, path: Path) -> None:
        model = tg.onnx.load(path)
        x = onnx_files.random_input(path, wheel.shapes[0])
        drawing = tg.draw(outputs(model, [x])[0], names=model, depth=1)
        assert "<svg" in drawing.svg()
        summary = model.summary(wheel.shapes[0][1:] if x.dtype.kind == "f" else None)
        assert summary.parameters == sum(p.size for p in model.parameters())


def test_an_operator_of_another_domain_is_named() -> None:
    with pytest.raises(tg.onnx.OnnxError) as error:
        tg.onnx.load(found(QUANTIZED))
    assert "com.microsoft::DynamicQuantizeLSTM" in str(error.value)


@pytest.fixture(params=onnx_files.exports(), ids=lambda export: export.name)
def export(request: pytest.FixtureRequest) -> Export:
    """Return a file that PyTorch exported."""
    return request.param


class TestPyTorch:
    def test_outputs_equal_pytorchs(self, export: Export, tmp_path: Path) -> None:
        model = export.loaded(tmp_path)
        with tg.no_grad():
            found = outputs(model, export.inputs)
        assert difference(found, export.outputs) < TOLERANCE

    def test_export_computes_the_same(self, export: Export, tmp_path: Path) -> None:
        model = export.loaded(tmp_path)
        onnx_files.export_again(model, export.inputs, tmp_path / "again.onnx")
        again = reference(tmp_path / "again.onnx", export.inputs)
        assert difference(again, export.outputs) < TOLERANCE

    def test_gradients_of_parameters_equal_pytorchs(self, export: Export, tmp_path: Path) -> None:
        expected = export.values("gradient")
        if not expected:
            pytest.skip("no gradients are recorded")
        model = export.loaded(tmp_path)
        first = outputs(model, export.inputs)[0]
        (first * export.direction(first.shape)).sum().backward()
        found = dict(model.named_parameters())
        for name, gradient in expected.items():
            assert difference([found[name].grad], [gradient]) < TOLERANCE, name
