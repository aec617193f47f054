"""Entries of matrix products and convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_cnn.derivation.entries.registry import (
    Letters,
    Local,
    at,
    entry,
    equal,
    place,
    shape_of,
    shared_axes,
)
from tinygrad_cnn.derivation.notation import Index
from tinygrad_cnn.derivation.paths import Edge
from tinygrad_cnn.derivation.symbols import kept_by, options_of
from tinygrad_cnn.engine.windows import pair


@entry(("linear", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    p = letters.fresh(edge.target.shape[-1])
    return (*y[:-1], p), at("w", (y[-1], p))


@entry(("linear", "w"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    p = letters.fresh(edge.target.shape[-1])
    return (y[-1], p), at("x", (*y[:-1], p))


@entry(("linear", "bias"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    return y[-1:], "1"


@entry(("matmul", "a"), ("matmul", "b"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    kept = kept_by(edge.node)
    own = edge.derivative.of
    shapes = {own: edge.target.shape}
    other = "b" if own == "a" else "a"
    shapes[other] = shape_of(kept[other])
    rows, columns = len(shapes["a"]) > 1, len(shapes["b"]) > 1
    lead = y[: len(y) - rows - columns]
    k = letters.fresh(shapes["a"][-1])
    tails = {
        "a": (y[len(lead)], k) if rows else (k,),
        "b": (k, y[-1]) if columns else (k,),
    }
    index = {name: (*shared_axes(lead, shapes[name][:-2]), *tail) for name, tail in tails.items()}
    return index[own], at(other, index[other])


@dataclass(frozen=True)
class _Convolution:
    """The entries of image and kernel that are multiplied for an entry of the result.

    Attributes
    ----------
    w : tuple of str
        The index of the kernel entry.
    x : tuple of str
        The index of the image entry, in terms of the other two; "" on an axis of length 1.
    inside : tuple of str
        The brackets that constrain x on axes of length 1.
    padded : bool
        Whether x may be outside the image.
    """

    w: Index
    x: Index
    inside: tuple[str, ...]
    padded: bool

    @classmethod
    def of(cls, edge: Edge, y: Index, letters: Letters) -> _Convolution:
        options = options_of(edge.node)
        shapes = {edge.derivative.of: edge.target.shape}
        for other in {"x", "w"} - set(shapes):
            shapes[other] = shape_of(kept_by(edge.node)[other])
        o, channels, *size = shapes["w"]
        strides, dilations = (pair("conv2d", n, options[n], 1) for n in ("stride", "dilation"))
        paddings = _before(options["padding"], dilations, size)
        kernel = tuple(letters.fresh(n) for n in (channels, *size))
        each = o // options["groups"]  # output channels per group
        group = y[1] if each == 1 or options["groups"] == 1 else f"⌊{y[1]} / {each}⌋"
        first = (channels, group) if options["groups"] > 1 else (0, "")
        cells = [place(first, (1, kernel[0]))] + [
            place((strides[a], y[2 + a]), (dilations[a], kernel[1 + a]), constant=-paddings[a])
            for a in (0, 1)
        ]
        lengths = shapes["x"][1:]
        x = (y[0], *("" if n == 1 else k or "0" for k, n in zip(cells, lengths, strict=True)))
        thin = [k for k, n in zip(cells, lengths, strict=True) if n == 1]
        inside = tuple(bracket for k in thin if (bracket := equal(k, "0")) != "1")
        return cls((y[1], *kernel), x, inside, any(paddings))


def _before(padding: Any, dilations: tuple[int, int], size: Sequence[int]) -> tuple[int, ...]:
    """Return the padding before the first row and the first column."""
    if padding == "same":
        return tuple(d * (k - 1) // 2 for d, k in zip(dilations, size, strict=True))
    return pair("conv2d", "padding", 0 if padding == "valid" else padding, 0)


@entry(("conv2d", "w"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    meets = _Convolution.of(edge, y, letters)
    return meets.w, "·".join([at("x", meets.x), *meets.inside])


@entry(("conv2d", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    meets = _Convolution.of(edge, y, letters)
    weight = "·".join([at("w", meets.w), *meets.inside])
    if not meets.padded:
        return meets.x, weight
    image = tuple(letters.fresh(n) for n in edge.target.shape[2:])
    held = [f"·{equal(r, k)}" for r, k in zip(image, meets.x[2:], strict=True) if r]
    return (*meets.x[:2], *image), weight + "".join(held)


@entry(("conv2d", "bias"), ("conv_transpose2d", "bias"), ("batch_norm", "bias"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    return y[1:2], "1"


@entry(("batch_norm", "x"))
def _(edge: Edge, y: Index, letters: Letters) -> Local:
    """Return the plain derivative; the channel index is shared, as channels are independent."""
    fresh = (letters.fresh(n) for n in (edge.target.shape[0], *edge.target.shape[2:]))
    x = (next(fresh), y[1], *fresh)
    return x, f"∂{at('y', y)}/∂{at('x', x)}"
