"""The compared frameworks: this package, its peers, and their interpreters."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NUMPY", "OURS", "PEERS", "TORCH", "Framework", "Side", "parse_peers", "parse_pythons"]

OURS, NUMPY, TORCH = "tinygrad_cnn", "numpy", "torch"
PEERS = (TORCH, "mygrad", "autograd", "jax")


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
        Variants, such as memory layouts; ``("",)`` if there is only one.
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
    """Return the interpreter for a framework; by default the running one."""
    return pythons.get(framework, sys.executable)
