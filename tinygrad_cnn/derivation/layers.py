"""Folding of long products: the factors of a module become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygrad_cnn.derivation.paths import Bundle, Edge, Place, Segment

__all__ = ["LONGEST", "MOST_SHOWN", "Group", "fold", "module_at", "suited_depth"]

LONGEST = 24
"""Products with more factors than this are folded by module."""

MOST_SHOWN = 40
"""Products that are still longer than this are shown without their middle."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighboring steps of a product, shown as one.

    Attributes
    ----------
    module : str
        The module of all steps; "" for a single, unfolded step.
    steps : tuple of Edge or Bundle
    """

    module: str
    steps: tuple[Segment, ...]

    @property
    def edges(self) -> list[Edge]:
        """All edges of the group, from the top down."""
        return [edge for step in self.steps for edge in step.edges]

    @property
    def top(self) -> Place:
        """The place where the group begins."""
        return self.edges[0].node

    @property
    def bottom(self) -> Place:
        """The place where the group ends."""
        last = self.steps[-1]
        return last.bottom if isinstance(last, Bundle) else last.target


def module_at(scope: str, depth: int) -> str:
    """Return the first `depth` names of a scope.

    Examples
    --------
    >>> module_at("features.0.conv", 2), module_at("", 2)
    ('features.0', '')
    """
    return ".".join(scope.split(".")[:depth])


def fold(steps: Sequence[Segment], depth: int) -> list[Group]:
    """Group neighboring steps by module, to `depth` names of their scope; 0 folds nothing."""
    groups: list[Group] = []
    for step in steps:
        modules = {module_at(edge.node.scope, depth) for edge in step.edges} if depth else {""}
        module = modules.pop() if len(modules) == 1 else ""
        if module and groups and groups[-1].module == module:
            groups[-1] = Group(module, (*groups[-1].steps, step))
        else:
            groups.append(Group(module, (step,)))
    return groups


def suited_depth(steps: Sequence[Segment]) -> int:
    """Return the best folding depth: the greatest at which the product is not too long."""
    edges = [edge for step in steps for edge in step.edges]
    if len(edges) <= LONGEST:
        return 0
    scopes = {edge.node.scope for edge in edges}
    deepest = max(scope.count(".") + 1 if scope else 0 for scope in scopes)
    for depth in range(deepest, 1, -1):
        if len(fold(steps, depth)) <= MOST_SHOWN:
            return depth
    return min(deepest, 1)
