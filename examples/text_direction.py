"""Why does a network say that a line of text stands on its head? Saliency of an ONNX file.

The network is the text-direction classifier of RapidOCR (PaddleOCR's, a MobileNetV3 of 0.6 MB),
that its wheel holds as an ONNX file. `tg.onnx.load` makes a module of it, so its gradient in each
pixel is a call of `backward` away.

    pip install --no-deps rapidocr-onnxruntime
    python examples/text_direction.py                         # default: runs/text_direction
    python examples/text_direction.py FOLDER MODEL.onnx       # any classifier of (N, 3, 48, 192)

It draws a line of text upright and turned by 180°, prints the probabilities, and writes two files:
`text_direction.png`, both pictures with the pixels that the decision depends on, and
`text_direction.html`, a page that steps through forward and backward pass.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn

TEXT = "which way is up?"
HEIGHT, WIDTH = 48, 192
MODEL = "ch_ppocr_mobile_v2.0_cls_infer.onnx"


@dataclass
class Result:
    """What the network says of a picture, and what that depends on."""

    picture: np.ndarray  # (H, W), from 0 (black) to 1
    probabilities: np.ndarray  # (2,), upright and turned
    saliency: np.ndarray  # (3, H, W), gradient of the chosen class's score


def installed() -> Path:
    """Return the path of the classifier in the installed wheel, which is not imported."""
    found = find_spec("rapidocr_onnxruntime")
    if found is None or found.origin is None:
        sys.exit("the classifier is missing: pip install --no-deps rapidocr-onnxruntime")
    return Path(found.origin).parent / "models" / MODEL


def line_of_text(text: str) -> np.ndarray:
    """Return a gray picture of a text, (H, W), from 0 to 1."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (WIDTH, HEIGHT), 255)
    font = ImageFont.load_default(23)
    ImageDraw.Draw(image).text((WIDTH / 2, HEIGHT / 2), text, fill=0, font=font, anchor="mm")
    return np.asarray(image, np.float32) / 255


def score(model: nn.Module, x: tg.Tensor) -> tuple[tg.Tensor, int]:
    """Return the logarithm of the larger probability's odds, and which one it is.

    The file ends with a softmax, whose gradient vanishes where the network is sure.
    """
    probabilities = model(x)  # (1, 2)
    k = int(probabilities.numpy().argmax())
    return tg.log(probabilities[0, k]) - tg.log(probabilities[0, 1 - k]), k


def explain(model: nn.Module, picture: np.ndarray) -> Result:
    """Return probabilities and saliency of a picture (H, W)."""
    pixels = np.repeat(2 * picture[np.newaxis, np.newaxis] - 1, 3, axis=1)  # (1, 3, H, W)
    x = tg.Tensor(pixels, requires_grad=True)
    odds, _ = score(model, x)
    (gradient,) = tg.grad(odds, [x])
    return Result(picture, model(pixels).numpy()[0], gradient[0])


def draw(results: dict[str, Result], path: Path) -> None:
    """Write the pictures, and what the decision depends on, as one figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.05)
    figure = Figure(figsize=(10, 3.6), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2)
    for (left, right), (name, result) in zip(grid, results.items(), strict=True):
        strength = np.abs(result.saliency).max(axis=0)
        limit = np.quantile(strength, 0.995)
        left.imshow(result.picture, cmap="gray", vmin=0, vmax=1)
        right.imshow(1 - 0.25 * (1 - result.picture), cmap="gray", vmin=0, vmax=1)
        right.imshow(np.zeros_like(strength), cmap="autumn", alpha=(strength / limit).clip(0, 1))
        upright, turned = result.probabilities
        left.set_title(name, loc="left", fontsize=12, fontweight="bold")
        right.set_title(
            f"upright {upright:.3f}, turned {turned:.3f}", loc="left", fontsize=11, color="0.25"
        )
        for axes in (left, right):
            axes.set_xticks([])
            axes.set_yticks([])
            for side in axes.spines.values():
                side.set_color("0.8")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)  # pyright: ignore[reportUnknownMemberType]  # Matplotlib's


def step_through(model: nn.Module, result: Result, path: Path) -> None:
    """Write a page that steps through the computation of one picture's score."""
    pixels = np.repeat(2 * result.picture[np.newaxis, np.newaxis] - 1, 3, axis=1)
    x = tg.Tensor(pixels, requires_grad=True, name="picture")
    with tg.trace() as trace:
        odds, _ = score(model, x)
        odds.backward()
    trace.draw(names=model, title="The direction of a line of text").render(path)


def main(
    folder: str | Path = "runs/text_direction", path: str | Path | None = None
) -> dict[str, Result]:
    model = tg.onnx.load(path or installed())
    model.requires_grad_(False)  # only the picture's gradient is wanted
    picture = line_of_text(TEXT)
    pictures = {"upright": picture, "turned by 180°": picture[::-1, ::-1].copy()}
    results = {name: explain(model, picture) for name, picture in pictures.items()}
    for name, result in results.items():
        upright, turned = result.probabilities
        print(f"{name:16} upright {upright:.4f}   turned {turned:.4f}")
    folder = Path(folder)
    draw(results, folder / "text_direction.png")
    step_through(model, results["turned by 180°"], folder / "text_direction.html")
    print(f"\nwritten: {folder / 'text_direction.png'} and {folder / 'text_direction.html'}")
    return results


if __name__ == "__main__":
    main(*sys.argv[1:3])
