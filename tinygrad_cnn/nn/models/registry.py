"""Ready-made models by name, sized for the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.nn.models.lenet import LeNet5
from tinygrad_cnn.nn.models.perceptron import MLP
from tinygrad_cnn.nn.models.vgg import VGG
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import wholes


def _mlp(
    input_shape: tuple[int, ...], classes: int, hidden: Sequence[int] = (30,), **options: Any
) -> Module:
    return MLP((math.prod(input_shape), *hidden, classes), **options)


def _lenet5(input_shape: tuple[int, ...], classes: int, **options: Any) -> Module:
    return LeNet5(classes, **_image("lenet5", input_shape), **options)


def _vgg(input_shape: tuple[int, ...], classes: int, **options: Any) -> Module:
    return VGG(classes, **_image("vgg", input_shape), **options)


def _image(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the image arguments of a convolutional model."""
    if len(shape) != 3:
        raise ValueError(f"build: input_shape is {shape}, but {name} takes images: (C, H, W)")
    return {"in_channels": shape[0], "image_size": shape[1:]}


MODELS: dict[str, Callable[..., Module]] = {"mlp": _mlp, "lenet5": _lenet5, "vgg": _vgg}
"""By name, functions ``(input_shape, classes, *, rng, **options)`` that build a model."""


def build(
    name: str,
    *,
    input_shape: Sequence[int],
    classes: int,
    rng: np.random.Generator | None = None,
    **options: Any,
) -> Module:
    """Build the model `name` for examples of a given shape.

    Parameters
    ----------
    name : str
        A key of `MODELS`: "mlp", "lenet5" or "vgg".
    input_shape : sequence of int
        The shape of one example, without the batch axis, such as ``(1, 28, 28)``.
    classes : int
        The number of logits.
    rng : numpy.random.Generator, optional
        Source of the initial values; by default the generator that `manual_seed` sets.
    **options
        Further arguments of the model; for "mlp" also ``hidden``, the widths of its hidden layers.

    Raises
    ------
    ValueError
        If there is no such model, or it does not accept examples of this shape.
    TypeError
        If the model has no such option.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.build("mlp", input_shape=(1, 8, 8), classes=3, hidden=(16,))
    >>> model.sizes
    (64, 16, 3)
    """
    if name not in MODELS:
        raise ValueError(f"build: there is no model {name!r}; expected one of {', '.join(MODELS)}")
    return MODELS[name](wholes("build", "input_shape", input_shape), classes, rng=rng, **options)
