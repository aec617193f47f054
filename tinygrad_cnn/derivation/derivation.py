"""The derivation of a gradient by the chain rule: `derive`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.graph import Node, grad
from tinygrad_cnn.core.recording import changed_recording
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.derivation.layers import suited_depth
from tinygrad_cnn.derivation.maker import Maker
from tinygrad_cnn.derivation.measure import Flow, flow
from tinygrad_cnn.derivation.page import page
from tinygrad_cnn.derivation.parts import ChainRule, Item
from tinygrad_cnn.derivation.paths import Paths, Place
from tinygrad_cnn.derivation.symbols import Symbols, leaf_names
from tinygrad_cnn.derivation.typeset import latex, markdown
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.support.files import write_by_suffix

if TYPE_CHECKING:
    from tinygrad_cnn.core.tensor import Tensor
    from tinygrad_cnn.drawing.names import Names

__all__ = ["FORMATS", "Derivation", "derive"]


class Derivation(ChainRule):
    """The chain-rule derivation of a loss's gradient with respect to one Tensor.

    It prints as a page of text; notebooks show formulas. The attributes are those of `ChainRule`.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return page(self)

    def __repr__(self) -> str:
        return f"<∂{self.loss}/∂{self.name or self.wrt}: {len(self.product)} factors>"

    def text(self, width: int = 100) -> str:
        """Return the page as text, in lines of at most about `width` characters."""
        return page(self, whole("Derivation.text", "width", width, 40))

    def latex(self) -> str:
        """Return the formulas as LaTeX, for an ``aligned`` environment of amsmath."""
        return latex(self)

    def markdown(self) -> str:
        """Return the page as Markdown, with formulas between dollar signs."""
        return markdown(self)

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the derivation to a file, atomically.

        Parameters
        ----------
        path : path-like
            With suffix ".txt", ".tex" or ".md".

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        ValueError
            If the suffix is not one of these.
        OSError
            If the file cannot be written.
        """
        return write_by_suffix("render", path, FORMATS, self)

    def _repr_latex_(self) -> str:
        return f"$${self.latex()}$$"

    def _repr_markdown_(self) -> str:
        return self.markdown()


FORMATS: dict[str, Callable[[Derivation], str]] = {
    ".txt": Derivation.text,
    ".tex": Derivation.latex,
    ".md": Derivation.markdown,
}
"""The writers of `Derivation.render`, by file suffix; the command line knows them by name."""


def derive(
    y: Tensor, wrt: Tensor | str, *, names: Names | None = None, depth: int | None = None
) -> Derivation:
    """Write out the chain rule for the derivative of `y` with respect to `wrt`.

    Parameters
    ----------
    y : Tensor
        A loss of one element, with its graph. Call `derive` before ``backward()``, or call
        ``backward(retain_graph=True)``.
    wrt : Tensor or str
        The Tensor to differentiate by: a weight, an input, an inner result, or the name of a
        parameter, such as ``"fc1.weight"``.
    names : Module or mapping of str, optional
        Names for the symbols: the model, or Tensors by name, such as ``locals()``. Layers'
        parameters and named Tensors have names already.
    depth : int, optional
        Fold the factors of each module at this depth into one; 0 shows every op. By default,
        modules are folded if there are more than 24 factors.

    Returns
    -------
    Derivation
        Print it or show it in a notebook.

    Raises
    ------
    TypeError
        If `y` is not a Tensor, or `wrt` neither a Tensor nor a name.
    ValueError
        If `y` has no graph or more than one element, or does not depend on `wrt`; if no parameter
        has that name; or if `depth` is negative.
    GraphFreedError
        If an earlier ``backward()`` has freed the graph.
    ChangedInPlaceError
        If a saved value was overwritten.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor([[0.5, -1.0]], requires_grad=True, name="w")
    >>> E = tg.squared_error(tg.sigmoid(tg.linear(tg.Tensor([1.0, 2.0], name="x"), w)), [1.0])
    >>> print(tg.derive(E, wrt=w))
    ∂E/∂w for w of shape (1, 2), along 1 path
    <BLANKLINE>
      ∂E   ∂E    ∂Y   ∂z¹
      ── = ── · ─── · ───
      ∂w   ∂Y   ∂z¹    ∂w
    <BLANKLINE>
    where
      E   ()      squared_error
      Y   (1,)    sigmoid
      y   (1,)    given to squared_error as target
      z¹  (1,)    linear
      w   (1, 2)  a leaf
      x   (2,)    given to linear as x
    <BLANKLINE>
    Factor by factor
      ∂E/∂Y    = Y − y      eq 23
      ∂Y/∂z¹   = Y·(1 − Y)  eq 45
      ∂z¹/∂wᵢ  = xᵢ         eq 26
    <BLANKLINE>
    Entry by entry
      ∂E/∂wᵢ = (Y − y) · Y·(1 − Y) · xᵢ
    <BLANKLINE>
    In numbers
              shape           its norm  norm of the product
      ∂E/∂Y   () by (1,)        0.8176               0.8176
      ∂Y/∂z¹  (1,) by (1,)      0.1491               0.1219
      ∂z¹/∂w  (1,) by (1, 2)     2.236               0.2727
    equals the w.grad that backward() computes: yes (largest difference 0)
    """
    root = _checked(y)
    limit = None if depth is None else whole("derive", "depth", depth, 0)
    given = _given_names(names)
    leaves = leaf_names(root, given)
    target = _found(wrt, leaves)
    end: Place = target.node or target
    paths = Paths(root, end)
    name = leaves.get(target) or given.get(id(end)) or target.name or ""
    if not paths.count:
        raise ValueError(
            f"derive: no path leads from y to wrt, {name or 'a Tensor'} of shape {target.shape}: "
            "y does not depend on it"
        )
    with changed_recording(on=False, observers=()):
        found = flow(paths, np.ones(y.shape, y.dtype))
        (reference,) = grad(y, target, retain_graph=True)
    symbols = Symbols(root, leaves, given)
    folded = suited_depth(paths.steps) if limit is None else limit
    made = Maker(paths, symbols, leaves, found, folded, whole=limit is not None)
    product = made.product()
    layers = () if folded else _by_layer(paths, symbols, leaves, found)
    return Derivation(
        loss=symbols[root],
        wrt=made.called(end),
        name=name,
        shape=tuple(target.shape),
        paths=paths.count,
        product=product,
        layers=layers,
        quantities=made.quantities(),
        written=made.written,
        gradient=found.gradient,
        difference=_difference(found.gradient, reference),
        held=None if target.grad is None else _difference(found.gradient, np.asarray(target.grad)),
    )


def _by_layer(
    paths: Paths, symbols: Symbols, names: Mapping[Variable, str], found: Flow
) -> tuple[Item, ...]:
    """Return the product folded by module, if there are several modules."""
    scopes = {edge.node.scope for edge in paths.edges} - {""}
    if len(scopes) < 2:
        return ()
    depth = max(scope.count(".") + 1 for scope in scopes)
    return Maker(paths, symbols, names, found, depth, whole=False).product()


def _checked(y: Any) -> Node:
    """Return the call that computed `y`; raise if it cannot be derived."""
    if not isinstance(y, Variable):
        raise TypeError(f"derive: y is {type(y).__name__}, expected Tensor")
    if y.node is None:
        raise ValueError(
            f"derive: y, {y.name or 'a Tensor'} of shape {y.shape}, has no graph: it is a leaf, "
            "nothing it was computed from requires a gradient, or it was computed under no_grad()"
        )
    if y._array.size != 1:
        raise ValueError(
            f"derive: y has shape {y.shape}, expected one element: derive a loss, or its sum()"
        )
    return y.node


def _given_names(names: Any) -> dict[int, str]:
    """Return the caller's names, by the id of a leaf or of a result's node."""
    if names is not None and not isinstance(names, Module | Mapping):
        came = type(names).__name__
        raise TypeError(f"derive: names is {came}, expected a Module, or a dict of Tensors")
    given: dict[int, str] = {}
    for name, value in (names if isinstance(names, Mapping) else {"": names}).items():
        if isinstance(value, Module):
            given |= {id(parameter): path for path, parameter in value.named_parameters()}
        elif isinstance(value, Variable):
            given[id(value.node or value)] = str(name)
    return given


def _found(wrt: Any, names: Mapping[Variable, str]) -> Variable:
    """Return the Tensor that `wrt` is or names."""
    if isinstance(wrt, str):
        found = [leaf for leaf, name in names.items() if name == wrt]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"derive: {len(found)} Tensors are named {wrt!r}; pass one of them")
        known = list(filter(None, names.values()))
        near = difflib.get_close_matches(wrt, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        if not known:
            hint = "no Tensor that y was computed from has a name; pass the Tensor itself"
        raise ValueError(f"derive: wrt is {wrt!r}, which is not a parameter of y; {hint}")
    if not isinstance(wrt, Variable):
        raise TypeError(f"derive: wrt is {type(wrt).__name__}, expected Tensor or a name")
    if not wrt.requires_grad:
        raise ValueError(
            f"derive: wrt, {wrt.name or 'a Tensor'} of shape {wrt.shape}, does not require a "
            "gradient"
        )
    return wrt


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the largest difference; entries both NaN, or equal infinities, do not differ."""
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.where(same, 0, np.abs(a - b)), initial=0.0))
