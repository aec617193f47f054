"""Letters for quantities.

The letters are the text's: E for the loss, Y the prediction, z the input of an activation, α its
output, w and b the weights and biases, x the inputs and y the labels. Layers are numbered in the
order of the calls. A Tensor named by the user keeps its name.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.derivation.paths import Place

__all__ = [
    "CONSTANTS",
    "LETTERS",
    "Wish",
    "has_weights",
    "is_name",
    "layers_of",
    "leaf_letter",
    "node_letters",
]

Wish: TypeAlias = tuple[Place, str, int | None]
"""A place, its preferred letter, and the number of its layer or None."""

LETTERS: dict[str, dict[str, str]] = {
    "squared_error": {"Y": "prediction", "y": "target"},
    "mse": {"p": "prediction", "t": "target"},
    "cross_entropy": {"x": "logits", "t": "target"},
    "leaky_relu": {"s": "negative_slope"},
    "where": {"c": "condition"},
    "dropout": {"m": "mask", "p": "rate"},
    "linear": {"b": "bias"},
    "conv2d": {"b": "bias"},
    "conv_transpose2d": {"b": "bias"},
    "batch_norm": {"b": "bias", "ε": "epsilon"},
    "softmax": {"T": "temperature"},
    "log_softmax": {"T": "temperature"},
}
"""The letters of parameters in an op's formulas, where they differ from the names."""

ACTIVATIONS = {"sigmoid", "tanh", "relu", "leaky_relu", "softplus"}
LOSSES = {"squared_error", "mse", "cross_entropy"}
FED = {*ACTIVATIONS, *LOSSES, "softmax", "log_softmax"}
"""The ops that take a z as argument."""

MOVED = {"maxpool", "avgpool", "reshape", "dropout"}
AFFINE = {"linear", "conv2d", "conv_transpose2d", "batch_norm"}
PRODUCTS = {"mul", "matmul"}
OTHERS = {
    "maxpool": "p", "avgpool": "p", "reshape": "f", "transpose": "f", "dropout": "d",
    "add": "s", "sub": "s", "sum": "s", "mean": "s", "softmax": "S",
}  # fmt: skip
"""The letters of results that the text does not name; all others are h."""

CONSTANTS = {"target": "t", "mask": "m", "condition": "c", "x": "x", "a": "x"}
"""The letters of arrays without a gradient, by parameter."""


def node_letters(nodes: list[Node], layers: dict[Node, int]) -> list[Wish]:
    """Return the preferred letters of results, in order of priority.

    The input of an activation or a loss is the z of its layer; if there is none, the product is.
    """
    followers: dict[Node, set[str]] = {}
    predictions: set[Node] = set()
    for node in nodes:
        for number, parent in enumerate(node.parents):
            if isinstance(parent, Node):
                followers.setdefault(parent, set()).add(node.op.name)
                if number == 0 and node.op.name in ("squared_error", "mse"):
                    predictions.add(parent)
    certain: list[Wish] = []
    products: list[Node] = []
    others: list[Wish] = []
    for node in nodes:
        layer = layers[node] or None
        name = node.op.name
        if node in predictions:
            certain.append((node, "Y", None))
        elif name in ACTIVATIONS:
            certain.append((node, "α", layer))
        elif layer and followers.get(node, set()) & FED and name not in MOVED:
            certain.append((node, "z", layer))
        elif name in AFFINE:
            products.append(node)
        else:
            others.append((node, OTHERS.get(name, "h"), None))
    taken = {layer for _, letter, layer in certain if letter == "z"}
    for node in products:
        layer = layers[node] or None
        others.append((node, "h", None) if layer in taken else (node, "z", layer))
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
    """Return whether a call multiplies by a learned leaf."""
    if node.op.name in AFFINE:
        return isinstance(node.parents[1], Variable)
    if node.op.name in PRODUCTS:
        return any(isinstance(p, Variable) and len(p.shape) >= 2 for p in node.parents)
    return False


def is_name(text: str) -> bool:
    """Return whether a user's name can be used in a formula."""
    return re.fullmatch(r"[^\W\d][\w.]*", text) is not None


def leaf_letter(node: Node, number: int, leaf: Variable, layer: int, name: str) -> str:
    """Return the letter of a leaf; "" if it keeps its name."""
    parameter = "arrays" if node.op.sequence else node.op.operands[number]
    last = name.rpartition(".")[2]
    if name and not (isinstance(leaf, Parameter) and last in ("weight", "bias")):
        return "" if is_name(name) else "θ"
    if not layer:
        return "x"
    if last == "bias" or parameter == "bias":
        return "b"
    if last == "weight" or (node.op.name in AFFINE and parameter == "w"):
        return "w"
    if node.op.name in PRODUCTS and len(leaf.shape) >= 2:
        return "w"
    return "b" if node.op.name == "add" and leaf.shape else "x"
