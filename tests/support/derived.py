"""Networks and graphs to derive, and the value of the formula that is printed for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from support.entries import Entries, quantities
from tinygrad_cnn import nn
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.derivation import Derivation
from tinygrad_cnn.derivation.paths import Paths
from tinygrad_cnn.derivation.symbols import Symbols, arrays_of, leaf_names, options_of


class Watch(tg.Observer):
    """Remembers the result of every node."""

    def __init__(self) -> None:
        self.results: dict[Node, np.ndarray] = {}

    def forward(self, event: tg.ForwardEvent) -> None:
        if event.node is not None:
            assert event.output is not None
            self.results[event.node] = event.output


def evaluated(loss: tg.Tensor, derivation: Derivation, watch: Watch, **constants: Any) -> Any:
    """Return the value of the formula that is printed, computed from the arrays of the forward."""
    assert loss.node is not None
    leaves = leaf_names(loss.node, {})
    symbols = Symbols(loss.node, leaves, {})
    arrays = {symbols[leaf].plain(): leaf._array for leaf in leaves}
    arrays |= {symbols[node].plain(): array for node, array in watch.results.items()}
    (leaf,) = [leaf for leaf in leaves if symbols[leaf] == derivation.wrt]
    for edge in Paths(loss.node, leaf).edges:
        names, node = symbols.bindings(edge), edge.node
        given = arguments(node, watch)
        for letter, array in quantities(node.op.name, given).items():
            arrays[names[letter].plain()] = array
    written = derivation.written
    assert written is not None
    free = [letter for letter in written.index if letter]
    found = Entries({**arrays, **constants}, written.lengths).value(written.formula.plain(), free)
    return found.reshape(derivation.shape)


def arguments(node: Node, watch: Watch) -> dict[str, Any]:
    """Return the arguments of a call by name: arrays and options."""
    given = {k: v for k, v in arrays_of(node).items() if k in node.op.parameters}
    given |= options_of(node)
    for name, parent in zip(node.op.operands, node.parents, strict=False):
        if isinstance(parent, Node):
            given[name] = watch.results[parent]
        elif parent is not None:
            given[name] = parent._array
    return given


X, LABEL = np.array([[0.7, -0.6]]), np.array([[0.0, 0.0, 1.0]])


def perceptron() -> tuple[nn.MLP, tg.Tensor]:
    with tg.default_dtype("float64"):
        model = nn.MLP(
            (2, 2, 3), output="softmax", bias="per_connection", rng=np.random.default_rng(3)
        )
    return model, tg.squared_error(model(X), LABEL)


class Residual(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.stem = nn.Linear(3, 4, rng=rng)
        self.first, self.second = nn.Linear(4, 4, rng=rng), nn.Linear(4, 4, rng=rng)
        self.fc = nn.Linear(4, 2, rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        return self.fc(tg.tanh(x + self.second(tg.sigmoid(self.first(x)))))


class Convolutional(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1, rng=rng)
        self.conv2 = nn.Conv2d(2, 2, 2, rng=rng)
        self.fc = nn.Linear(2, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        x = tg.maxpool(tg.tanh(self.conv1(x)), 2)
        x = tg.avgpool(tg.sigmoid(self.conv2(x)), 2)
        return self.fc(x.reshape(len(x), -1))


class Twice(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.cell = nn.Linear(3, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        return self.cell(tg.tanh(self.cell(x)))


class Nested(nn.Module):
    """A block around a block: paths meet inside a sum of paths."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.stem = nn.Linear(2, 3, rng=rng)
        self.outer, self.inner = nn.Linear(3, 3, rng=rng), nn.Linear(3, 3, rng=rng)
        self.last = nn.Linear(3, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        h = self.outer(x)
        return x + self.last(tg.sigmoid(h) + self.inner(h))


class NormalizedBlock(nn.Module):
    """A block of a ResNet: two normalized convolutions beside a shortcut."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.stem = nn.Conv2d(1, 2, 3, padding=1, rng=rng)
        self.conv1 = nn.Conv2d(2, 2, 3, padding=1, bias=False, rng=rng)
        self.bn1 = nn.BatchNorm2d(2)
        self.conv2 = nn.Conv2d(2, 2, 3, padding=1, bias=False, rng=rng)
        self.bn2 = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        y = self.bn2(self.conv2(tg.tanh(self.bn1(self.conv1(x)))))
        return self.fc(tg.tanh(x + y).mean((2, 3)))


class UNet(nn.Module):
    """One level of a U-Net, with a class for each pixel."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.down = nn.Conv2d(1, 2, 3, padding=1, rng=rng)
        self.bottom = nn.Conv2d(2, 2, 1, rng=rng)
        self.up = nn.ConvTranspose2d(2, 2, 2, stride=2, rng=rng)
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.Conv2d(4, 3, 1, rng=rng)

    def forward(self, x: Any) -> Any:
        beside = tg.tanh(self.down(x))
        up = self.up(tg.tanh(self.bottom(tg.maxpool(beside, 2))))
        return self.last(self.norm(tg.concatenate([beside, up], axis=1)))


class Attention(nn.Module):
    """Self-attention over three tokens, then layer norm."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.query, self.key = nn.Linear(2, 2, rng=rng), nn.Linear(2, 2, rng=rng)
        self.value = nn.Linear(2, 2, rng=rng)
        self.norm = nn.LayerNorm(2)
        self.fc = nn.Linear(2, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        a = tg.softmax(self.query(x) @ self.key(x).swapaxes(1, 2), axis=-1)
        return self.fc(self.norm(a @ self.value(x)).mean(1))


NETWORKS: dict[str, tuple[type[Any], tuple[int, ...], int]] = {
    "residual": (Residual, (5, 3), 2),
    "a block in a block": (Nested, (4, 2), 3),
    "convolutional": (Convolutional, (2, 1, 6, 6), 3),
    "a ResNet's block": (NormalizedBlock, (2, 1, 3, 3), 3),
    "a U-Net": (UNet, (2, 1, 4, 4), 3),
    "attention": (Attention, (2, 3, 2), 3),
    "a weight used twice": (Twice, (2, 3), 3),
}


def network(kind: str) -> tuple[Any, tg.Tensor, Watch, dict[str, Any]]:
    made, shape, classes = NETWORKS[kind]
    rng = np.random.default_rng(7)
    with tg.default_dtype("float64"):
        model = made(rng)
    x, labels = rng.normal(size=shape), rng.integers(0, classes, size=shape[0])
    if kind == "a U-Net":
        labels = rng.integers(0, classes, size=(shape[0], *shape[2:]))
    watch = Watch()
    with tg.observe(watch):
        loss = tg.cross_entropy(model(x), labels)
    return model, loss, watch, {"x": x, "t": np.moveaxis(np.eye(classes)[labels], -1, 1)}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[tg.Tensor, tg.Tensor, int]:
    """Draw a graph of up to nine calls, and count its paths by another way than the code's."""
    leaf = tg.Tensor([0.3, -0.8], requires_grad=True, dtype="f8")
    results, paths = [leaf], [1]
    for _ in range(draw(st.integers(1, 9))):
        i, j = draw(st.integers(0, len(results) - 1)), draw(st.integers(0, len(results) - 1))
        kind = draw(st.sampled_from(["add", "mul", "tanh", "sub"]))
        if kind == "tanh":
            results.append(tg.tanh(results[i]))
            paths.append(paths[i])
        else:
            results.append(tg.OPS[kind](results[i], results[j]))
            paths.append(paths[i] + paths[j])
    return results[-1].sum(), leaf, paths[-1]
