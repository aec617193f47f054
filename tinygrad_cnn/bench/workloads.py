"""Benchmark workloads: networks, batch sizes, and training steps or inference."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tinygrad_cnn.bench.networks import (
    DENSENET,
    DISCRIMINATOR,
    GENERATOR,
    LENET5,
    MLP,
    MOBILENET,
    RESNET18,
    RESNET20,
    RESNEXT,
    UNET,
    VGG,
    VGG11,
    Network,
)

__all__ = ["CHAINS", "WORKLOADS", "Workload", "select"]


@dataclass(frozen=True, slots=True)
class Workload:
    """One benchmark workload.

    Attributes
    ----------
    name : str
        The name to select it by, such as ``"lenet5-64"``.
    mode : str
        "step": forward, backward and update; "inference"; or "forward" or "backward" of the chain
        of small ops, x ← tanh(x·w + b) thirty times with eight numbers each.
    network : Network or None
        None for the chain.
    batch : int
    quick : bool
        Whether a quick run includes it.
    """

    name: str
    mode: str
    network: Network | None = None
    batch: int = 1
    quick: bool = False

    @property
    def title(self) -> str:
        """A description in words."""
        if self.network is None:
            return f"{self.mode} of small ops"
        what = "" if self.mode == "step" else ", inference"
        return f"{self.network.name}, batch {self.batch}{what}"


WORKLOADS = (
    Workload("lenet5-64", "step", LENET5, 64, quick=True),
    Workload("lenet5-32", "step", LENET5, 32),
    Workload("lenet5-8", "step", LENET5, 8),
    Workload("lenet5-1", "step", LENET5, 1),
    Workload("lenet5-256", "step", LENET5, 256),
    Workload("vgg-64", "step", VGG, 64, quick=True),
    Workload("vgg-8", "step", VGG, 8),
    Workload("resnet20-64", "step", RESNET20, 64),
    Workload("mobilenet-32", "step", MOBILENET, 32),
    Workload("unet-8", "step", UNET, 8),
    Workload("dcgan-generator-32", "step", GENERATOR, 32),
    Workload("dcgan-discriminator-32", "step", DISCRIMINATOR, 32),
    Workload("densenet-8", "step", DENSENET, 8),
    Workload("resnext-4", "step", RESNEXT, 4),
    Workload("mlp-1", "step", MLP, 1, quick=True),
    Workload("mlp-32", "step", MLP, 32),
    Workload("lenet5-64-inference", "inference", LENET5, 64),
    Workload("lenet5-1-inference", "inference", LENET5, 1, quick=True),
    Workload("vgg-64-inference", "inference", VGG, 64),
    Workload("resnet20-64-inference", "inference", RESNET20, 64),
    Workload("mobilenet-32-inference", "inference", MOBILENET, 32),
    Workload("resnet18-1-inference", "inference", RESNET18, 1),
    Workload("vgg11-1-inference", "inference", VGG11, 1),
)
"""The network workloads, in the order measured."""

CHAINS = (
    Workload("small-ops-forward", "forward", quick=True),
    Workload("small-ops-backward", "backward", quick=True),
)
"""The chain workloads: recording and backward overhead against bare NumPy."""


def select(patterns: Sequence[str], quick: bool = False) -> tuple[Workload, ...]:
    """Return the workloads matching any of `patterns`; by default all, or the quick ones.

    Parameters
    ----------
    patterns : sequence of str
        Names, or patterns with ``*`` and ``?``.
    quick : bool
        Whether the default is restricted to the quick workloads.

    Raises
    ------
    ValueError
        If a pattern matches no workload.

    Examples
    --------
    >>> [workload.name for workload in select(["mlp*", "vgg-64"])]
    ['vgg-64', 'mlp-1', 'mlp-32']
    """
    everything = WORKLOADS + CHAINS
    names = [workload.name for workload in everything]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=1)
            hint = (
                f"; did you mean {near[0]}?"
                if near
                else f"; expected one or more of {', '.join(names)}"
            )
            raise ValueError(f"bench: there is no workload {pattern!r}{hint}")
    if not patterns:
        return tuple(workload for workload in everything if workload.quick or not quick)
    return tuple(
        workload
        for workload in everything
        if any(fnmatchcase(workload.name, pattern) for pattern in patterns)
    )
