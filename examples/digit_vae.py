"""A variational autoencoder of digits: an encoder, a random code, a decoder, and two losses.

The encoder returns the mean and the logarithm of the variance of a Gaussian; a code drawn from it,
mean + σ·ε, stays differentiable (Kingma and Welling, 2014). The loss is the reconstruction's
cross-entropy plus the Kullback-Leibler divergence from N(0, 1). Run it from the repository:

    python examples/digit_vae.py

It prints both parts of the loss after each epoch, and digits that the decoder makes from noise.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader

PIXELS = 28 * 28


class VAE(nn.Module):
    """Perceptrons from an image to the Gaussian of its code, and from a code to an image."""

    def __init__(self, hidden: int = 200, code: int = 10) -> None:
        self.code = code
        self.encoder = nn.Sequential(nn.Linear(PIXELS, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, code)
        self.log_variance = nn.Linear(hidden, code)
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, PIXELS))

    def forward(self, x: np.ndarray, noise: np.ndarray) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        """Return the logits of the pixels, and the mean and log-variance of the code."""
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + tg.exp(0.5 * log_variance) * noise
        return self.decoder(z), mean, log_variance


def losses(model: VAE, x: np.ndarray, noise: np.ndarray) -> tuple[tg.Tensor, tg.Tensor]:
    """Return the reconstruction loss and the divergence, each as a mean over the images."""
    logits, mean, log_variance = model(x, noise)
    reconstruction = tg.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    divergence = -0.5 * (1.0 + log_variance - mean**2 - tg.exp(log_variance)).sum() / len(x)
    return reconstruction, divergence


def as_text(image: np.ndarray) -> str:
    """Return an image with values from 0 to 1 as lines of characters, every second row."""
    return "\n".join("".join(" .:*#"[int(4.99 * value)] for value in row) for row in image[::2])


def main(epochs: int = 5, examples: int = 10_000) -> tuple[list[tuple[float, float]], np.ndarray]:
    """Return both parts of the loss by epoch, and images made from random codes."""
    digits = tg.data.digits().train
    pixels = digits.images[:examples].reshape(-1, PIXELS).astype("f4") / np.float32(255)
    loader = DataLoader(pixels, batch_size=64, shuffle=True)
    rng = tg.manual_seed(0)
    model = VAE()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    history: list[tuple[float, float]] = []
    for epoch in range(epochs):
        parts: list[tuple[float, float]] = []
        for x in loader:
            noise = rng.normal(size=(len(x), model.code)).astype("f4")
            reconstruction, divergence = losses(model, x, noise)
            optimizer.zero_grad()
            (reconstruction + divergence).backward()
            optimizer.step()
            parts.append((reconstruction.item(), divergence.item()))
        mean = np.mean(parts, axis=0)
        history.append((float(mean[0]), float(mean[1])))
        print(f"epoch {epoch + 1}   reconstruction {mean[0]:.1f}   divergence {mean[1]:.1f}")
    codes = rng.normal(size=(4, model.code)).astype("f4")
    with tg.no_grad():
        made = tg.sigmoid(model.decoder(codes)).numpy().reshape(4, 28, 28)
    print(as_text(np.hstack(list(made[:3]))))
    return history, made


if __name__ == "__main__":
    main()
