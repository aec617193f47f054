"""The compared frameworks: this package, its peers, and their interpreters."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygrad_cnn.engine import fast

__all__ = ["NUMPY", "OURS", "PEERS", "TORCH", "WAYS", "Framework", "Side", "default_ways",
           "parse_peers", "parse_pythons", "parse_ways"]  # fmt: skip

OURS, NUMPY, TORCH, TORCH_COMPILE = "tinygrad_cnn", "numpy", "torch", "torch.compile"
PEERS = (TORCH, TORCH_COMPILE, "mygrad", "autograd", "jax")
EAGER, COMPILED, FAST = "eager", "compiled", "fast"
WAYS = (EAGER, "eager-fast", COMPILED, FAST)
"""Variants of this package: eager or compiled, each with NumPy only or with the extra `fast`."""


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework installed in an interpreter.

    Attributes
    ----------
    name : str
    python : str
        The interpreter.
    version, numpy : str
        Its own version, and the version of its NumPy.
    variants : tuple of str
        Variants: the memory layouts of a peer, some of `WAYS` of this package; ``("",)`` if there
        is only one.
    network, chain : bool
        Whether it supports networks, and the chain of small ops.
    kinds : tuple of str or None
        The layers that it can build; None for all.
    """

    name: str
    python: str
    version: str
    numpy: str
    variants: tuple[str, ...] = ("",)
    network: bool = True
    chain: bool = True
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a framework in one of its variants.

    Examples
    --------
    >>> str(Side("torch", "channels-last"))
    'torch channels-last'
    """

    framework: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.framework} {self.variant}".rstrip()


def default_ways() -> tuple[str, ...]:
    """Return the ways measured by default: eager with NumPy only, and the fastest available."""
    return EAGER, FAST if fast.is_available() else COMPILED


def parse_ways(text: str | None) -> tuple[str, ...]:
    """Parse comma-separated names of `WAYS`; None means the default.

    Raises
    ------
    ValueError
        If a name is unknown.
    ModuleNotFoundError
        If a way needs the extra `fast`, which is not installed.

    Examples
    --------
    >>> parse_ways("compiled, eager")
    ('eager', 'compiled')
    """
    if text is None:
        return default_ways()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in WAYS:
            raise ValueError(f"bench: --ours has {name!r}, expected some of {', '.join(WAYS)}")
        if name.endswith(FAST) and not fast.is_available():
            raise ModuleNotFoundError(
                f"bench: --ours has {name!r}, which needs the module 'numba', which is not "
                'installed: pip install "tinygrad_cnn[fast]"',
                name="numba",
            )
    return tuple([way for way in WAYS if way in names])


def parse_peers(text: str | None) -> tuple[str, ...]:
    """Parse comma-separated peer names; None means all, and "none" means no peers.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> parse_peers("torch, jax")
    ('torch', 'jax')
    """
    if text is None:
        return PEERS
    names = [name.strip() for name in text.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in PEERS:
            known = ", ".join(PEERS)
            raise ValueError(f"bench: --against has {name!r}, expected some of {known}, or none")
    return tuple(dict.fromkeys(names))


def parse_pythons(texts: Sequence[str]) -> Mapping[str, str]:
    """Parse ``peer=path`` texts into the interpreter of each peer.

    Raises
    ------
    ValueError
        If the syntax is wrong or the peer is unknown.
    FileNotFoundError
        If the interpreter does not exist.
    """
    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or name not in PEERS:
            known = ", ".join(PEERS)
            raise ValueError(
                f"bench: --python is {text!r}, expected PEER=PATH, with PEER one of {known}"
            )
        interpreter = shutil.which(str(Path(path).expanduser()))
        if interpreter is None:
            raise FileNotFoundError(f"bench: --python is {text!r}, but there is no program {path}")
        found[name] = interpreter
    return found


def interpreter_of(framework: str, pythons: Mapping[str, str]) -> str:
    """Return the interpreter for a framework; by default the running one.

    That of torch.compile is by default that of torch.
    """
    package, *_ = framework.split(".")
    return pythons.get(framework, pythons.get(package, sys.executable))
