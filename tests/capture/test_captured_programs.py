"""Captured programs: run again with other inputs, they give what the function gives."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import floor
from typing import Any
from weakref import ref

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.capture import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Program,
    Size,
    captured,
    compared,
    folded,
)
from tinygrad_cnn.nn import models


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def evaluated(program: Program, *inputs: np.ndarray) -> list[np.ndarray]:
    """Run a program again, with other inputs."""
    values: dict[Operand, Any] = dict(zip(program.inputs, inputs, strict=True))

    def found(value: Any) -> Any:
        if isinstance(value, Size):
            product = np.prod([values[operand].shape[axis] for operand, axis in value.factors])
            exact = value.ratio * int(product) + Fraction(value.shift, value.ratio.denominator)
            return value.multiple * floor(exact) + value.offset
        if isinstance(value, Origin) and value.kind != "input":
            return value.array
        if isinstance(value, Operand):
            return values[value]
        if isinstance(value, slice):
            return slice(found(value.start), found(value.stop), found(value.step))
        if isinstance(value, list | tuple):
            return type(value)(map(found, value))
        return value

    for call in program.calls:
        arguments = {name: found(value) for name, value in call.arguments.items()}
        assert not isinstance(call.op, str)
        values[call] = (
            call.op(*arguments.values()) if isinstance(call.op, np.ufunc) else call.op(**arguments)
        )
        values[call] = np.asarray(values[call], call.dtype)
    return [np.asarray(found(value)) for value in program.outputs]


def runs(function: Callable[..., Any], *shapes: tuple[int, ...], names: Any = None) -> Program:
    """Compare runs on two inputs of the first shape and one of each other shape."""
    inputs = [random(*shape, seed=i) for i, shape in enumerate((shapes[0], *shapes))]
    return compared([captured(function, {"x": x}, names) for x in inputs])


MODELS = {
    "lenet": (lambda: models.LeNet5(), (1, 1, 28, 28)),
    "resnet": (lambda: nn.build("resnet20", input_shape=(3, 8, 8), classes=4), (1, 3, 8, 8)),
    "mobilenet": (lambda: nn.build("mobilenet_v2", input_shape=(3, 16, 16), classes=4),
                  (1, 3, 16, 16)),
    "unet": (lambda: models.UNet(2, 3, width=4, depth=2), (1, 3, 8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_programs_of_models_compute_what_they_do_for_other_batches(name: str) -> None:
    made, (_, *image) = MODELS[name]
    model = made().eval()
    names = {id(tensor._array): key for key, tensor in model._named_tensors()}
    program = folded(runs(model, (1, *image), (2, *image), (3, *image), names=names))
    for batch in (1, 5):
        x = random(batch, *image, seed=9)
        with tg.no_grad():
            expected = model(tg.Tensor(x)).numpy()
        np.testing.assert_allclose(evaluated(program, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_calls_have_sources_scopes_and_names() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    names = {id(tensor._array): key for key, tensor in model.named_parameters()}
    program = captured(model, {"x": random(4, 3)}, names)
    (x,), (linear, relu) = program.inputs, program.calls
    assert [(call.name, call.scope) for call in program.calls] == [("linear", "0"), ("relu", "1")]
    assert linear.arguments["x"] is x
    weight, bias = linear.arguments["w"], linear.arguments["bias"]
    assert [(v.kind, v.name) for v in (weight, bias)] == [
        ("parameter", "0.weight"), ("parameter", "0.bias"),
    ]  # fmt: skip
    assert weight.array is model[0].weight._array
    assert relu.arguments["x"] is linear
    assert program.outputs == [relu]


def test_calls_that_no_result_needs_are_left_out() -> None:
    def function(x: Any) -> Any:
        tg.exp(x)
        return {"a": x * 2.0, "b": [x, x * 2.0 + 1.0]}

    program = captured(function, {"x": random(3)})
    assert [call.name for call in program.calls] == ["mul", "mul", "add"]
    assert program.names == ["a", "b.0", "b.1"]
    assert program.outputs[1] is program.inputs[0]


def test_functions_made_of_ops_can_be_kept_whole() -> None:
    def function(x: Any) -> Any:
        values, places = tg.topk(x, 2)
        return values * 2.0, tg.argmax(x, 1), places

    program = captured(function, {"x": random(3, 5)}, unsplit={"topk", "argmax"})
    assert [call.name for call in program.calls] == ["topk", "mul", "argmax"]
    topk, mul, argmax = program.calls
    assert mul.arguments["a"] is topk.results[0]
    assert program.outputs == [mul, argmax, topk.results[1]]


def test_conversions_are_calls() -> None:
    program = captured(lambda x: (x > 0) * x + np.arange(3), {"x": random(2, 3)})
    assert [call.name for call in program.calls] == ["less", "astype", "mul", "add"]
    x = random(2, 3, seed=5)
    expected = np.maximum(x, 0) + np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(evaluated(program, x)[0], expected)


def test_inputs_are_copied_and_nothing_is_recorded() -> None:
    x = tg.Tensor(random(3), requires_grad=True)
    program = captured(lambda x: x * 2.0, {"x": x})
    assert program.inputs[0].array is not x._array
    assert x.grad is None


READERS: dict[str, Callable[[Any], Any]] = {
    ".item()": lambda x: x.sum().item(),
    "bool()": lambda x: bool(x.sum()),
    "float()": lambda x: float(x.sum()),
    "int()": lambda x: int(x.sum()),
    ".tolist()": lambda x: x.tolist(),
    ".numpy()": lambda x: x.numpy(),
    ".data": lambda x: x.data,
    "a function of NumPy": lambda x: np.asarray(x),
    "np.any": lambda x: 2.0 if np.any(x) else 1.0,
    "np.argmax": lambda x: x[np.argmax(x)],
    "in": lambda x: 3.0 in x,
    "a format": lambda x: f"{x.sum():.2f}",
}


@pytest.mark.parametrize("what", READERS)
def test_reading_a_value_is_refused_with_line_and_module(what: str) -> None:
    class Reading(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * READERS[what](x)

    with pytest.raises(CaptureError, match="reads a value") as error:
        captured(nn.Sequential(Reading()), {"x": random(3)})
    message = str(error.value)
    assert message.startswith(what)
    assert "in module 0" in message
    assert f"{__file__}, line " in message


def test_results_that_are_no_tensors_are_refused() -> None:
    with pytest.raises(CaptureError, match="returns float, expected a Tensor"):
        captured(lambda x: [x, 1.0], {"x": random(3)})
    with pytest.raises(CaptureError, match=r"returns \{\}, expected at least one Tensor"):
        captured(lambda x: {}, {"x": random(3)})


def test_results_are_named_by_all_keys_that_lead_to_them() -> None:
    def function(x: Any) -> Any:
        return {"a": {"out": x}, "b": {"out": [x, x + 1.0]}}, x, {"out": x}

    names = captured(function, {"x": random(3)}).names
    assert names == ["0.a.out", "0.b.out.0", "0.b.out.1", "", "2.out"]


# --- several runs --------------------------------------------------------------------------------

SIZES: dict[str, Callable[[Any], Any]] = {
    "as long as an axis": lambda x: tg.broadcast_to(tg.sum(x, 1, True), x.shape),
    "a product": lambda x: x.reshape(x.shape[0] * x.shape[1]),
    "a multiple": lambda x: tg.concatenate([x, x], 1).reshape(x.shape[0], 2 * x.shape[1]),
    "a half": lambda x: x[:, : x.shape[1] // 2],
    "one less": lambda x: x[:, : x.shape[1] - 1],
    "a constant of one value": lambda x: x + np.full((x.shape[0], 1), 3.0, np.float32),
}


@pytest.mark.parametrize("name", SIZES)
def test_numbers_that_vary_with_the_sizes_become_expressions(name: str) -> None:
    program = runs(SIZES[name], (2, 6), (3, 10), (4, 6))
    for shape in ((2, 6), (5, 9)):
        x = random(*shape, seed=3)
        expected = np.asarray(SIZES[name](tg.Tensor(x)))
        np.testing.assert_array_equal(evaluated(program, x)[0], expected)


def test_sizes_refuse_to_be_numbers() -> None:
    program = runs(lambda x: x.reshape(x.shape[0], -1), (2, 6), (3, 6))
    (call,) = program.calls
    size, rest = call.arguments["shape"]
    assert isinstance(size, Size)
    assert rest == -1
    assert size != 2
    assert size == program.inputs[0].sizes[0]  # type: ignore[index]
    for use in (int, float, bool, range, lambda n: n + 1, lambda n: 2 * n, lambda n: n < 3):
        with pytest.raises(CaptureError, match="a number, 2 here, varies with the size"):
            use(size)


DIFFERENT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "constant": (lambda x: x - x._array.max(), "sub: b, a constant, differs between two inputs"),
    "option": (lambda x: x[: 1 + int(x._array.argmax())], "getitem: index differs between two"),
    "calls": (
        lambda x: tg.exp(x) if x._array.flat[0] > 0.2 else tg.tanh(x),
        "tanh: the call differs between two inputs of the same sizes",
    ),
    "shape": (lambda x: x * np.arange(x.shape[1]) ** 2, "mul: b, a constant, depends on the size"),
    "loop": (lambda x: sum(x[:, i] for i in range(x.shape[1])), "depends on the size of the input"),
    "number": (lambda x: x * x.shape[1] ** -0.5, "mul: b, a constant, depends on the size"),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_between_runs_is_named(name: str) -> None:
    function, message = DIFFERENT[name]
    with pytest.raises(CaptureError, match=message):
        runs(function, (2, 5), (3, 7))


def test_calls_without_inputs_are_folded() -> None:
    weight = tg.nn.Parameter(random(3, 2))
    names = {id(weight._array): "weight"}

    def function(x: Any) -> Any:
        return (
            x @ (weight / tg.norm(weight)) + tg.linear(x, tg.transpose(weight)) @ weight.T @ weight
        )

    program = runs(function, (2, 3), names=names)
    short = folded(program)
    assert [call.name for call in short.calls] == ["matmul", "linear", "matmul", "matmul", "add"]
    kinds = [v.kind for call in short.calls for v in call.operands() if isinstance(v, Origin)]
    assert kinds.count("parameter") == 1  # the one that is used as it is
    x = random(4, 3, seed=7)
    np.testing.assert_array_equal(evaluated(short, x), evaluated(program, x))
    assert all(isinstance(call, Instruction) for call in short.calls)


def test_arrays_live_no_longer_than_the_function_needs_them() -> None:
    weight, alive = tg.nn.Parameter(random(3)), []

    def function(x: Any) -> Any:
        y = x * tg.exp(weight)
        intermediate = ref(y._array)
        y = tg.relu(y)
        alive.append(intermediate() is not None)
        best, _ = tg.topk(y, 2)
        return best + best

    program = captured(function, {"x": random(500, 3)}, unsplit={"topk"})
    assert alive == [False]
    exp, mul, _, topk, add = program.calls
    np.testing.assert_array_equal(exp.array, np.exp(weight._array))
    for value, shape in ((mul, (500, 3)), (topk, (500, 2)), (topk.results[1], (500, 2))):
        assert (value.shape, value.array.strides) == (shape, (0, 0))
    expected = 2 * np.sort(np.maximum(program.inputs[0].array * exp.array, 0), 1)[:, :0:-1]
    np.testing.assert_array_equal(add.array, expected)


def test_arrays_changed_in_place_are_constants_of_their_own() -> None:
    def function(x: Any) -> Any:
        shift = np.zeros(3, np.float32)
        for step in range(3):
            shift += step
            x = x + shift + shift
        return x, shift

    program = captured(function, {"x": random(2, 3)})
    shifts = [call.arguments["b"] for call in program.calls]
    assert [float(shift.array[0]) for shift in shifts] == [0, 0, 1, 1, 3, 3]
    assert len({*shifts}) == 3
    x = random(4, 3, seed=1)
    np.testing.assert_array_equal(evaluated(program, x)[0], function(x)[0])
