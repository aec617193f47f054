"""Letters for quantities.

The letters are the text's: E for the loss, Y the prediction, z the input of an activation, α its
output, w and b the weights and biases, γ and β the scale and shift of a normalization, x the inputs
and y the labels. Layers are numbered in the
order of the calls. A Tensor named by the user keeps its name.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.derivation.paths import Place

__all__ = [
    "Wish",
    "behind",
    "constant_letter",
    "has_weights",
    "is_name",
    "layers_of",
    "leaf_letter",
    "node_letters",
]

Wish: TypeAlias = tuple[Place, str, int | None]
"""A place, its preferred letter, and the number of its layer or None."""

LETTERS = {"addition": "s", "pooling": "p", "reshaping": "f", "regularization": "d"}
"""The letters of results by the op's role; all others are h."""

FED = {"activation", "loss", "loss of logits"}
"""The roles of ops that take a z as argument."""

MOVED = {"pooling", "reshaping", "regularization"}
PRODUCTS = {"affine": "u", "normalization": "q"}
"""The letters of a layer's product and of its normalization, where another result is its z."""

AFFINE = {"affine", "normalization"}


def node_letters(nodes: list[Node], layers: dict[Node, int]) -> list[Wish]:
    """Return the preferred letters of results, in order of priority.

    The input of an activation or a loss is the z of its layer; if there is none, the product is.
    """
    followers: dict[Node, set[str]] = {}
    predictions: set[Node] = set()
    for node in nodes:
        for number, parent in enumerate(node.parents):
            if isinstance(parent, Node):
                followers.setdefault(parent, set()).add(node.op.role)
                if number == 0 and node.op.role == "loss":
                    predictions.add(parent)
    certain: list[Wish] = []
    products: list[Node] = []
    others: list[Wish] = []
    for node in nodes:
        layer = layers[node] or None
        role, letter = node.op.role, node.op.letter
        if node in predictions:
            certain.append((node, "Y", None))
        elif role == "activation" and not letter:
            certain.append((node, "α", layer))
        elif layer and followers.get(node, set()) & FED and role not in MOVED:
            certain.append((node, "z", layer))
        elif role in AFFINE:
            products.append(node)
        else:
            others.append((node, letter or LETTERS.get(role, "h"), None))
    taken = {layer for _, letter, layer in certain if letter == "z"}
    for node in products:
        layer = layers[node] or None
        others.append((node, PRODUCTS[node.op.role] if layer in taken else "z", layer))
        taken.add(layer)
    order: dict[Place, int] = {node: k for k, node in enumerate(nodes)}
    return [*certain, *sorted(others, key=lambda wish: order[wish[0]])]


def layers_of(nodes: list[Node]) -> dict[Node, int]:
    """Return the layer number of each node; a layer begins at a call with weights."""
    layers: dict[Node, int] = {}
    count = 0
    for node in nodes:
        before = [layers[parent] for parent in node.parents if isinstance(parent, Node)]
        layers[node] = max(before, default=0)
        if has_weights(node):
            count += 1
            layers[node] = count
    return layers


def has_weights(node: Node) -> bool:
    """Return whether a call multiplies by learned weights; a scale per channel is not a layer."""
    if node.op.role == "affine":
        return any(weights is not None for weights in node.parents[1:2])
    if node.op.role == "product":
        sources = map(behind, node.parents)
        return any(isinstance(p, Variable) and len(p.shape) >= 2 for p in sources)
    return False


def behind(place: Place | None) -> Place | None:
    """Return the leaf that a result was made from by calls of one argument; else the result."""
    while isinstance(place, Node):
        given = [parent for parent in place.parents if parent is not None]
        if len(given) != 1 or len(place.parents) != 1:
            break
        (place,) = given
    return place


def is_name(text: str) -> bool:
    """Return whether a user's name can be used in a formula."""
    return re.fullmatch(r"[^\W\d][\w.]*", text) is not None


def leaf_letter(node: Node, number: int, leaf: Variable, layer: int, name: str) -> str:
    """Return the letter of a leaf; "" if it keeps its name."""
    op = node.op
    last = name.rpartition(".")[2]
    if name and not (isinstance(leaf, Parameter) and last in ("weight", "bias")):
        return "" if is_name(name) else "θ"
    if op.role == "normalization" and number:
        return "γ" if number == 1 else "β"
    if not layer:
        return "x"
    if last in ("weight", "bias"):
        return last[0]
    if op.role in AFFINE and number:
        return "w" if number == 1 else "b"
    if op.role == "product" and len(leaf.shape) >= 2:
        return "w"
    return "b" if op.role == "addition" and leaf.shape else "x"


def constant_letter(op: Op[..., Any], parameter: str) -> str:
    """Return the letter of an array without a gradient."""
    return op.aliases.get(parameter) or ("x" if parameter in op.operands[:1] else "c")
