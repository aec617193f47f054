"""Ready-made models by name, sized for the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.nn.models.densenet import (
    DenseNet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
)
from tinygrad_cnn.nn.models.lenet import LeNet5
from tinygrad_cnn.nn.models.mobilenet import MobileNetV2
from tinygrad_cnn.nn.models.perceptron import MLP
from tinygrad_cnn.nn.models.resnet import (
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet50,
    resnet56,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from tinygrad_cnn.nn.models.vgg import VGG, vgg11, vgg13, vgg16, vgg19
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import wholes
from tinygrad_cnn.support.choices import Choice

LARGE = 96
"""The least height and width of images for which networks for ImageNet have their own stem."""

Sizes: TypeAlias = Callable[[tuple[int, ...], int, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class ModelChoice(Choice):
    """A model, and its arguments that depend on the data.

    Attributes
    ----------
    sized : callable
        ``sized(input_shape, classes, options)`` returns them, and takes out of `options` what is no
        argument of the model.
    """

    sized: Sizes = lambda input_shape, classes, options: {}


def _mlp(input_shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "sizes": (math.prod(input_shape), *wholes("mlp", "hidden", options.pop("hidden")), classes)
    }


def _image(input_shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> dict[str, Any]:
    return {"classes": classes, "in_channels": input_shape[0], "image_size": input_shape[1:]}


def _residual(
    input_shape: tuple[int, ...], classes: int, options: dict[str, Any]
) -> dict[str, Any]:
    small = min(input_shape[1:], default=0) < LARGE
    stem = options.pop("stem", None) or ("small" if small else "large")
    return {"classes": classes, "in_channels": input_shape[0], "stem": stem}


def _large(input_shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> dict[str, Any]:
    return {"classes": classes, "in_channels": input_shape[0]}


_convolutional = partial(
    ModelChoice, arguments=("classes", "in_channels", "image_size", "rng"), sized=_image
)

_of_any_size = partial(
    ModelChoice,
    defaults={"stem": None},
    arguments=("classes", "in_channels", "rng"),
    sized=_residual,
)

MODELS: dict[str, ModelChoice] = {
    "mlp": ModelChoice("Perceptron", MLP, {"hidden": (30,)}, ("sizes", "rng"), _mlp),
    "lenet5": _convolutional("LeNet-5", LeNet5),
    "vgg": _convolutional("VGG", VGG),
    "resnet20": _of_any_size("ResNet-20", resnet20),
    "resnet32": _of_any_size("ResNet-32", resnet32),
    "resnet56": _of_any_size("ResNet-56", resnet56),
    "resnet18": _of_any_size("ResNet-18", resnet18),
    "resnet34": _of_any_size("ResNet-34", resnet34),
    "resnet50": _of_any_size("ResNet-50", resnet50),
    "mobilenet_v2": _of_any_size("MobileNetV2", MobileNetV2),
    "densenet": _of_any_size("DenseNet-BC", DenseNet),
}
"""Ready-made models by name."""

_IMAGENET = (
    resnet101, resnet152, wide_resnet50_2, wide_resnet101_2, resnext50_32x4d, resnext101_32x8d,
    resnext101_64x4d, densenet121, densenet161, densenet169, densenet201,
)  # fmt: skip
LARGE_MODELS: dict[str, ModelChoice] = {
    **{make.__name__: _of_any_size(make.__name__, make) for make in _IMAGENET},
    **{
        make.__name__: ModelChoice(
            make.__name__, make, arguments=("classes", "in_channels", "rng"), sized=_large
        )
        for make in (vgg11, vgg13, vgg16, vgg19)
    },
}
"""Further models by name: those of ImageNet, of which there are weights to import.

They are too large for what lists and trains each of `MODELS`, such as the studio.
"""


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
        A key of `MODELS`, such as "lenet5" or "resnet20"; or a larger network of `nn.models`, such
        as "resnet101" or "vgg16".
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
        If there is no such model or option, or it does not accept examples of this shape.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.build("mlp", input_shape=(1, 8, 8), classes=3, hidden=(16,))
    >>> model.sizes
    (64, 16, 3)
    """
    if name not in MODELS and name not in LARGE_MODELS:
        raise ValueError(f"build: there is no model {name!r}; expected one of {', '.join(MODELS)}")
    model, shape = (
        MODELS.get(name) or LARGE_MODELS[name],
        wholes("build", "input_shape", input_shape),
    )
    model.check(f"build: {name}", options)
    if model.sized is not _mlp and len(shape) != 3:
        raise ValueError(f"build: input_shape is {shape}, but {name} takes images: (C, H, W)")
    options = {**model.defaults, **options}
    built: Module = model.factory(**model.sized(shape, classes, options), rng=rng, **options)
    return built
