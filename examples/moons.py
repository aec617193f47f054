"""A neuron and a small network that separates two half moons, in the manner of micrograd's demo.

Numbers that require a gradient behave like Python's floats: the gradient of an expression comes
by itself. Layers are such expressions on arrays. Run it from the repository:

    python examples/moons.py

It prints the gradients of one neuron, the loss and the accuracy of a network with two hidden layers
that is trained with the hinge loss, and a map of the plane: each cell shows the predicted class.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


def neuron() -> dict[str, float]:
    """Return the gradients of tanh(w1·x1 + w2·x2 + b), computed on plain numbers."""
    values = {"x1": 2.0, "w1": -3.0, "x2": 0.0, "w2": 1.0, "b": 7.0}
    at = {name: tg.Tensor(np.float64(value), requires_grad=True) for name, value in values.items()}
    output = tg.tanh(at["w1"] * at["x1"] + at["w2"] * at["x2"] + at["b"])
    output.backward()
    gradients = {name: float(number.grad) for name, number in at.items() if number.grad is not None}
    print(f"tanh({values['w1'] * values['x1'] + values['b']}) = {output.item():.4f}")
    print("gradients:", ", ".join(f"{name} {slope:.4f}" for name, slope in gradients.items()))
    return gradients


def moons(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return points of two interleaved half circles, (count, 2), and their classes, −1 or 1."""
    angle = rng.uniform(0.0, np.pi, count)
    side = rng.choice([-1.0, 1.0], count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * side[:, None]
    points += np.stack([(1 - side) / 2, (1 - side) / 4], axis=1)
    points += rng.normal(0.0, 0.1, points.shape)
    return points.astype("f4"), side.astype("f4")


def hinge(scores: tg.Tensor, classes: np.ndarray) -> tg.Tensor:
    """Return the mean of max(0, 1 − y·f(x)): 0 where every point is right by a margin of 1."""
    return tg.relu(1.0 - scores * classes).mean()


def separate(steps: int) -> tuple[list[float], float, nn.Module]:
    """Train on all points at once; return the losses, the accuracy and the network."""
    rng = np.random.default_rng(0)
    points, classes = moons(100, rng)
    model = nn.Sequential(
        nn.Linear(2, 16, rng=rng), nn.ReLU(),
        nn.Linear(16, 16, rng=rng), nn.ReLU(), nn.Linear(16, 1, rng=rng),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), lr=1.0, weight_decay=2e-4)
    schedule = optim.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=steps)
    losses: list[float] = []
    for _ in range(steps):
        loss = hinge(model(points)[:, 0], classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    accuracy = float((np.sign(model(points).numpy()[:, 0]) == classes).mean())
    return losses, accuracy, model


def plane(model: nn.Module, rows: int = 16, columns: int = 48) -> str:
    """Return a map of the predicted classes as text."""
    x, y = np.meshgrid(np.linspace(-1.5, 2.5, columns), np.linspace(1.5, -1.0, rows))
    with tg.no_grad():
        scores = model(np.stack([x.ravel(), y.ravel()], axis=1).astype("f4")).numpy()
    marks = np.where(scores.reshape(rows, columns) > 0, "#", ".")
    return "\n".join("".join(line) for line in marks)


def main(steps: int = 100) -> tuple[dict[str, float], list[float], float]:
    """Return the neuron's gradients, the network's losses and its accuracy."""
    gradients = neuron()
    losses, accuracy, model = separate(steps)
    print(f"\nhinge loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.0%}\n")
    print(plane(model))
    return gradients, losses, accuracy


if __name__ == "__main__":
    main()
