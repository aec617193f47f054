"""A table of calls of every op, for the tests that hold for all of them.

A `Case` names an op and the parameters that its calls are differentiated by, and draws such calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
from support import strategies as some
from support.strategies import Array, Shape, sixteenths

NONZERO = {"nonzero": True}
POSITIVE = {"low": 1 / 16}
CHOICE = {"low": -1.0, "high": 1.0}  # 33 values: ties are common


@dataclass(frozen=True)
class Call:
    """A call of an op: what it is differentiated by, in `inputs`, and everything else."""

    op: str
    names: tuple[str, ...]
    inputs: tuple[Array, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *inputs: Any) -> Any:
        """Make the call with other inputs: arrays or Tensors."""
        op = tg.OPS[self.op]
        if op.sequence:
            return op(list(inputs), **self.options)
        return op(**dict(zip(self.names, inputs, strict=True)), **self.options)

    def leaves(self, dtype: Any = np.float64) -> list[tg.Tensor]:
        return [tg.Tensor(x, requires_grad=True, dtype=dtype) for x in self.inputs]


@dataclass(frozen=True)
class Case:
    """How to draw calls of `op` that are differentiated by `names`."""

    op: str
    names: tuple[str, ...]
    calls: st.SearchStrategy[Call]
    note: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, [self.op, *self.names, self.note]))


CASES: list[Case] = []


def case(op: str, *names: str, note: str = "") -> Callable[[Any], Any]:
    """Register a case: the decorated function draws inputs and options."""

    def register(draw_call: Callable[[st.DrawFn], tuple[list[Array], dict[str, Any]]]) -> Any:
        @st.composite
        def calls(draw: st.DrawFn) -> Call:
            inputs, options = draw_call(draw)
            return Call(op, names * len(inputs) if op in SEQUENCES else names,
                        tuple(inputs), options)  # fmt: skip

        CASES.append(Case(op, names, calls(), note))
        return draw_call

    return register


SEQUENCES = ("concatenate", "stack")


def elementwise(op: str, *domains: dict[str, Any], note: str = "", **options: Any) -> None:
    """Register an elementwise op, each of its arguments drawn from a domain."""
    names = tuple(tg.OPS[op].derivatives)[: len(domains)]

    @case(op, *names, note=note)
    def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
        shapes = draw(some.broadcasting_shapes(len(domains)))
        drawn = {
            name: draw(value) if isinstance(value, st.SearchStrategy) else value
            for name, value in options.items()
        }
        inputs = [draw(sixteenths(s, **d)) for s, d in zip(shapes, domains, strict=True)]
        return inputs, drawn


# --- arithmetic.py and activation.py -------------------------------------------------------------

for name in ("add", "sub", "mul"):
    elementwise(name, {}, {})
elementwise("div", {}, NONZERO)
for name in ("maximum", "minimum"):
    elementwise(name, CHOICE, CHOICE)
for name in ("neg", "exp", "tanh", "sigmoid", "softplus", "relu"):
    elementwise(name, {})
elementwise("leaky_relu", {}, negative_slope=st.sampled_from([0.01, 0.5, 0.0, -1.0]))
for name in ("log", "sqrt"):
    elementwise(name, POSITIVE)
elementwise("abs", NONZERO)
elementwise("clip", {}, low=-1.0, high=st.sampled_from([0.5, 1.0, None]), note="low")
elementwise("clip", {}, high=0.5, note="high")
elementwise("astype", {}, dtype="f8")
elementwise("pow", POSITIVE, {})
elementwise("pow", {}, b=st.sampled_from([0, 1, 2, 3.0]), note="whole")
elementwise("pow", NONZERO, b=st.sampled_from([-1, -2.0, np.array([-3.0])]), note="negative")
elementwise("pow", POSITIVE, b=st.sampled_from([0.5, -0.5, 2.5]), note="fraction")


@case("pow", "b")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    return [draw(sixteenths())], {"a": draw(st.sampled_from([2.0, 0.5, np.array([3.0])]))}


@case("where", "a", "b")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    c, a, b = draw(some.broadcasting_shapes(3))
    condition = draw(hnp.arrays(bool, c))
    return [draw(sixteenths(a)), draw(sixteenths(b))], {"condition": condition}


@st.composite
def along_axis(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    return [x], {"axis": axis, "temperature": draw(st.sampled_from([1.0, 0.5, 3.0]))}


for name in ("softmax", "log_softmax"):
    case(name, "x")(lambda draw: draw(along_axis()))

# --- reduction.py --------------------------------------------------------------------------------


@st.composite
def reduced(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths(**CHOICE))
    return [x], {"axis": draw(some.axes(x.ndim)), "keepdims": draw(st.booleans())}


for name in ("sum", "mean", "max", "min", "logsumexp"):
    case(name, "x")(lambda draw: draw(reduced()))

# --- shape.py ------------------------------------------------------------------------------------


@case("reshape", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=3))
    new = draw(st.sampled_from([shape[::-1], (*shape, 1), (1, *shape), (-1,), -1]))
    return [draw(sixteenths(shape))], {"shape": new}


@case("transpose", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths())
    order = draw(st.permutations(range(x.ndim)))
    if x.ndim and draw(st.booleans()):
        order[0] -= x.ndim
    return [x], {"axes": draw(st.sampled_from([None, tuple(order)]))}


@case("broadcast_to", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape, other = draw(some.broadcasting_shapes(2))
    return [draw(sixteenths(shape))], {"shape": np.broadcast_shapes(shape, other)}


@case("sum_to", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape, other = draw(some.broadcasting_shapes(2))
    return [draw(sixteenths(np.broadcast_shapes(shape, other)))], {"shape": shape}


@case("getitem", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths())
    return [x], {"index": draw(some.indices(x.shape))}


@case("put", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape = draw(some.shapes)
    index = draw(some.indices(shape))
    return [draw(sixteenths(np.shape(np.zeros(shape)[index])))], {"index": index, "shape": shape}


@case("concatenate", "arrays")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    parts = [
        tuple(n if a == axis % len(shape) else m for a, m in enumerate(shape)) for n in lengths
    ]
    return [draw(sixteenths(part)) for part in parts], {"axis": axis}


@case("stack", "arrays")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    count = draw(st.integers(1, 3))
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return [draw(sixteenths(shape)) for _ in range(count)], {"axis": axis}


@case("pad", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths())
    width = st.integers(0, 2)
    each = st.tuples(*[st.tuples(width, width)] * x.ndim) if x.ndim else width
    widths = draw(st.one_of(width, st.tuples(width, width), each))
    return [x], {"widths": widths, "value": draw(st.sampled_from([0.0, -1.5]))}


@case("flip", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths())
    return [x], {"axis": draw(some.axes(x.ndim))}


# --- linear.py -----------------------------------------------------------------------------------


@case("matmul", "a", "b")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    a, b = draw(some.matmul_shapes)
    return [draw(sixteenths(a)), draw(sixteenths(b))], {}


def linear_shapes(draw: st.DrawFn) -> tuple[Shape, Shape]:
    lead = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return (*lead, inputs), (outputs, inputs)


@case("linear", "x", "w")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    return [draw(sixteenths(shape)) for shape in linear_shapes(draw)], {}


@case("linear", "x", "w", "bias")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x, w = linear_shapes(draw)
    return [draw(sixteenths(shape)) for shape in (x, w, w[:1])], {}


# --- convolution.py ------------------------------------------------------------------------------


@case("conv2d", "x", "w")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.convolutions())
    return [draw(sixteenths(at.x)), draw(sixteenths(at.w))], at.options


@case("conv2d", "x", "w", "bias")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.convolutions())
    return [draw(sixteenths(shape)) for shape in (at.x, at.w, at.w[:1])], at.options


def convolved(draw: st.DrawFn) -> tuple[some.Convolution, Shape]:
    """Draw a convolution and the shape of its result."""
    at = draw(some.convolutions())
    return at, tg.conv2d.forward(np.zeros(at.x), np.zeros(at.w), None, **at.options).shape


@case("conv2d_input_gradient", "u", "w")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at, u = convolved(draw)
    return [draw(sixteenths(u)), draw(sixteenths(at.w))], {"shape": at.x, **at.options}


@case("conv2d_weight_gradient", "u", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at, u = convolved(draw)
    return [draw(sixteenths(u)), draw(sixteenths(at.x))], {"shape": at.w, **at.options}


@case("conv_transpose2d", "x", "w")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.transposed_convolutions())
    return [draw(sixteenths(at.x)), draw(sixteenths(at.w))], at.options


@case("conv_transpose2d", "x", "w", "bias")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.transposed_convolutions())
    bias = (at.w[1] * at.options["groups"],)
    return [draw(sixteenths(shape)) for shape in (at.x, at.w, bias)], at.options


# --- pooling.py ----------------------------------------------------------------------------------


@case("maxpool", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.poolings())
    return [draw(st.one_of(some.distinct(at.x), sixteenths(at.x, **CHOICE)))], at.options


def pooled(draw: st.DrawFn) -> tuple[some.Pooling, Array]:
    """Draw a pooling and, for each of its windows, one of the window's cells."""
    at = draw(some.poolings())
    windows = tg.maxpool.forward(np.zeros(at.x), **at.options).shape
    cells = int(np.prod(some.both(at.options["kernel_size"])))
    return at, np.random.default_rng(draw(some.seeds)).integers(cells, size=windows)


@case("gather_windows", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at, winner = pooled(draw)
    return [draw(sixteenths(at.x))], {"winner": winner, **at.options}


@case("scatter_windows", "u")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at, winner = pooled(draw)
    return [draw(sixteenths(winner.shape))], {"winner": winner, "shape": at.x, **at.options}


@case("avgpool", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.poolings(average=True))
    return [draw(sixteenths(at.x))], at.options


@case("avgpool_gradient", "u")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    at = draw(some.poolings(average=True))
    u = tg.avgpool.forward(np.zeros(at.x), **at.options).shape
    return [draw(sixteenths(u))], {"shape": at.x, **at.options}


# --- loss.py and regularization.py ---------------------------------------------------------------

reductions = st.sampled_from(["mean", "sum", "none"])

for name in ("mse", "squared_error"):

    @case(name, "prediction", "target")
    def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
        shape = draw(some.shapes)
        return [draw(sixteenths(shape)) for _ in range(2)], {"reduction": draw(reductions)}


def logits_and_options(draw: st.DrawFn) -> tuple[Array, dict[str, Any]]:
    logits = draw(sixteenths(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    smoothing = draw(st.sampled_from([0.0, 0.125, 1.0]))
    return logits, {"reduction": draw(reductions), "label_smoothing": smoothing}


@case("cross_entropy", "logits", note="labels")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    logits, options = logits_and_options(draw)
    labels = st.integers(0, logits.shape[-1] - 1)
    target = draw(hnp.arrays(np.int64, logits.shape[:-1], elements=labels))
    return [logits], {"target": target, **options}


@case("cross_entropy", "logits", note="probabilities")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    logits, options = logits_and_options(draw)
    weights = draw(sixteenths(logits.shape, **POSITIVE))
    return [logits], {"target": weights / weights.sum(axis=-1, keepdims=True), **options}


@case("dropout", "x")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    x = draw(sixteenths())
    shape = tuple(draw(st.sampled_from([1, n])) for n in x.shape)
    mask = draw(hnp.arrays(bool, shape))
    return [x], {"mask": mask, "rate": draw(st.sampled_from([0.0, 0.25, 0.5]))}


@case("batch_norm", "x", "w", "bias")
def _(draw: st.DrawFn) -> tuple[list[Array], dict[str, Any]]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=3))
    inputs = [draw(sixteenths(s)) for s in (shape, shape[1:2], shape[1:2])]
    return inputs, {"epsilon": draw(st.sampled_from([1e-3, 0.5]))}
