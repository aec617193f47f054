"""Export models with PyTorch's exporters: run this file where PyTorch and onnxscript are installed.

It imports nothing of the package. Both exporters of PyTorch write the models of the programs in
`tests/compat/programs` and those of torchvision, beside what the models compute:

    python tests/support/onnx_exported.py FOLDER                     all of them
    python tests/support/onnx_exported.py FOLDER lenet torchvision.resnet18
    python tests/support/onnx_exported.py FOLDER --freeze            small ones, for every test run

It leaves `NAME.script.onnx`, `NAME.dynamo.onnx` and `NAME.npz` for each model, and the errors of
what PyTorch cannot export in `errors.json`. `--freeze` writes some of them to one file in the
repository, without the exporter's notes on source lines. Set TINYGRAD_CNN_ONNX_FILES to the folder
to run `tests/onnx/test_real_files.py` with all of them.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does, for a run as a script
from support.programs_recorded import PROGRAMS, Given, generator, source

TORCHVISION = {
    "torchvision.alexnet": 96,
    "torchvision.convnext_tiny": 96,
    "torchvision.densenet121": 96,
    "torchvision.efficientnet_b0": 96,
    "torchvision.googlenet": 96,
    "torchvision.mnasnet1_0": 96,
    "torchvision.mobilenet_v2": 96,
    "torchvision.mobilenet_v3_small": 96,
    "torchvision.regnet_y_400mf": 96,
    "torchvision.resnet18": 96,
    "torchvision.resnet50": 96,
    "torchvision.segmentation.fcn_resnet50": 64,
    "torchvision.segmentation.lraspp_mobilenet_v3_large": 96,
    "torchvision.shufflenet_v2_x1_0": 96,
    "torchvision.squeezenet1_1": 96,
    "torchvision.swin_t": 64,
    "torchvision.vgg11_bn": 64,
    "torchvision.vit_b_16": 224,
}
"""The models of torchvision, and the size of their images."""
GRADIENTS = [
    "dqn.policy", "lenet", "prototypes", "shufflenet", "super_resolution", "unet_transposed",
]  # fmt: skip
"""Exported without folding, with PyTorch's gradients of all parameters."""
FROZEN = [
    "binary_net", "cbam", "conditional_gan.G", "d2l_batch_norm", "dcgan.D",
    "distillation.student", "dqn.policy", "edsr.tail", "ema", "fast_style.transformer",
    "import_styles", "integrated_gradients", "normed_weights.generator", "param_groups",
    "shufflenetv2", "simclr", "spatial_transformer", "super_resolution", "text_cnn_1d", "vqvae",
]  # fmt: skip
"""Small models whose files have nearly every operator that any of the files has."""
FILE = Path(__file__).parents[1] / "onnx" / "pytorch_exports.npz"


class Called(Given):
    """A `Given` that keeps the first inputs of each model."""

    def __init__(self, torch: Any, name: str) -> None:
        super().__init__(torch, name)
        self.inputs: dict[str, tuple[Any, ...]] = {}

    def weights(self, model: Any, name: str = "model") -> Any:
        """Set the weights, and keep what the model is first called with."""

        def keep(_: Any, inputs: tuple[Any, ...]) -> None:
            if all(isinstance(value, self.torch.Tensor) for value in inputs):
                self.inputs.setdefault(name, tuple(value.detach().clone() for value in inputs))

        model.register_forward_pre_hook(keep)
        return super().weights(model, name)


def of_program(torch: Any, program: str) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield name, model and inputs of each model of a program, in float32."""
    scope: dict[str, Any] = {"__name__": program}
    torch.set_default_dtype(torch.float64)
    exec(compile(source(program), f"{program}.py", "exec"), scope)
    given = Called(torch, program)
    if "run" in scope:
        scope["run"](given)
    torch.set_default_dtype(torch.float32)
    for name, inputs in given.inputs.items():
        model = given.models[name].float()
        model._forward_pre_hooks.clear()
        floats = [x.float() if x.dtype == torch.float64 else x for x in inputs]
        yield program if name == "model" else f"{program}.{name}", model, tuple(floats)


def of_torchvision(torch: Any, name: str) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield name, model and inputs of a model of torchvision, with random weights."""
    import torchvision

    torch.manual_seed(0)
    found: Any = torchvision.models
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    options: dict[str, Any] = {"weights": None}
    if ".segmentation." in name:
        options["weights_backbone"] = None
    if name == "torchvision.googlenet":
        options |= {"init_weights": True, "aux_logits": False}
    size = TORCHVISION[name]
    images = generator(name).normal(size=(2, 3, size, size))
    model = found(**options)
    model.train()
    with torch.no_grad():  # statistics of the images, so that no layer's values are all small
        for _ in range(20):
            model(torch.tensor(images, dtype=torch.float32))
    yield name, model, (torch.tensor(images, dtype=torch.float32),)


def leaves(value: Any) -> list[Any]:
    """Return the tensors of a model's output, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def expected(torch: Any, name: str, model: Any, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """Return inputs and outputs, and the gradients of the outputs' product with a direction."""
    outputs = leaves(model(*inputs))
    kept = {f"input_{i}": x.numpy() for i, x in enumerate(inputs)}
    kept |= {f"output_{i}": y.detach().numpy() for i, y in enumerate(outputs)}
    if name in GRADIENTS:
        direction = torch.tensor(generator(name).normal(size=tuple(outputs[0].shape)))
        model.zero_grad()
        (outputs[0] * direction.float()).sum().backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                kept[f"gradient/{key}"] = parameter.grad.numpy()
    return kept


def export(torch: Any, name: str, model: Any, inputs: tuple[Any, ...], path: Path) -> None:
    """Export a model with the exporter that the file's name says."""
    unfolded = name in GRADIENTS
    if path.suffixes[-2] == ".script":
        names = [f"input_{i}" for i in range(len(inputs))]
        torch.onnx.export(
            model,
            inputs,
            path,
            dynamo=False,
            input_names=names,
            dynamic_axes={key: {0: "batch"} for key in names},
            do_constant_folding=not unfolded,
            training=torch.onnx.TrainingMode.PRESERVE if unfolded else torch.onnx.TrainingMode.EVAL,
            keep_initializers_as_inputs=False,
        )
    else:
        axes = tuple({0: torch.export.Dim.AUTO} if x.ndim else {} for x in inputs)
        torch.onnx.export(
            model,
            inputs,
            path,
            dynamo=True,
            dynamic_shapes=axes,
            external_data=False,
            optimize=not unfolded,
            verbose=False,
        )


def freeze(folder: Path) -> None:
    """Write some of the exported models, and what they compute, to one file."""
    import onnx

    kept: dict[str, Any] = {}
    for name in FROZEN:
        with np.load(folder / f"{name}.npz") as values:
            kept |= {f"{name}/{key}": values[key] for key in values}
        for exporter in ("script", "dynamo"):
            model = onnx.load(folder / f"{name}.{exporter}.onnx")
            plain(model.graph)
            model.ClearField("metadata_props")
            text = model.SerializeToString(deterministic=True)
            kept[f"{name}.{exporter}.onnx"] = np.frombuffer(text, np.uint8)
    np.savez_compressed(FILE, **kept)


def plain(graph: Any) -> None:
    """Remove notes on source lines, which are longer than a small model."""
    parts = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info]
    for part in [*parts, *graph.initializer]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                plain(attribute.g)


def main(folder: Path, chosen: list[str]) -> None:
    """Export the chosen models, or all."""
    import torch

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    errors: dict[str, str] = {}
    if (folder / "errors.json").exists():
        errors = json.loads((folder / "errors.json").read_text("utf-8"))
    for name in chosen or [*PROGRAMS, *TORCHVISION]:
        models = of_torchvision if name in TORCHVISION else of_program
        for key, model, inputs in models(torch, name):
            model.eval()
            try:
                kept = expected(torch, key, model, inputs)
            except Exception as error:  # some keep tensors of float64 beside their parameters
                errors[key] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                print(f"{key:48} {errors[key]}")
                continue
            np.savez(folder / f"{key}.npz", **kept)
            for exporter in ("script", "dynamo"):
                path = folder / f"{key}.{exporter}.onnx"
                start = time.perf_counter()
                errors.pop(path.name, None)
                try:
                    with redirect_stdout(StringIO()):  # the old one prints what it cannot export
                        export(torch, key, model, inputs, path)
                except Exception as error:
                    errors[path.name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                    path.unlink(missing_ok=True)
                seconds = time.perf_counter() - start
                print(f"{path.name:48} {seconds:5.1f} s {errors.get(path.name, '')}", flush=True)
    (folder / "errors.json").write_text(json.dumps(errors, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[2:] == ["--freeze"]:
        freeze(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
