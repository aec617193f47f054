"""Benchmark workloads: networks, batch sizes, and training steps or inference."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["CHAINS", "LENET5", "MLP", "VGG", "WORKLOADS", "Network", "Workload", "select"]


@dataclass(frozen=True, slots=True)
class Network:
    """A network that every framework can build: plain layers, as data.

    Attributes
    ----------
    name : str
    input_shape : tuple of int
        Of one example: (C, H, W), or (features,).
    layers : tuple of tuples
        ``("conv", channels_in, channels_out, kernel_size, padding)``, ``("maxpool", size)``,
        ``("linear", features_in, features_out)``, ``("flatten",)`` and ``("relu",)``.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[tuple[Any, ...], ...]


LENET5 = Network(
    "LeNet-5",
    (1, 28, 28),
    (
        *(("conv", 1, 6, 5, 2), ("relu",), ("maxpool", 2)),
        *(("conv", 6, 16, 5, 0), ("relu",), ("maxpool", 2)),
        *(("flatten",), ("linear", 400, 120), ("relu",)),
        *(("linear", 120, 84), ("relu",), ("linear", 84, 10)),
    ),
)
"""Same as `tinygrad_cnn.nn.LeNet5`."""

VGG = Network(
    "VGG-like",
    (3, 32, 32),
    (
        *(("conv", 3, 32, 3, 1), ("relu",), ("conv", 32, 32, 3, 1), ("relu",), ("maxpool", 2)),
        *(("conv", 32, 64, 3, 1), ("relu",), ("conv", 64, 64, 3, 1), ("relu",), ("maxpool", 2)),
        *(("flatten",), ("linear", 4096, 256), ("relu",), ("linear", 256, 10)),
    ),
)
"""Same as `tinygrad_cnn.nn.VGG`."""

MLP = Network("MLP 64-32-10", (64,), (("linear", 64, 32), ("relu",), ("linear", 32, 10)))


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
    Workload("lenet5-256", "step", LENET5, 256),
    Workload("lenet5-1024", "step", LENET5, 1024),
    Workload("lenet5-1", "step", LENET5, 1),
    Workload("lenet5-64-inference", "inference", LENET5, 64),
    Workload("lenet5-1-inference", "inference", LENET5, 1, quick=True),
    Workload("vgg-64", "step", VGG, 64, quick=True),
    Workload("vgg-64-inference", "inference", VGG, 64),
    Workload("mlp-1", "step", MLP, 1, quick=True),
    Workload("mlp-32", "step", MLP, 32),
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
