"""The networks whose scaling is measured and modeled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygrad_cnn.nn import VGG, Module
from tinygrad_cnn.nn.models import resnet18, resnet20

__all__ = ["NETWORKS", "ScaledNetwork"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledNetwork:
    """A network whose scaling is measured or planned.

    Attributes
    ----------
    make : callable
        ``make(rng=...)`` returns the model.
    input_shape : tuple of int
    classes : int
    batch : int
        Images of a rank, and of all ranks where they share out a batch.
    alone : tuple of int
        Further batches that one rank is timed with, for the model.
    synchronized : bool
        Whether batch normalization takes its statistics over all ranks.
    ranks : bool
        Whether several ranks are measured; otherwise one, and the model plans with it.
    """

    make: Callable[..., Module]
    input_shape: tuple[int, ...] = (3, 32, 32)
    classes: int = 10
    batch: int = 64
    alone: tuple[int, ...] = (16, 32)
    synchronized: bool = False
    ranks: bool = True

    def build(self) -> Module:
        """Return the model, with the same weights in each process."""
        return self.make(rng=np.random.default_rng(0))

    def batches(self, ranks: int) -> list[int]:
        """Return the numbers of images of a rank to measure with this many ranks.

        Examples
        --------
        >>> [NETWORKS["VGG-like"].batches(ranks) for ranks in (1, 2, 4)]
        [[16, 32, 64], [32, 64], [16, 64]]
        """
        if not self.ranks and ranks > 1:
            return []
        return sorted({self.batch, self.batch // ranks, *(self.alone if ranks == 1 else ())})


NETWORKS = {
    "VGG-like": ScaledNetwork(make=VGG),
    "ResNet-20": ScaledNetwork(make=resnet20),
    "ResNet-20, synchronized": ScaledNetwork(make=resnet20, synchronized=True),
    "ResNet-18, 224²": ScaledNetwork(
        make=resnet18, input_shape=(3, 224, 224), classes=1000, batch=8, alone=(2, 4), ranks=False
    ),
}
"""The networks by name."""
