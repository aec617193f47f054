"""Models of programs written for PyTorch as files: onnxruntime computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import programs_recorded
from support.exported_files import assert_same
from support.programs_recorded import PROGRAMS, Given, ported, run_with, source

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch

pytestmark = pytest.mark.usefixtures("seeded")

WITHOUT_MODEL = {
    "cs231n_layers", "d2l_softmax", "every_function", "every_layer", "flat_parameters", "nielsen",
    "neural_style", "tensor_habits",
}  # fmt: skip
"""Programs that only call functions, or do not call a model of their own."""
DOUBLE = {("d2l_batch_norm", "model"), ("d2l_mlp", "fixed"), ("vae", "model")}
"""Models with arrays of float64 that are no parameters; onnxruntime has no Conv of float64."""
NOT_EXPORTED = {
    ("d2l_mlp", "fixed"): r"bool\(\) reads a value .*d2l_mlp.py, line \d+",
    ("maml", "model"): "the example of vars is a list, expected a Tensor or an array",
    ("micrograd_moons", "neuron"): "getitem: the call depends on the size of the input",  # a vector
    ("model_summary", "model"): r"\.item\(\) reads a value .*model_summary.py, line \d+",
}
"""The errors of models that cannot be exported."""


class Watching(Given):
    """Keeps the arguments of the last call of each model."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: dict[str, Any] = {}

    def weights(self, model: Any, name: str = "model") -> Any:
        forward = model.forward

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] = (args, kwargs)
            return forward(*args, **kwargs)

        model = super().weights(model, name)
        model.forward = watched
        return model


def in_float32(value: Any) -> Any:
    """Return an argument as a leaf, in float32 if it holds floats."""
    if not isinstance(value, tg.Tensor):
        return value
    array = value._array
    return torch.tensor(array.astype(np.float32) if array.dtype.kind == "f" else array.copy())


@pytest.mark.parametrize("program", [name for name in PROGRAMS if name not in WITHOUT_MODEL])
def test_models_of_programs_give_the_same(program: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(programs_recorded, "STEPS", 1)
    with tg.default_dtype("f8"):
        given = run_with(Watching(torch, program), ported(source(program)))
    called = [name for name in given.models if name in given.calls]
    assert called
    for name in called:
        model, (args, kwargs) = given.models[name], given.calls[name]
        del model.forward
        model.eval()
        if (program, name) not in DOUBLE:
            model.float()
            args = tuple(map(in_float32, args))
            kwargs = {key: in_float32(value) for key, value in kwargs.items()}
        example = {**dict(zip(parameters(model), args, strict=False)), **kwargs} if kwargs else args
        if (program, name) in NOT_EXPORTED:
            with pytest.raises((tg.onnx.OnnxError, TypeError), match=NOT_EXPORTED[program, name]):
                tg.onnx.export(model, example)
            continue
        file = tg.onnx.export(model, example)
        if (program, name) in DOUBLE:
            continue
        tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, tg.Tensor)]
        assert_same(file, lambda *_: model(*args, **kwargs), *tensors)  # noqa: B023


def parameters(model: Any) -> list[str]:
    """Return the names of the arguments of a model."""
    code = type(model).forward.__code__
    return list(code.co_varnames[1 : code.co_argcount])
