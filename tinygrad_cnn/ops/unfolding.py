"""Windows and blocks of pixels as channels, and back."""

from __future__ import annotations

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.ops.shape import reshape, shape_of, transpose
from tinygrad_cnn.support.arguments import whole


@composition(formula="each C·r² channels as r × r pixels of C channels")
def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """Return images r times as high and wide, made of r² channels each: (..., C·r², H, W).

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., C·r², H, W).
    upscale_factor : int
        r, 1 or more.

    Returns
    -------
    Tensor
        Of shape (..., C, H·r, W·r).

    Raises
    ------
    ValueError
        If the number of channels is no multiple of r².

    Notes
    -----
    y[c, i·r + a, j·r + b] = x[c·r² + a·r + b, i, j]: Shi et al., "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.pixel_shuffle(tg.Tensor([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]), 2).numpy()
    array([[[[1., 2.],
             [3., 4.]]]], dtype=float32)
    """
    name, shape = "pixel_shuffle", shape_of(x)
    r = whole(name, "upscale_factor", upscale_factor)
    if len(shape) < 3 or shape[-3] % (r * r):
        raise ValueError(
            f"{name}: x has shape {shape}, expected (..., C·r², H, W) for upscale_factor r = {r}"
        )
    *lead, channels, height, width = shape
    c = channels // (r * r)
    x = reshape(x, (*lead, c, r, r, height, width))
    x = transpose(x, _order(len(lead), (0, 3, 1, 4, 2)))
    return reshape(x, (*lead, c, height * r, width * r))


@composition(formula="each r × r pixels of C channels as C·r² channels")
def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    """Return images with r × r pixels as r² channels, the inverse of `pixel_shuffle`.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., C, H·r, W·r).
    downscale_factor : int
        r, 1 or more.

    Returns
    -------
    Tensor
        Of shape (..., C·r², H, W).

    Raises
    ------
    ValueError
        If height or width is no multiple of r.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.pixel_unshuffle(tg.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2).numpy().ravel()
    array([1., 2., 3., 4.], dtype=float32)
    """
    name, shape = "pixel_unshuffle", shape_of(x)
    r = whole(name, "downscale_factor", downscale_factor)
    if len(shape) < 3 or shape[-2] % r or shape[-1] % r:
        raise ValueError(
            f"{name}: x has shape {shape}, expected (..., C, H·r, W·r) for downscale_factor r = {r}"
        )
    *lead, c, height, width = shape
    x = reshape(x, (*lead, c, height // r, r, width // r, r))
    x = transpose(x, _order(len(lead), (0, 2, 4, 1, 3)))
    return reshape(x, (*lead, c * r * r, height // r, width // r))


def _order(lead: int, rest: tuple[int, ...]) -> tuple[int, ...]:
    """Return a permutation of axes that leaves the first `lead` in place."""
    return (*range(lead), *(lead + axis for axis in rest))
