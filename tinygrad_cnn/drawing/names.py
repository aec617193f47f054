"""Names of nodes: from the model if known, else from the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tinygrad_cnn.core.recording import qualified
from tinygrad_cnn.core.tensor import Parameter, Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.drawing.steps import Leaf, Step
from tinygrad_cnn.nn import Module

__all__ = ["Namer", "Names"]

Names: TypeAlias = Module | Mapping[str, Any]
"""A model, or Tensors and models by name; other values in a mapping are ignored."""


class Namer:
    """Finds the names of leaves and steps, and the classes of modules.

    Parameters
    ----------
    names : Module or mapping, optional
        The caller's names, which take precedence.
    modules : mapping of str to Module
        The modules that a trace recorded, by scope.
    steps : sequence of Step

    Raises
    ------
    TypeError
        If `names` is neither a Module nor a mapping.
    """

    def __init__(
        self, names: Names | None, modules: Mapping[str, Module], steps: Sequence[Step]
    ) -> None:
        self.kinds = {path: type(module).__name__ for path, module in modules.items() if path}
        self._given: dict[int, str] = {}
        self._own: set[int] = set()  # ids of leaves that belong to a module
        for path, module in modules.items():
            self._add_module(path, module)
        if isinstance(names, Module):
            self._add_module("", names)
        elif isinstance(names, Mapping):
            self._add_mapping(names)
        elif names is not None:
            raise TypeError(
                f"draw: names is {type(names).__name__}, expected a Module, or a dict of Tensors"
            )
        self._guessed = _guessed(steps)

    def leaf(self, leaf: Leaf) -> str:
        """Return the name of a leaf; empty if it has none."""
        given = self._given.get(id(leaf.origin)) if leaf.origin is not None else None
        if given is not None:
            return given
        if leaf.name:
            inside = isinstance(leaf.origin, Parameter) and leaf.scope
            return f"{leaf.scope}.{leaf.name}" if inside else leaf.name
        if leaf.origin is None and leaf.array is not None and leaf.array.ndim == 0:
            return f"{leaf.array.item():.4g}"
        return self._guessed.get(id(leaf), "")

    def step(self, step: Step) -> str:
        """Return the name of a step's result: the op's name unless the user gave one."""
        given = self._given.get(id(step.origin)) if step.origin is not None else None
        return given or (step.op.name if step.op is not None else step.error.partition(":")[0])

    def is_inside(self, leaf: Leaf) -> bool:
        """Return whether a leaf belongs in the scope of its users."""
        return bool(leaf.scope) or id(leaf.origin) in self._own

    def _add_module(self, path: str, module: Module) -> None:
        for inner_path, inner in module.named_modules():
            where = qualified(path, inner_path)
            if where:
                self.kinds[where] = type(inner).__name__
            for name, member in inner._members():
                if isinstance(member, Tensor):
                    self._given[id(member)] = qualified(where, name)
                    self._own.add(id(member))

    def _add_mapping(self, names: Mapping[str, Any]) -> None:
        for name, value in names.items():
            if isinstance(value, Module):
                self._add_module("", value)
            elif isinstance(value, Variable):
                self._given[id(value)] = str(name)
                if value.node is not None:
                    self._given[id(value.node)] = str(name)


def _guessed(steps: Sequence[Step]) -> dict[int, str]:
    """Return the name of the parameter that first takes each leaf, by id.

    This is informative for ops such as conv2d, with x and w, but not for a sum of a and b.
    """
    guessed: dict[int, str] = {}
    for step in steps:
        for argument in step.arguments:
            if isinstance(argument.source, Leaf) and step.op is not None:
                name = "" if step.op.elementwise or step.op.sequence else argument.name
                guessed.setdefault(id(argument.source), name)
    return guessed
