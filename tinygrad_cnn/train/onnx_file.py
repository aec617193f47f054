"""`OnnxFile`: a model from an ONNX file."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.errors import ModelFileError
from tinygrad_cnn.train.model_file import ModelFile

__all__ = ["ONNX_FILE", "OnnxFile"]

ONNX_FILE = "model.onnx"
"""The name of the copy in a run folder."""


class OnnxFile(ModelFile):
    """An ONNX file, and the model in it with the weights of the file.

    The model takes images (N, C, H, W) and returns logits (N, classes), or probabilities, of which
    the logarithm is taken: a softmax has that one as logits.
    """

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

        try:
            model = load(self.source)
            if len(model.inputs) != 1:
                raise ValueError(f"it has {len(model.inputs)} inputs, expected 1: images")
            (images,) = model.inputs
            batch, *sizes = images.shape or (None, None)
            if isinstance(batch, int):
                raise ValueError(
                    f"its input {images.name} is a batch of {batch}, expected one of any size: "
                    "export it with a dynamic first axis"
                )
            if not all(isinstance(size, int) for size in sizes):
                # Sizes inside of it are then computed at loading.
                model = load(self.source, {images.name: (None, *input_shape)})
            drawn = np.random.default_rng(0).standard_normal((2, *input_shape))
            with no_grad():
                outputs = model(Tensor._of(drawn.astype(np.float32)))
        except ModuleNotFoundError:
            raise
        except Exception as error:
            raise ModelFileError(f"{self.path}: {error}") from error
        return _Logarithm(model) if _are_probabilities(outputs) else model

    def metric(self, name: str) -> NoReturn:
        """Raise ModelFileError: the file has no metrics."""
        raise ModelFileError(f"{self.path}: an ONNX file has no metric {name!r}")


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
