"""``tinygrad-cnn derive``: print the chain rule for one parameter of a model."""

from __future__ import annotations

from tinygrad_cnn import ops
from tinygrad_cnn.cli.display import console
from tinygrad_cnn.cli.inputs import model_and_images
from tinygrad_cnn.derivation import derive as write
from tinygrad_cnn.derivation.derivation import FORMATS

__all__ = ["derive"]


def derive(
    model: str,
    wrt: str | None,
    source: str | None,
    images: int,
    seed: int,
    depth: int | None,
    form: str,
) -> int:
    """Print the derivative of the cross-entropy with respect to a parameter.

    Parameters
    ----------
    model, source, images, seed
        See `model_and_images`.
    wrt : str or None
        The name of the parameter. None raises an error that lists the names.
    depth : int or None
        See `tinygrad_cnn.derive`.
    form : str
        The name of a writer in `FORMATS`: "text", "latex" or "markdown".

    Returns
    -------
    int
        0, or 1 if the product differs from the gradient of ``backward()``.
    """
    network, x, labels = model_and_images(model, source, images, seed)
    if wrt is None:
        names = ", ".join(name for name, _ in network.named_parameters())
        raise ValueError(f"derive: --wrt is missing, expected a parameter of {model}: {names}")
    screen = console()
    derivation = write(ops.cross_entropy(network(x), labels), wrt, names=network, depth=depth)
    (written,) = (to_text for to_text in FORMATS.values() if to_text.__name__ == form)
    wide = form == "text" and screen.is_terminal
    screen.print(derivation.text(max(screen.width, 60)) if wide else written(derivation))
    return 0 if derivation.agrees() else 1
