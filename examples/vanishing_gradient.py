"""A deep sigmoid network that does not learn: its drawing shows why, and ReLU fixes it.

The derivative of a sigmoid is at most 1/4 (eq 45), and a gradient that flows back through ten of
them is multiplied by it ten times. Colored by the norm of the gradient, the layers fade from the
loss to the input, and the first are marked as vanishing. ReLU's derivative is 0 or 1, and with He's
initial weights the norms stay level.

    python examples/vanishing_gradient.py            # the text alone
    python examples/vanishing_gradient.py FOLDER     # and two pictures, sigmoid.svg and relu.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.drawing import Drawing

DEPTH = 10  # hidden layers
STEPS = 60

Results = dict[str, tuple[list[tuple[str, float, str]], float]]  # layers and loss, by activation


def network(activation: str) -> nn.MLP:
    return nn.MLP((784, *[32] * DEPTH, 10), activation, rng=np.random.default_rng(0))


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    digits = tg.data.digits().train
    return digits.images[:size].astype(np.float32) / 255 - 0.13, digits.labels[:size]


def drawn(model: nn.MLP) -> Drawing:
    """Return the drawing of one batch's loss, colored by gradient."""
    images, labels = batch(64)
    loss = tg.cross_entropy(model(images), labels)
    return tg.draw(loss, depth=1, heat="gradient", names=model, title=f"{model.activation} network")


def layers(drawing: Drawing) -> list[tuple[str, float, str]]:
    """Return name, norm of the gradient and marks of each fully connected layer."""
    return [
        (node.name, node.gradient.norm, ", ".join(m.name for m in drawing.marks.get(node.id, ())))
        for node in drawing.graph.nodes
        if node.name.startswith("fc.") and node.gradient is not None
    ]


def trained(model: nn.MLP) -> list[float]:
    """Return the losses of a short training."""
    images, labels = batch(1000)
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    losses: list[float] = []
    for _ in range(STEPS):
        loss = tg.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(folder: str | Path | None = None) -> Results:
    results: Results = {}
    for activation in ("sigmoid", "relu"):
        model = network(activation)
        drawing = drawn(model)
        table = layers(drawing)
        losses = trained(model)
        results[activation] = (table, losses[-1])
        print(f"{activation}: gradient norm of each layer")
        for name, norm, marks in table:
            bar = "█" * max(1, round(24 + 3 * np.log10(norm)))  # three characters a power of ten
            print(f"  {name:6}{norm:8.0e}  {bar:24}{marks}".rstrip())
        print(f"  loss {losses[0]:.3f}, after {STEPS} steps {losses[-1]:.3f}\n")
        if folder is not None:
            print(f"  drawn: {drawing.render(Path(folder) / f'{activation}.svg')}\n")
    return results


if __name__ == "__main__":
    main(*sys.argv[1:2])
