"""Draws the ready models of docs/models.md: ``python -m support.model_pictures docs/pictures``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.nn import Module, models

PICTURES: dict[str, tuple[Callable[[], Module], tuple[int, ...], int]] = {  # shape, depth
    "resnet20": (lambda: models.resnet20(), (8, 3, 32, 32), 2),
    "resnet-block": (lambda: models.resnet.BasicBlock(16, 32, 2, "projected"), (8, 16, 32, 32), 1),
    "mobilenet": (lambda: models.MobileNetV2(10, stem="small"), (8, 3, 32, 32), 2),
    "densenet": (lambda: models.DenseNet(depths=(3, 3)), (8, 3, 32, 32), 2),
    "unet": (lambda: models.UNet(), (1, 3, 64, 64), 1),
    "dcgan-generator": (lambda: models.DCGANGenerator(), (1, 100), 2),
    "dcgan-discriminator": (lambda: models.DCGANDiscriminator(), (1, 3, 64, 64), 2),
    "autoencoder": (lambda: models.ConvAutoencoder(), (1, 1, 28, 28), 2),
}


def main(folder: Path) -> None:
    for name, (make, shape, depth) in PICTURES.items():
        model = make()
        x = tg.Tensor(np.zeros(shape, "f4"), name="x")
        drawing = tg.draw(model(x), depth=depth, names=model)
        drawing.render(folder / f"{name}.svg")


if __name__ == "__main__":
    tg.manual_seed(0)
    main(Path(sys.argv[1]))
