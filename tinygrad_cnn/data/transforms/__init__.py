"""Transforms for augmentation: ``transform(images, rng) -> images``.

All take uint8, float32 or float64 of shape (B, C, H, W) (`Normalize`: floats) and keep the dtype,
never modify their input, and draw separate random values for each image. uint8 is computed in
float32 and rounded once. Without `rng`, numbers come from the generator that `manual_seed` sets.
`MixUp` and `CutMix` change labels too: ``transform((images, labels), rng)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.data.loader import Transform
from tinygrad_cnn.data.transforms.color import ColorJitter, Normalize
from tinygrad_cnn.data.transforms.cropping import (
    CenterCrop,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    Shift,
)
from tinygrad_cnn.data.transforms.mixing import CutMix, MixUp
from tinygrad_cnn.data.transforms.warping import Elastic, RandomAffine, Resize, Rotate

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Elastic",
    "MixUp",
    "Normalize",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Resize",
    "Rotate",
    "Shift",
]


@dataclass(frozen=True, init=False, repr=False)
class Compose:
    """Apply transforms in order.

    Parameters
    ----------
    *transforms : callable, or one list of them
        Each takes ``(images, rng)`` and returns images. They share one generator.

    Raises
    ------
    TypeError
        If one is not callable.

    Examples
    --------
    >>> Compose(Shift(2), Rotate(10))
    Compose(Shift(max_pixels=2), Rotate(max_degrees=10))
    """

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform | Sequence[Transform]) -> None:
        if len(transforms) == 1 and isinstance(transforms[0], list | tuple):
            transforms = tuple(transforms[0])
        for transform in transforms:
            if not callable(transform):
                raise TypeError(f"Compose: {transform!r} is not callable; expected transforms")
        object.__setattr__(self, "transforms", transforms)

    def __call__(self, images: Any, rng: np.random.Generator | None = None) -> Any:
        """Transform a batch (B, C, H, W)."""
        rng = generator("Compose", rng)
        for transform in self.transforms:
            images = transform(images, rng)
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"
