"""ONNX files that others made, and what one of them is compared by.

TINYGRAD_CNN_ONNX_FILES names the folders to look in: the site-packages of an environment with the
wheels, or a folder that `onnx_exported.py` has filled. `python -m support.onnx_files` prints the
table of docs/onnx-files.md.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg

Array = NDArray[Any]
VARIABLE = "TINYGRAD_CNN_ONNX_FILES"
FROZEN = Path(__file__).parents[1] / "onnx" / "pytorch_exports.npz"


@dataclass(frozen=True)
class Wheel:
    """A file in a wheel of the package index, and shapes of its input."""

    name: str
    path: str
    shapes: tuple[tuple[int, ...], ...]
    timed: tuple[int, ...]


WHEELS = [
    Wheel(
        "rapidocr-onnxruntime, text direction",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        ((1, 3, 48, 192), (2, 3, 48, 192), (1, 3, 48, 100)),
        (1, 3, 48, 192),
    ),
    Wheel(
        "rapidocr-onnxruntime, text detector",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        ((1, 3, 128, 160), (2, 3, 64, 96)),
        (1, 3, 480, 640),
    ),
    Wheel(
        "rapidocr-onnxruntime, text recognizer",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        ((1, 3, 48, 160), (2, 3, 48, 96)),
        (1, 3, 48, 320),
    ),
    Wheel(
        "ddddocr, recognizer",
        "ddddocr/common.onnx",
        ((1, 1, 64, 120), (1, 1, 64, 80)),
        (1, 1, 64, 120),
    ),
    Wheel("ddddocr, detector", "ddddocr/common_det.onnx", ((1, 3, 416, 416),), (1, 3, 416, 416)),
    Wheel(
        "magika, file types",
        "magika/models/standard_v3_3/model.onnx",
        ((1, 2048), (3, 2048)),
        (1, 2048),
    ),
]
"""Files whose operators are all known."""
QUANTIZED = "ddddocr/common_old.onnx"
"""A file of integer operators, which has no gradient."""


def folders() -> list[Path]:
    """Return the folders to look in."""
    return [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]


def find(path: str) -> Path | None:
    """Return the file with this path inside one of the folders."""
    return next((folder / path for folder in folders() if (folder / path).exists()), None)


OF_ONE_SHAPE = {
    "dcgan.D.script.onnx",
    "micrograd_moons.neuron.script.onnx",
    "shufflenetv2.script.onnx",
}
"""Files for images of one shape, though they declare any: the old exporter wrote it down."""
LEFT_OUT = {
    "vqvae.dynamo.onnx": "PyTorch's optimizer has left out + 1e-10, and the result is NaN",
    "micrograd_moons.neuron.dynamo.onnx": "has operators of sequences",
}
"""Exports that are not compared, and why."""


@dataclass(frozen=True)
class Export:
    """A file that PyTorch exported, with what the model computes there.

    Attributes
    ----------
    name : str
        With the exporter: "lenet.dynamo.onnx".
    source : Path
        The folder of the file, or the archive of the frozen ones.
    """

    name: str
    source: Path

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.name.rsplit(".", 2)[0]

    @property
    def exporter(self) -> str:
        """The exporter: "script", the old one, or "dynamo"."""
        return self.name.rsplit(".", 2)[1]

    def written(self, folder: Path) -> Path:
        """Return the path of the file, written to a folder if it is a frozen one."""
        if self.source.is_dir():
            return self.source / self.name
        path = folder / self.name
        with np.load(self.source) as kept:
            path.write_bytes(kept[self.name].tobytes())
        return path

    def loaded(self, folder: Path) -> tg.onnx.OnnxModule:
        """Return the module of the file, for inputs of one shape if the file is for one."""
        path = self.written(folder)
        if self.name not in OF_ONE_SHAPE:
            return tg.onnx.load(path)
        names = [value.name for value in session(path).get_inputs()]
        return tg.onnx.load(path, {n: x.shape for n, x in zip(names, self.inputs, strict=True)})

    def values(self, kind: str) -> dict[str, Array]:
        """Return arrays of a kind, "input", "output" or "gradient", in order."""
        archive, prefix = self.source, f"{self.model}/{kind}"
        if archive.is_dir():
            archive, prefix = archive / f"{self.model}.npz", kind
        with np.load(archive) as kept:
            return {
                key.removeprefix(prefix)[1:]: kept[key] for key in kept if key.startswith(prefix)
            }

    @property
    def inputs(self) -> list[Array]:
        """The inputs."""
        return list(self.values("input").values())

    @property
    def outputs(self) -> list[Array]:
        """PyTorch's outputs."""
        return list(self.values("output").values())

    def direction(self, shape: tuple[int, ...]) -> Array:
        """Return what the first output is multiplied by, for the gradients."""
        rng = np.random.default_rng(zlib.crc32(self.model.encode()))
        return rng.normal(size=shape).astype(np.float32)


def exports() -> list[Export]:
    """Return the files that PyTorch exported: those in the folders, or else the frozen ones."""
    found = [
        Export(path.name, folder)
        for folder in folders()
        for path in sorted(folder.glob("*.*.onnx"))
        if path.with_name(path.name.rsplit(".", 2)[0] + ".npz").exists()
    ]
    if not found:
        with np.load(FROZEN) as kept:
            found = [Export(name, FROZEN) for name in kept if name.endswith(".onnx")]
    return [export for export in found if export.name not in LEFT_OUT]


def export_again(model: tg.onnx.OnnxModule, inputs: Sequence[Array], path: Path) -> None:
    """Export a loaded model, with those axes open that are open in the file."""
    dynamic = {
        each.name: {axis: "batch" for axis in (0,) if not isinstance(n, int)}
        for each in model.inputs
        for n in each.shape[:1]
    }
    names = [each.name for each in model.inputs]
    tg.onnx.export(model, tuple(inputs), path, dynamic=dynamic, input_names=names)


def random_input(path: Path, shape: tuple[int, ...]) -> Array:
    """Return an input for the only one of a file: images between -1 and 1, or bytes."""
    rng = np.random.default_rng(0)
    if session(path).get_inputs()[0].type == "tensor(int32)":
        return rng.integers(0, 257, shape, np.int32)
    return rng.uniform(-1, 1, shape).astype(np.float32)


def session(path: str | os.PathLike[str], threads: int = 1) -> Any:
    """Return onnxruntime's session of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )


def reference(path: str | os.PathLike[str], inputs: Sequence[Array]) -> list[Array]:
    """Return onnxruntime's outputs."""
    runtime = session(path)
    names = [value.name for value in runtime.get_inputs()]
    return runtime.run(None, dict(zip(names, inputs, strict=True)))


def outputs(model: tg.nn.Module, inputs: Sequence[Any]) -> list[tg.Tensor]:
    """Return a model's outputs as a list."""
    result = model(*inputs)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def steps(model: Any) -> list[str]:
    """Return the operators that a loaded model calls."""
    return re.findall(r" = ([\w.:]+)\(", model.extra_repr())


def difference(found: Sequence[Any], expected: Sequence[Array]) -> float:
    """Return the largest difference of values, relative to the largest one, or else to 0.01.

    onnxruntime's sigmoid of large negative values is not that close to the true one.
    """
    worst = 0.0
    for mine, theirs in zip(found, expected, strict=True):
        values = np.asarray(mine.numpy() if isinstance(mine, tg.Tensor) else mine)
        assert values.shape == theirs.shape, f"{values.shape}, expected {theirs.shape}"
        scale = max(0.01, float(np.abs(theirs).max(initial=0)))
        worst = max(worst, float(np.abs(values - theirs).max(initial=0)) / scale)
    return worst


def slope_error(model: tg.nn.Module, inputs: Sequence[Array]) -> float:
    """Return how far a gradient is from a difference quotient, relative to that, in float64.

    It is the gradient of a random combination of the outputs, in a random direction of the floating
    inputs; of the parameters if no input is floating.
    """
    model = model.double()
    values = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in inputs]
    rng = np.random.default_rng(1)
    leaves: list[Any] = [
        tg.Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x for x in values
    ]
    wrt = [leaf for leaf in leaves if isinstance(leaf, tg.Tensor)] or list(model.parameters())
    result = outputs(model, leaves)
    weights = [rng.normal(size=y.shape) for y in result]

    def total(found: Sequence[tg.Tensor]) -> Any:
        return sum((y * w).sum() for y, w in zip(found, weights, strict=True))

    gradients = tg.grad(total(result), wrt)
    directions = [rng.normal(size=leaf.shape) for leaf in wrt]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def moved(step: float) -> float:
        before = [leaf.numpy().copy() for leaf in wrt]
        with tg.no_grad():
            for leaf, value, direction in zip(wrt, before, directions, strict=True):
                leaf.data = value + step * direction
            found = float(total(outputs(model, leaves)).item())
            for leaf, value in zip(wrt, before, strict=True):
                leaf.data = value
        return found

    # Between two kinks, the error of the smaller step is rounding, that of the larger the curve.
    quotients = [(moved(h) - moved(-h)) / (2 * h) for h in (1e-6, 1e-7, 1e-8)]
    assert np.isfinite(slope)
    return min(abs(slope - quotient) for quotient in quotients) / max(abs(slope), 1e-6)


@dataclass
class Row:
    """What one file is compared by.

    Attributes
    ----------
    nodes, steps : int
        Nodes of the file without constants, and calls of the loaded module.
    seconds : float
        Of loading.
    here : float
        Largest difference of the outputs.
    round : float
        The same of onnxruntime's outputs of the file that we export.
    """

    nodes: int
    steps: int
    seconds: float
    here: float
    round: float


def examine(path: Path, inputs: Sequence[Array], expected: Sequence[Array], load: Any) -> Row:
    """Load a file, run it, export it again, and run that."""
    import onnx

    start = time.perf_counter()
    model = load()
    seconds = time.perf_counter() - start
    with tg.no_grad():
        here = difference(outputs(model, inputs), expected)
    with TemporaryDirectory() as folder:
        copy = Path(folder, "again.onnx")
        export_again(model, inputs, copy)
        again = difference(reference(copy, inputs), expected)
    nodes = sum(node.op_type != "Constant" for node in onnx.load(path).graph.node)
    return Row(nodes, len(steps(model)), seconds, here, again)


def tables() -> None:
    """Print the tables of docs/onnx-files.md."""
    print("| file | MB | nodes | steps | loaded in, s | outputs | gradient | gone round |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for wheel in WHEELS:
        path = find(wheel.path)
        if path is None:
            continue
        rows = []
        for shape in wheel.shapes:
            x = random_input(path, shape)
            load = partial(tg.onnx.load, path)
            rows.append(examine(path, [x], reference(path, [x]), load))
        slope = slope_error(tg.onnx.load(path), [random_input(path, wheel.shapes[0])])
        here, again = (max(getattr(row, name) for row in rows) for name in ("here", "round"))
        row = rows[0]
        print(
            f"| {wheel.name} | {path.stat().st_size / 1e6:.1f} | {row.nodes} | {row.steps} "
            f"| {row.seconds:.2f} | {here:.0e} | {slope:.0e} | {again:.0e} |",
            flush=True,
        )
    print("\n| model | exporters | nodes | steps | here | gone round |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    models: dict[str, list[Export]] = {}
    for export in exports():
        models.setdefault(export.model, []).append(export)
    for model, files in models.items():
        found = {}
        for export in files:
            with TemporaryDirectory() as folder:
                here = Path(folder)
                path = export.written(here)
                load = partial(export.loaded, here)
                found[export.exporter] = examine(path, export.inputs, export.outputs, load)
        columns = [
            ", ".join(found),
            *(", ".join(str(getattr(r, n)) for r in found.values()) for n in ("nodes", "steps")),
            *(f"{max(getattr(r, n) for r in found.values()):.0e}" for n in ("here", "round")),
        ]
        print(f"| {model} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    tables()
