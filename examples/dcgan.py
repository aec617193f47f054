"""DCGAN: a generator of digits against a discriminator that tells them from real ones.

The networks and the settings are those of Radford, Metz and Chintala (2016), at a smaller width.
Each step trains the discriminator on a real and a generated batch, then the generator to be taken
for real. Run it from the repository:

    python examples/dcgan.py

It prints both losses, how many images the discriminator finds right, and generated digits.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

LATENT = 32


def real_digits() -> np.ndarray:
    """Return the digits with a border, as values from −1 to 1: (N, 1, 32, 32)."""
    images = tg.data.digits().train.images
    return np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))) / np.float32(127.5) - 1


def bce(logits: tg.Tensor, real: bool) -> tg.Tensor:
    """Return the cross-entropy if all images are real, or all are generated."""
    return tg.binary_cross_entropy_with_logits(logits, np.full(logits.shape, real, "f4"))


def as_text(image: np.ndarray) -> list[str]:
    """Return an image with values from −1 to 1 as lines of characters, every second row."""
    return ["".join(" .:*#"[int(2.49 * (v + 1))] for v in row) for row in image[::2]]


def main(
    steps: int = 400, width: int = 16, batch_size: int = 32
) -> tuple[list[tuple[float, float]], list[float], np.ndarray]:
    """Return both losses of each step, the share found right by step, and generated images."""
    rng = tg.manual_seed(0)
    digits = real_digits()
    generator = nn.models.DCGANGenerator(LATENT, channels=1, width=width, image_size=32)
    discriminator = nn.models.DCGANDiscriminator(channels=1, width=width, image_size=32)
    of_generator = optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    of_discriminator = optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    losses: list[tuple[float, float]] = []
    shares: list[float] = []
    for step in range(steps):
        real = digits[rng.integers(len(digits), size=batch_size)]
        noise = rng.normal(size=(batch_size, LATENT)).astype("f4")
        made = generator(noise)

        on_real, on_made = discriminator(real), discriminator(made.detach())
        loss = bce(on_real, real=True) + bce(on_made, real=False)
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()

        deception = bce(discriminator(made), real=True)
        of_generator.zero_grad()
        deception.backward()
        of_generator.step()

        losses.append((loss.item(), deception.item()))
        shares.append(float(((on_real.numpy() > 0).mean() + (on_made.numpy() < 0).mean()) / 2))
        if step % 50 == 49:
            of_both = np.mean(losses[-50:], axis=0)
            print(f"step {step + 1}   discriminator {of_both[0]:.2f}   generator {of_both[1]:.2f}"
                  f"   found right {np.mean(shares[-50:]):.0%}")  # fmt: skip
    generator.eval()
    with tg.no_grad():
        images = generator(rng.normal(size=(4, LATENT)).astype("f4")).numpy()[:, 0]
    for lines in zip(*map(as_text, images[:3]), strict=True):
        print("".join(lines).rstrip())
    return losses, shares, images


if __name__ == "__main__":
    main()
