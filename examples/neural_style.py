"""Neural style: an image is optimized until its features match those of a texture and of a picture.

The style is the Gram matrices of feature maps, the content the maps themselves (Gatys, Ecker and
Bethge, 2016). The variable is the image: the gradient goes to its pixels, and L-BFGS updates them.
Random filters of three sizes replace a pretrained network, which is enough for textures
(Ustyuzhaninov et al., 2017). Run it from the repository:

    python examples/neural_style.py

It prints the loss after each step, and the share of the style loss that is left.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

Features = Callable[[tg.Tensor], list[tg.Tensor]]


def random_features(filters: int = 16) -> Features:
    """Return a function from images to feature maps of three filter sizes, rectified."""
    layers = [nn.Conv2d(3, filters, size).requires_grad_(False) for size in (3, 5, 7)]
    return lambda image: [tg.relu(layer(image)) for layer in layers]


def gram(maps: tg.Tensor) -> tg.Tensor:
    """Return the mean products of each two feature maps: (1, C, H, W) → (C, C)."""
    rows = maps.reshape(maps.shape[1], -1)  # (C, H·W)
    return rows @ rows.T / rows.shape[1]


def stripes(size: int) -> np.ndarray:
    """Return diagonal stripes in blue and yellow, (1, 3, size, size)."""
    rows, columns = np.indices((size, size))
    wave = 0.5 + 0.5 * np.sin((rows + columns) * 2 * np.pi / 8)
    return np.stack([wave, wave, 1 - wave])[None].astype("f4")


def disk(size: int) -> np.ndarray:
    """Return a bright disk on a dark ground, (1, 3, size, size)."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    inside = rows**2 + columns**2 < (0.3 * size) ** 2
    return np.repeat(0.2 + 0.6 * inside[None, None], 3, axis=1).astype("f4")


def stylize(
    content: np.ndarray, style: np.ndarray, features: Features, steps: int, weight: float = 10.0
) -> tuple[np.ndarray, list[float], list[float]]:
    """Return the image, and the losses of content and style at each step."""
    with tg.no_grad():
        content_maps = features(tg.Tensor(content))[1]
        style_grams = [gram(maps) for maps in features(tg.Tensor(style))]
    image = nn.Parameter(content)
    optimizer = optim.LBFGS([image], max_iter=5, line_search_fn="strong_wolfe")

    def losses() -> tuple[tg.Tensor, tg.Tensor]:
        maps = features(image)
        pairs = zip(maps, style_grams, strict=True)
        of_style = tg.stack([tg.mse(gram(map_), wanted) for map_, wanted in pairs]).sum()
        return tg.mse(maps[1], content_maps), of_style

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        of_content, of_style = losses()
        loss = of_content + weight * of_style
        loss.backward()
        return loss

    history: list[tuple[float, float]] = []
    for step in range(steps):
        with tg.no_grad():
            of_content, of_style = losses()
        history.append((of_content.item(), of_style.item()))
        print(f"step {step}   content {history[-1][0]:.4f}   style {history[-1][1]:.5f}")
        optimizer.step(closure)
    return image.numpy(), [pair[0] for pair in history], [pair[1] for pair in history]


def main(steps: int = 12, size: int = 48) -> tuple[np.ndarray, list[float], list[float]]:
    """Return the stylized image, and the losses of content and style at each step."""
    tg.manual_seed(0)
    image, of_content, of_style = stylize(disk(size), stripes(size), random_features(), steps)
    print(f"{of_style[-1] / of_style[0]:.1%} of the style loss is left")
    return image, of_content, of_style


if __name__ == "__main__":
    main()
