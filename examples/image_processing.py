"""Image processing with the ops of a CNN (section 0.2 of the text): convolution and pooling.

A photograph is blurred, sharpened and searched for edges by `conv2d`, with kernels that a person
chose instead of training, and shrunk by `maxpool` and `avgpool`. The result is one figure.

    python examples/image_processing.py [FOLDER]     # default: runs/image_processing

The photograph of Grace Hopper, by James S. Davis for the US Navy (public domain), ships with
Matplotlib.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg

POOL = 8  # pixels of a pooling window's side

SOBEL_X = np.outer([1, 2, 1], [-1, 0, 1])  # smooth down, differentiate across
SHARPEN = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])


def photograph() -> np.ndarray:
    """Return a photograph as (H, W, 3), from 0 to 1."""
    from matplotlib import cbook
    from PIL import Image

    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)  # pyright: ignore[reportUnknownMemberType]  # Matplotlib's
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    return pixels[8:392, 68:452]  # head and shoulders, 384 × 384


def filtered(channels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return each channel, convolved with the kernel: (C, H, W) → (C, H, W).

    The border is repeated outwards first, so that it does not count as an edge.
    """
    half = len(kernel) // 2
    x = np.pad(channels, ((0, 0), (half, half), (half, half)), mode="edge")
    w = kernel.astype(x.dtype)[np.newaxis, np.newaxis]  # (1, 1, K, K)
    return tg.conv2d(x[:, np.newaxis], w)[:, 0]  # the channels are a batch of gray images


def process(image: np.ndarray) -> dict[str, np.ndarray]:
    """Return every result by its name, color ones as (H, W, 3), others as (H, W)."""
    color = image.transpose(2, 0, 1)  # (3, H, W)
    gray = np.tensordot([0.299, 0.587, 0.114], color, 1)[np.newaxis].astype(image.dtype)
    bell = np.array([1, 8, 28, 56, 70, 56, 28, 8, 1]) / 256  # binomial: nearly a Gaussian
    edges_x, edges_y = filtered(gray, SOBEL_X)[0], filtered(gray, SOBEL_X.T)[0]
    return {
        "original": image,
        "blur": filtered(color, np.outer(bell, bell)).transpose(1, 2, 0),
        "sharpen": filtered(color, SHARPEN).transpose(1, 2, 0),
        "max pooling": tg.maxpool(color[np.newaxis], POOL)[0].transpose(1, 2, 0),
        "edges across": edges_x,
        "edges down": edges_y,
        "edge strength": np.hypot(edges_x, edges_y),
        "average pooling": tg.avgpool(color[np.newaxis], POOL)[0].transpose(1, 2, 0),
    }


CAPTIONS = {
    "original": "384 × 384 pixels",
    "blur": "conv2d, 9 × 9 binomial kernel",
    "sharpen": "conv2d, 5 at the center, −1 beside it",
    "max pooling": f"maxpool, windows of {POOL} × {POOL}",
    "edges across": "conv2d, Sobel: right − left",
    "edges down": "conv2d, Sobel: below − above",
    "edge strength": "√(across² + down²)",
    "average pooling": f"avgpool, windows of {POOL} × {POOL}",
}


def draw(results: dict[str, np.ndarray], path: Path) -> None:
    """Write all results as one figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.14, wspace=0.02, hspace=0.03)
    figure = Figure(figsize=(12, 7.0), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    for axes, (name, values) in zip(figure.subplots(2, 4).flat, results.items(), strict=True):
        if values.ndim == 3:
            axes.imshow(values.clip(0, 1), interpolation="nearest")
        elif name == "edge strength":
            axes.imshow(values, cmap="gray_r", vmin=0, vmax=np.quantile(values, 0.99))
        else:  # white is 0, blue and orange are the two signs
            limit = np.quantile(abs(values), 0.99)
            axes.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit)
        axes.set_title(name, loc="left", fontsize=13, fontweight="bold", pad=18)
        axes.text(0, 1.02, CAPTIONS[name], transform=axes.transAxes, fontsize=9.5, color="0.35")
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_color("0.8")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)  # pyright: ignore[reportUnknownMemberType]  # Matplotlib's


def main(folder: str | Path = "runs/image_processing") -> dict[str, np.ndarray]:
    results = process(photograph())
    for name, values in results.items():
        size = " × ".join(map(str, values.shape[:2]))
        print(f"{name:16} {size:10} from {values.min():6.2f} to {values.max():5.2f}")
    path = Path(folder) / "image_processing.png"
    draw(results, path)
    print(f"\nwritten: {path}")
    return results


if __name__ == "__main__":
    main(*sys.argv[1:2])
