"""`OnnxFile`: a model from an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.errors import ModelFileError
from tinygrad_cnn.train.metadata import settings_of
from tinygrad_cnn.train.model_file import ModelFile
from tinygrad_cnn.train.settings import ModelSettings, RunSettings

__all__ = ["OnnxFile", "is_onnx"]

ONNX_FILE = "model.onnx"
"""The name of the copy in a run folder."""
_OWNERS = ("load: the bytes: ", "load: the model: ")  # of messages, which begin with the path here


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Return whether the name of a file is that of an ONNX file."""
    return Path(path).suffix.lower() == ".onnx"


class OnnxFile(ModelFile):
    """An ONNX file, and the model in it with the weights of the file.

    The model takes images (N, C, H, W) and returns logits (N, classes), or probabilities, of which
    the logarithm is taken: a softmax has that one as logits.
    """

    @classmethod
    def read(cls, path: Path, class_name: str = "OnnxModule") -> Self:
        """Read a file, with the values that are in data files beside it.

        The source has all of them, so that a copy in a run folder needs no other file.
        """
        file = super().read(path, class_name)
        if b"location" not in file.source:  # the key of each name of a data file
            return file
        with file._explained():
            return cls(path, class_name, _with_data(file.source, path.parent))

    @property
    def settings(self) -> ModelSettings:
        """The settings of a run of this model."""
        return ModelSettings(name=self.class_name, file=ONNX_FILE, sha256=self.sha256)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata; ModelFileError if this is not an ONNX file."""
        return {each.key: each.value for each in self._parsed.metadata_props}

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape (C, H, W) of an image, if the file states it."""
        with self._explained():
            sizes = (self._images.shape or ())[1:]
        known = tuple(size for size in sizes if isinstance(size, int))
        return known if len(known) == len(sizes) == 3 else None

    def run_settings(self) -> RunSettings | None:
        """Return the settings of the run that was exported, if any, for the inputs of the model."""
        return settings_of(self.metadata, str(self.path))

    @cached_property
    def _parsed(self) -> Any:
        """The ModelProto, until the model is built: it has a copy of the weights."""
        from tinygrad_cnn.onnx.reading import read_model

        with self._explained():
            return read_model(self.source)[0]

    @property
    def _images(self) -> Any:
        """The only input."""
        from tinygrad_cnn.onnx.reading import input_of

        graph = self._parsed.graph
        values = {each.name for each in graph.initializer}
        inputs = [each for each in graph.input if each.name not in values]
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs, expected 1: images")
        return input_of(inputs[0])

    def build(
        self,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        rng: np.random.Generator | None = None,
    ) -> Module:
        """Load the model; ModelFileError if that fails.

        Parameters
        ----------
        input_shape : tuple of int
            Of one image.
        classes, rng
            Not used: they are those of the file.
        """
        from tinygrad_cnn.onnx import load

        with self._explained():
            images = self._images
            batch, *sizes = images.shape or (None, None)
            if isinstance(batch, int):
                raise ValueError(
                    f"its input {images.name} is a batch of {batch}, expected one of any size: "
                    "export it with a dynamic first axis"
                )
            # Where the file leaves sizes open, those inside of it are then computed at loading.
            is_open = not all(isinstance(size, int) for size in sizes)
            model = load(self._parsed, {images.name: (None, *input_shape)} if is_open else None)
            drawn = np.random.default_rng(0).standard_normal((2, *input_shape))
            with no_grad():
                outputs = model(Tensor._of(drawn.astype(np.float32)))
        vars(self).pop("_parsed", None)
        return _Logarithm(model) if _are_probabilities(outputs) else model

    def metric(self, name: str) -> NoReturn:
        """Raise ModelFileError: the file has no metrics."""
        raise ModelFileError(f"{self.path}: an ONNX file has no metric {name!r}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make an error of the block a ModelFileError, unless a package is missing."""
        try:
            yield
        except (ModuleNotFoundError, ModelFileError):
            raise
        except Exception as error:
            text = str(error)
            for owner in _OWNERS:
                text = text.removeprefix(owner)
            raise ModelFileError(f"{self.path}: {text}") from error


def _with_data(source: bytes, folder: Path) -> bytes:
    """Return an ONNX file with the values that were in data files of its folder."""
    from tinygrad_cnn.onnx.reading import LARGEST, read_model
    from tinygrad_cnn.onnx.tensors import TensorReader

    proto, _, _ = read_model(source)
    reader, size = TensorReader(folder), len(source)
    for tensor in _tensors(proto.graph, *proto.functions):
        reader.inline(tensor, f"initializer {tensor.name!r}")
        size += len(tensor.raw_data)
        if size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes with its data files")
    return bytes(proto.SerializeToString())


def _tensors(*graphs: Any) -> Iterator[Any]:
    """Yield the tensors of graphs and functions whose values are in a data file."""
    for graph in graphs:
        found = [*getattr(graph, "initializer", ())]
        for sparse in getattr(graph, "sparse_initializer", ()):
            found += [sparse.values, sparse.indices]
        for attribute in (each for node in graph.node for each in node.attribute):
            found += [attribute.t, *attribute.tensors]
            yield from _tensors(attribute.g, *attribute.graphs)
        yield from (tensor for tensor in found if tensor.data_location == 1)  # EXTERNAL


class _Logarithm(Module):
    """The logarithm of the probabilities that a model returns."""

    def __init__(self, model: Module) -> None:
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        probabilities: Tensor = self.model(x)
        return ops.log(ops.maximum(probabilities, float(np.finfo(np.float32).tiny)))


def _are_probabilities(outputs: object) -> bool:
    if not isinstance(outputs, Tensor) or len(outputs.shape) != 2:
        return False
    values = outputs._array
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1.0, atol=1e-4))
