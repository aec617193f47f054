"""Python's own control flow is the model: loops, branches, recursion and shared weights.

Nothing is compiled and nothing is declared beforehand. What ran was recorded, and what was recorded
is differentiated:

1. a loop that ends when its data say so: Newton's iteration for √a, differentiated through;
2. a branch taken by value: a function given in three pieces;
3. recursion over trees with one set of shared weights: a net that learns whether the number of ones
   among the leaves is odd, from trees of two and three leaves, and is then asked about larger ones.

    python examples/control_flow.py
"""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import one_hot

Tree: TypeAlias = "int | tuple[Tree, Tree]"


def newton_root(a: tg.Tensor) -> tuple[tg.Tensor, int]:
    """Return √a and the number of steps that it took: x ← (x + a/x) / 2."""
    x = a
    steps = 0
    while abs(x * x - a) > 1e-14 * a:
        x = (x + a / x) / 2
        steps += 1
    return x, steps


def in_pieces(x: tg.Tensor) -> tg.Tensor:
    """Return a function with another formula left of −1, around 0 and right of 1."""
    if x < -1:
        return -2 * x - 1
    if x > 1:
        return 2 * x - 1
    return x * x


class Parity(nn.Module):
    """Answers for a tree from its answers for the two halves, by the same weights at every fork."""

    def __init__(self, *, rng: np.random.Generator) -> None:
        self.hidden = nn.Linear(4, 8, rng=rng)
        self.output = nn.Linear(8, 2, rng=rng)

    def answer(self, tree: Tree) -> tg.Tensor:
        """Return the probabilities of an even and of an odd number of ones."""
        if isinstance(tree, int):
            return tg.Tensor(one_hot(tree, classes=2))
        return tg.softmax(self(tree))

    def forward(self, tree: Tree) -> tg.Tensor:
        """Return the logits of `answer`, for a tree with a fork."""
        assert not isinstance(tree, int)  # `answer` knows a leaf
        left, right = tree
        halves = tg.concatenate([self.answer(left), self.answer(right)])
        return self.output(tg.tanh(self.hidden(halves)))


def ones(tree: Tree) -> int:
    return tree if isinstance(tree, int) else sum(ones(half) for half in tree)


def trees(leaves: int) -> list[Tree]:
    """Return every tree with that many leaves, each 0 or 1."""
    if leaves == 1:
        return [0, 1]
    return [
        (left, right)
        for split in range(1, leaves)
        for left, right in itertools.product(trees(split), trees(leaves - split))
    ]


def random_tree(leaves: int, rng: np.random.Generator) -> Tree:
    if leaves == 1:
        return int(rng.integers(2))
    split = int(rng.integers(1, leaves))
    return random_tree(split, rng), random_tree(leaves - split, rng)


def share_right(model: Parity, examples: list[Tree]) -> float:
    with tg.no_grad():
        answers = [int(model(tree).numpy().argmax()) for tree in examples]
    return float(np.mean([a == ones(tree) % 2 for a, tree in zip(answers, examples, strict=True)]))


def learn_parity(epochs: int = 100) -> Parity:
    rng = np.random.default_rng(0)
    model = Parity(rng=rng)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    examples = trees(2) + trees(3)
    odd = [ones(tree) % 2 for tree in examples]
    for _ in range(epochs):
        logits = tg.stack([model(tree) for tree in examples])  # each tree its own graph
        loss = tg.cross_entropy(logits, odd)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def main() -> dict[str, dict[float, tuple[float, ...]]]:
    result: dict[str, dict[float, tuple[float, ...]]] = {"newton": {}, "pieces": {}, "parity": {}}

    print("√a by Newton's iteration, and its derivative through every step")
    for value in (0.25, 2.0, 1000.0):
        a = tg.Tensor(np.array(value), requires_grad=True)
        root, steps = newton_root(a)
        derivative = tg.grad(root, a)[0].item()
        result["newton"][value] = (root.item(), derivative)
        print(f"  a = {value:<6}  {steps:2} steps   √a = {root.item():.12f}   "
              f"derivative {derivative:.12f}   1/(2√a) = {0.5 * value**-0.5:.12f}")  # fmt: skip

    print("\na function in three pieces, and its slope on the branch that was taken")
    for value in (-3.0, 0.25, 2.0):
        x = tg.Tensor(np.array(value), requires_grad=True)
        y = in_pieces(x)
        slope = tg.grad(y, x)[0].item()
        result["pieces"][value] = (y.item(), slope)
        print(f"  x = {value:<6}  y = {y.item():<8}  slope {slope}")

    print("\nis the number of ones odd? A recursive network, trained on trees with 2 and 3 leaves")
    model = learn_parity()
    rng = np.random.default_rng(1)
    for leaves in (3, 8, 32, 128):
        examples = trees(leaves) if leaves == 3 else [random_tree(leaves, rng) for _ in range(50)]
        right = share_right(model, examples)
        result["parity"][leaves] = (right,)
        print(f"  {leaves:3} leaves   accuracy {right:.1%} on {len(examples)} trees")
    return result


if __name__ == "__main__":
    main()
