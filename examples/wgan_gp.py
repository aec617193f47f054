"""WGAN-GP: two networks that play against each other, with a penalty on a gradient.

The critic scores points high where data are and low where generated ones are; its slope is kept
near 1 by (‖∇ critic‖ − 1)² at random points between both (Gulrajani et al., 2017). The penalty
contains a gradient, so that training needs the gradient of a gradient: `tg.grad(...,
create_graph=True)`. The data are eight groups of points on a circle. Run it from the repository:

    python examples/wgan_gp.py

It prints the critic's estimate of the distance between both distributions, and how many generated
points lie near a group.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

BATCH, PENALTY, CRITIC_STEPS = 128, 1.0, 5


def perceptron(*sizes: int) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def points(rng: np.random.Generator, count: int = BATCH) -> np.ndarray:
    """Return points near eight places on the unit circle, (count, 2)."""
    angle = rng.integers(8, size=count) * np.pi / 4
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (circle + rng.normal(0.0, 0.02, circle.shape)).astype("f4")


def gradient_penalty(critic: nn.Module, between: np.ndarray) -> tg.Tensor:
    """Return the mean of (‖∇ critic(x)‖ − 1)² over the points `between`."""
    x = tg.Tensor(between, requires_grad=True)
    (slope,) = tg.grad(critic(x).sum(), [x], create_graph=True)
    return ((tg.norm(slope, axis=1) - 1.0) ** 2).mean()


def near(made: np.ndarray) -> float:
    """Return the share of points that lie within 0.2 of one of the eight places."""
    angle = np.arange(8) * np.pi / 4
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return float((np.linalg.norm(made[:, None] - places, axis=2).min(axis=1) < 0.2).mean())


def main(steps: int = 800) -> tuple[list[float], float, float]:
    """Return the critic's estimates, and the share of points near a group, before and after."""
    rng = tg.manual_seed(0)
    generator, critic = perceptron(4, 64, 64, 2), perceptron(2, 64, 64, 1)
    of_generator = optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    of_critic = optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))

    def noise(count: int = BATCH) -> np.ndarray:
        return rng.normal(size=(count, 4)).astype("f4")

    before = near(generator(noise(1000)).numpy())
    estimates: list[float] = []
    for step in range(steps):
        for _ in range(CRITIC_STEPS):
            real = points(rng)
            with tg.no_grad():
                made = generator(noise()).numpy()
            share = rng.random((BATCH, 1)).astype("f4")
            distance = critic(real).mean() - critic(made).mean()
            penalty = gradient_penalty(critic, share * real + (1 - share) * made)
            of_critic.zero_grad()
            (PENALTY * penalty - distance).backward()
            of_critic.step()
            estimates.append(distance.item())
        of_generator.zero_grad()
        (-critic(generator(noise())).mean()).backward()
        of_generator.step()
        if step % 200 == 199:
            print(f"step {step + 1}   distance {np.mean(estimates[-50:]):.3f}")
    after = near(generator(noise(1000)).numpy())
    print(f"points near a group: {before:.0%} before, {after:.0%} after training")
    return estimates, before, after


if __name__ == "__main__":
    main()
