"""The compositions: how to draw calls of each, and its value by other means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from support import images
from support.composed_losses import LOSSES
from support.composed_normalizations import NORMALIZATIONS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Composed:
    """How to check a composition.

    Attributes
    ----------
    calls : callable
        ``(draw, s)``, with Hypothesis' ``draw`` and the module `check.strategies`: returns the
        arrays to differentiate by, a tuple in the order of the parameters, and the other arguments
        by name.
    reference : callable
        The function in NumPy or SciPy, written another way; it takes the same arguments.
    order : int
        The highest order of derivatives to check; 0 for a function without derivatives.
    function : callable, optional
        The call to check, for a function that does not take its arrays first, or returns several.
    """

    calls: Callable[[Any, Any], tuple[tuple[Array, ...], dict[str, Any]]]
    reference: Callable[..., Any]
    order: int = 2
    function: Callable[..., Any] | None = None


def one(**drawn: Callable[[Any, Array], Any]) -> Callable[[Any, Any], Any]:
    """Return `calls` with one array of any shape; options are drawn for it, by name."""

    def calls(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
        x = draw(s.arrays())
        return (x,), {name: draw(option(s, x)) for name, option in drawn.items()}

    return calls


def shaped(least: int, **drawn: Callable[[Any, Array], Any]) -> Callable[[Any, Any], Any]:
    """Return `calls` as `one` does, with an array of at least `least` axes."""

    def calls(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
        x = draw(s.arrays(s.shapes(min_dims=least)))
        return (x,), {name: draw(option(s, x)) for name, option in drawn.items()}

    return calls


def an_axis(s: Any, x: Array) -> Any:
    return s.integers(-x.ndim, x.ndim - 1)


def reduced(s: Any, x: Array) -> Any:
    return s.axes(x.ndim)


def kept(s: Any, x: Array) -> Any:
    return s.booleans()


def whole(least: int, most: int) -> Callable[[Any, Array], Any]:
    return lambda s, x: s.integers(least, most)


def weighted(parts: Any) -> Any:
    """Return parts as one vector, from which the order and the place of each can be told."""
    join = tg.concatenate if isinstance(parts[0], tg.Tensor) else np.concatenate
    return join([(k + 1.0) * tg.ravel(part) for k, part in enumerate(parts)])


def squeezing(draw: Any, s: Any) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1, max_side=2)))
    ones = [a for a, n in enumerate(x.shape) if n == 1]
    axes = draw(s.sampled_from([None, tuple(ones), *(a - x.ndim for a in ones)]))
    return (x,), {"axis": axes}


def moving(draw: Any, s: Any) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1)))
    count = draw(s.integers(0, x.ndim))
    old, new = (tuple(draw(s.permutations(range(x.ndim)))[:count]) for _ in range(2))
    if count == 1 and draw(s.booleans()):
        return (x,), {"source": old[0] - x.ndim, "destination": new[0]}
    return (x,), {"source": old, "destination": new}


def splitting(draw: Any, s: Any) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1, max_side=6)))
    axis = draw(s.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    places = s.lists(s.integers(-1, n + 1), max_size=3)
    divisors = [k for k in range(1, n + 1) if n % k == 0]
    return (x,), {"indices_or_sections": draw(s.one_of(s.sampled_from(divisors), places)),
                  "axis": axis}  # fmt: skip


def repeating(draw: Any, s: Any) -> Any:
    x = draw(s.arrays())
    axis = draw(s.one_of(s.none(), s.integers(0, x.ndim - 1))) if x.ndim else None
    n = x.size if axis is None else x.shape[axis]
    counts = s.lists(s.integers(0, 3), min_size=n, max_size=n)
    return (x,), {"repeats": draw(s.one_of(s.integers(0, 3), counts)), "axis": axis}


def rolling(draw: Any, s: Any) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1)))
    axis = draw(s.axes(x.ndim))
    shift = s.integers(-5, 5)
    if isinstance(axis, tuple) and axis and draw(s.booleans()):
        return (x,), {"shift": tuple(draw(shift) for _ in axis), "axis": axis}
    return (x,), {"shift": draw(shift), "axis": axis}


def stacking(draw: Any, s: Any) -> Any:
    shape = draw(s.shapes())
    return tuple(draw(s.arrays(shape)) for _ in range(draw(s.integers(1, 3)))), {}


def spreading(draw: Any, s: Any) -> Any:
    x = draw(s.distinct())
    axis = draw(s.axes(x.ndim))
    n = x.size // np.sum(x, axis).size
    return (x,), {"axis": axis, "keepdims": draw(s.booleans()), "ddof": draw(s.integers(-1, n - 1))}


def spread_apart(draw: Any, s: Any) -> Any:
    """Return a call of std that is not at its kink: a single value has none."""
    (x,), options = spreading(draw, s)
    x = np.concatenate([x, x + 1.0]) if x.ndim else np.array([x, x + 1.0])
    axis = options["axis"]
    gone = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if axis is not None and 0 not in [a % x.ndim for a in gone]:
        options["axis"] = (0, *(a % x.ndim for a in gone))
    return (x,), options | {"ddof": min(options["ddof"], 1)}


def lengths(draw: Any, s: Any) -> Any:
    x = draw(s.distinct()) + 1 / 32  # not 0, and no two of the same size
    ord = draw(s.sampled_from([1, 2, 2.0, 3, 1.5, np.inf]))
    return (x,), {"axis": draw(s.axes(x.ndim)), "keepdims": draw(s.booleans()), "ord": ord}


def vector_norm(x: Array, ord: float, axis: Any, keepdims: bool) -> Any:
    return np.linalg.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)


def flattened(x: Array, start_axis: int, end_axis: int) -> Array:
    for _ in range(end_axis % x.ndim - start_axis % x.ndim):
        a = start_axis % x.ndim
        x = x.reshape(*x.shape[:a], x.shape[a] * x.shape[a + 1], *x.shape[a + 2 :])
    return x


def flattening(draw: Any, s: Any) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1)))
    start, end = sorted(draw(s.integers(0, x.ndim - 1)) for _ in range(2))
    return (x,), {"start_axis": start, "end_axis": end - x.ndim}


def taking(draw: Any, s: Any) -> Any:
    x = draw(s.arrays())
    axis = draw(s.one_of(s.none(), s.integers(-x.ndim, x.ndim - 1))) if x.ndim else None
    n = x.size if axis is None else x.shape[axis]
    shape = draw(s.shapes(min_dims=0, max_dims=2, max_side=3))
    return (x,), {"indices": draw(s.labels(shape, n)) - draw(s.sampled_from([0, n])), "axis": axis}


def picking(draw: Any, s: Any) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1)))
    axis = draw(s.integers(-x.ndim, x.ndim - 1))
    shape = [draw(s.sampled_from([1, n])) for n in x.shape]
    shape[axis] = draw(s.integers(1, 3))
    n = x.shape[axis]
    indices = draw(s.labels(tuple(shape), n)) - draw(s.sampled_from([0, n]))
    return (x,), {"indices": indices, "axis": axis}


def adding(draw: Any, s: Any) -> Any:
    (x,), options = picking(draw, s)
    lines = [n if a != options["axis"] % x.ndim else 1 for a, n in enumerate(x.shape)]
    shape = np.broadcast_shapes(options["indices"].shape, tuple(lines))
    return (x, draw(s.arrays(draw(s.sampled_from([shape, (), (1,) * x.ndim]))))), options


def added(x: Array, values: Array, indices: Array, axis: int) -> Array:
    y = x.copy()
    lines = list(x.shape)
    lines[axis] = 1
    indices = np.broadcast_to(indices, np.broadcast_shapes(indices.shape, tuple(lines)))
    values = np.broadcast_to(values, indices.shape)
    for place in np.ndindex(indices.shape):
        cell = list(place)
        cell[axis] = indices[place]
        y[tuple(cell)] += values[place]
    return y


def setting(draw: Any, s: Any) -> Any:
    x = draw(s.arrays())
    index = draw(s.indices(x.shape))
    shape = draw(s.sampled_from([x[index].shape, ()]))
    return (x, draw(s.arrays(shape))), {"index": index, "accumulate": draw(s.booleans())}


def assigned(x: Array, values: Array, index: Any, accumulate: bool) -> Array:
    y = x.copy()
    if accumulate:
        np.add.at(y, index, values)
    else:
        y[index] = values
    return y


def ordering(draw: Any, s: Any) -> Any:
    x = draw(s.distinct(s.shapes(min_dims=1)))
    axis = draw(s.one_of(s.none(), s.integers(-x.ndim, x.ndim - 1)))
    return (x,), {"axis": axis, "descending": draw(s.booleans())}


def in_order(x: Array, axis: int | None, descending: bool) -> Array:
    y = np.sort(x, axis)
    return np.flip(y, -1 if axis is None else axis) if descending else y


def places_in_order(x: Array, axis: int | None, descending: bool) -> Array:
    y = np.argsort(x, axis)
    return np.flip(y, -1 if axis is None else axis) if descending else y


def choosing(draw: Any, s: Any) -> Any:
    x = draw(s.distinct(s.shapes(min_dims=1)))
    axis = draw(s.integers(-x.ndim, x.ndim - 1))
    k = draw(s.integers(0, x.shape[axis]))
    return (x,), {"k": k, "axis": axis, "largest": draw(s.booleans())}


def chosen(x: Array, k: int, axis: int, largest: bool) -> Array:
    y = np.flip(np.sort(x, axis), axis) if largest else np.sort(x, axis)
    return np.take(y, range(k), axis)


SUBSCRIPTS = [
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "ii", "ii->i", "iij->j",
    "iji->ij", "ijji->", "i,j", "i,j->ji", "ij->",
    "ij->ji", "i,i", "ij,ij->i", "ij,ij->j", "ij,ij->ij", "bi,bj->bij", "ij,j,k->ki",
    "i,ij,j->", "...ij,...j", "...i,...i->...", "i...->...", "nchw,oc->nohw", "bqhd,bkhd->bhqk",
    "ijkl,lk->ij", ",i->i", "ab,bc,cd->ad", "aab,b->a", "ki,kj->ij", "ik,jk->ij", "i,i,i->i",
    "ij,i->", "...,...",
]  # fmt: skip


def contracting(draw: Any, s: Any) -> Any:
    subscripts = draw(s.sampled_from(SUBSCRIPTS))
    sizes = {letter: draw(s.integers(1, 3)) for letter in sorted({*subscripts} - {*".,->"})}
    rest = draw(s.shapes(min_dims=0, max_dims=1, max_side=3)) if "..." in subscripts else ()
    arrays = []
    for term in subscripts.partition("->")[0].split(","):
        before, dots, behind = term.partition("...")
        lengths = [
            *(sizes[k] for k in before),
            *(rest if dots else ()),
            *(sizes[k] for k in behind),
        ]
        if len({*term}) == len(term) or dots:  # an axis of length 1 broadcasts
            lengths = [draw(s.sampled_from([n, n, n, 1])) for n in lengths]
        arrays.append(draw(s.arrays(tuple(lengths))))
    return tuple(arrays), {"subscripts": subscripts}


def contracting_axes(draw: Any, s: Any) -> Any:
    shared = draw(s.shapes(min_dims=0, max_dims=2, max_side=3))
    rows, columns = (draw(s.shapes(min_dims=0, max_dims=2, max_side=3)) for _ in range(2))
    a, b = draw(s.arrays((*rows, *shared))), draw(s.arrays((*shared, *columns)))
    count = len(shared)
    if draw(s.booleans()):
        return (a, b), {"axes": count}
    first = [len(rows) + k - a.ndim for k in range(count)]
    axes = (first[0], 0) if count == 1 else (first[::-1], [*range(count)][::-1])
    return (a, b), {"axes": axes}


def multiplying(draw: Any, s: Any) -> Any:
    n, k, m = (draw(s.integers(1, 3)) for _ in range(3))
    shapes = [((k,), (k,)), ((n, k), (k,)), ((n, k), (k, m)), ((), (n,)), ((k,), (k, m)),
              ((n, k), (2, k, m)), ((2, n, k), (k, m))]  # fmt: skip
    a, b = draw(s.sampled_from(shapes))
    return (draw(s.arrays(a)), draw(s.arrays(b))), {}


def off_zero(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    return (draw(s.arrays(nonzero=True)),), {}


def hard(x: Array) -> Array:
    return np.clip(x / 6 + 0.5, 0, 1)


def per_channel(draw: Any, s: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
    """Draw x without 0, a kink, and one weight or one for each entry of axis 1."""
    x = draw(s.arrays(s.shapes(min_dims=2), nonzero=True))
    return (x, draw(s.arrays((draw(s.sampled_from([1, x.shape[1]])),)))), {}


COMPOSED: dict[str, Composed] = {
    "affine_grid": Composed(images.mapping, images.affine_grid),
    "grid_sample": Composed(images.reading, images.grid_sample),
    "celu": Composed(
        lambda draw, s: ((draw(s.arrays()),), {"alpha": draw(s.sampled_from([1.0, 0.5]))}),
        lambda x, alpha: np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0),
    ),
    "hardsigmoid": Composed(one(), hard),
    "hardswish": Composed(one(), lambda x: x * hard(x)),
    "logsigmoid": Composed(one(), lambda x: -np.logaddexp(0, -x)),
    "prelu": Composed(
        per_channel,
        lambda x, w: (
            np.maximum(x.T, 0).T + np.swapaxes(w * np.minimum(np.swapaxes(x, 1, -1), 0), 1, -1)
        ),
    ),
    "relu6": Composed(one(), lambda x: np.clip(x, 0, 6)),
    "selu": Composed(
        off_zero,
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    ),
    "softsign": Composed(off_zero, lambda x: x / (1 + np.abs(x))),
    "tanhshrink": Composed(one(), lambda x: x - 1 + 2 / (np.exp(2 * x) + 1)),
    "adaptive_avgpool": Composed(
        lambda draw, s: images.adapting(draw, s, 2, distinct=False),
        lambda x, output_size: images.adaptive(x, output_size, 2, np.mean),
    ),
    "adaptive_avgpool1d": Composed(
        lambda draw, s: images.adapting(draw, s, 1, distinct=False),
        lambda x, output_size: images.adaptive(x, output_size, 1, np.mean),
    ),
    "adaptive_maxpool": Composed(
        lambda draw, s: images.adapting(draw, s, 2, distinct=True),
        lambda x, output_size: images.adaptive(x, output_size, 2, np.max),
    ),
    "adaptive_maxpool1d": Composed(
        lambda draw, s: images.adapting(draw, s, 1, distinct=True),
        lambda x, output_size: images.adaptive(x, output_size, 1, np.max),
    ),
    "avgpool1d": Composed(lambda draw, s: images.pooling(draw, s, largest=False), images.avgpool1d),
    "conv1d": Composed(images.convolving, images.conv1d),
    "conv_transpose1d": Composed(images.transposing, images.conv_transpose1d),
    "interpolate": Composed(images.resizing, images.interpolate),
    "maxpool1d": Composed(lambda draw, s: images.pooling(draw, s, largest=True), images.maxpool1d),
    "pixel_shuffle": Composed(
        lambda draw, s: images.shuffling(draw, s, down=False), images.shuffled
    ),
    "pixel_unshuffle": Composed(
        lambda draw, s: images.shuffling(draw, s, down=True), images.unshuffled
    ),
    "argsort": Composed(ordering, places_in_order, order=0),
    "dot": Composed(multiplying, np.dot),
    "einsum": Composed(
        contracting,
        lambda *arrays, subscripts: np.einsum(subscripts, *arrays),
        function=lambda *arrays, subscripts: tg.einsum(subscripts, *arrays),
    ),
    "index_put": Composed(
        setting,
        assigned,
        function=lambda x, values, **options: tg.index_put(x, values=values, **options),
    ),
    "outer": Composed(lambda draw, s: ((draw(s.arrays()), draw(s.arrays())), {}), np.outer),
    "scatter_add": Composed(
        adding,
        added,
        function=lambda x, values, **options: tg.scatter_add(x, values=values, **options),
    ),
    "sort": Composed(ordering, in_order),
    "take": Composed(taking, np.take),
    "take_along_axis": Composed(picking, np.take_along_axis),
    "tensordot": Composed(contracting_axes, np.tensordot),
    "topk": Composed(choosing, chosen, function=lambda x, **options: tg.topk(x, **options)[0]),
    "all": Composed(one(axis=reduced, keepdims=kept), np.all, order=0),
    "any": Composed(one(axis=reduced, keepdims=kept), np.any, order=0),
    "argmax": Composed(shaped(1, axis=an_axis, keepdims=kept), np.argmax, order=0),
    "argmin": Composed(shaped(1, axis=an_axis, keepdims=kept), np.argmin, order=0),
    "array_split": Composed(
        shaped(1, indices_or_sections=whole(1, 5), axis=an_axis),
        lambda x, **options: weighted(np.array_split(x, **options)),
        function=lambda x, **options: weighted(tg.array_split(x, **options)),
    ),
    "count_nonzero": Composed(one(axis=reduced, keepdims=kept), np.count_nonzero, order=0),
    "diagonal": Composed(shaped(2, offset=whole(-3, 3)), np.diagonal),
    "expand_dims": Composed(
        one(axis=lambda s, x: s.sampled_from([0, -1, (0, -1), (x.ndim, x.ndim + 1)])),
        np.expand_dims,
    ),
    "flatten": Composed(flattening, flattened),
    "hstack": Composed(stacking, lambda *xs: np.hstack(xs), function=lambda *xs: tg.hstack(xs)),
    "moveaxis": Composed(moving, np.moveaxis),
    "norm": Composed(lengths, vector_norm),
    "prod": Composed(one(axis=reduced, keepdims=kept), np.prod),
    "ravel": Composed(lambda draw, s: ((draw(s.arrays()),), {}), np.ravel),
    "repeat": Composed(repeating, np.repeat),
    "roll": Composed(rolling, np.roll),
    "split": Composed(
        splitting,
        lambda x, **options: weighted(np.split(x, **options)),
        function=lambda x, **options: weighted(tg.split(x, **options)),
    ),
    "squeeze": Composed(squeezing, np.squeeze),
    "std": Composed(spread_apart, np.std),
    "swapaxes": Composed(shaped(1, axis1=an_axis, axis2=an_axis), np.swapaxes),
    "tile": Composed(
        one(reps=lambda s, x: s.one_of(s.integers(0, 3), s.lists(s.integers(0, 2), max_size=4))),
        np.tile,
    ),
    "tril": Composed(shaped(2, k=whole(-3, 3)), np.tril),
    "triu": Composed(shaped(2, k=whole(-3, 3)), np.triu),
    "var": Composed(spreading, np.var),
    "vstack": Composed(stacking, lambda *xs: np.vstack(xs), function=lambda *xs: tg.vstack(xs)),
    **{name: Composed(*entry) for name, entry in (LOSSES | NORMALIZATIONS).items()},
}
