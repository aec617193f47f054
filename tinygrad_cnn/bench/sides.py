"""Who is compared: this package, its peers, and the interpreters that have them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NUMPY", "OURS", "PEERS", "Framework", "Side", "parse_peers", "parse_pythons"]

OURS, NUMPY = "tinygrad_cnn", "numpy"
PEERS = ("torch", "mygrad", "autograd", "jax")


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework that an interpreter has.

    Attributes
    ----------
    name : str
    python : str
        The interpreter.
    version, numpy : str
        Its own version, and that of its NumPy.
    variants : tuple of str
        The ways it offers, such as memory layouts; ``("",)`` if there is only one.
    network, chain : bool
        Whether it takes networks, and whether it takes the chain of small ops.
    """

    name: str
    python: str
    version: str
    numpy: str
    variants: tuple[str, ...] = ("",)
    network: bool = True
    chain: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that alternate: a framework in one of its variants.

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
    """Return the peers that are named, with commas between; all if None, and none for "none".

    Raises
    ------
    ValueError
        If one is unknown.

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
            raise ValueError(f"bench: against is {name!r}, expected some of {known}, or none")
    return tuple(dict.fromkeys(names))


def parse_pythons(texts: Sequence[str]) -> Mapping[str, str]:
    """Return the interpreter of each peer that ``peer=path`` names one for.

    Raises
    ------
    ValueError
        If it is not written so, or the peer is unknown.
    FileNotFoundError
        If there is no such interpreter.
    """
    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or name not in PEERS:
            known = ", ".join(PEERS)
            raise ValueError(
                f"bench: python is {text!r}, expected PEER=PATH, with PEER one of {known}"
            )
        interpreter = shutil.which(str(Path(path).expanduser()))
        if interpreter is None:
            raise FileNotFoundError(f"bench: python is {text!r}: no interpreter there")
        found[name] = interpreter
    return found


def interpreter_of(framework: str, pythons: Mapping[str, str]) -> str:
    """Return the interpreter to ask for a framework: by default the one that runs this."""
    return pythons.get(framework, sys.executable)
