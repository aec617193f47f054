"""The numbers that a cell is explained by make its value, and come from where they say."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.printed import check_softmax, check_sum, half_unit, read, recomputed
from support.studio_networks import (
    NETWORKS,
    network,
    normalized,
    outputs,
    picture,
    pictures,
    run_of,
    temperatures,
)

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.studio.encoding import decode
from tinygrad_cnn.studio.explain.cell import explain_cell
from tinygrad_cnn.studio.explain.forward import ExplainError
from tinygrad_cnn.studio.explain.layers import explain_layers
from tinygrad_cnn.studio.explain.printed import PrintedEquation
from tinygrad_cnn.studio.explain.printed import added as sum_of
from tinygrad_cnn.studio.explain.tables import print_softmax, print_sum

FUNCTIONS = {
    "relu": lambda z: max(0.0, z),
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "leaky_relu": lambda z: z if z >= 0 else 0.01 * z,
    "gelu": lambda z: z * math.erfc(-z / math.sqrt(2)) / 2,
    "flatten": lambda z: z,
}
SHAPES = {
    name: [(layer.name, layer.kind, layer.shape) for layer in explain_layers(run(), p).layers]
    for p in [picture(0)]
    for name, run in NETWORKS.items()
}
CELLS = st.sampled_from(
    [(name, layer, shape) for name, layers in SHAPES.items() for layer, _, shape in layers]
).flatmap(
    lambda found: st.tuples(
        st.just(found[0]),
        st.just(found[1]),
        st.tuples(*(st.integers(0, size - 1) for size in found[2])),
    )
)


def made(cell):
    """Return the value that the numbers of an explained cell make, by the kind of its layer."""
    term = cell.terms[0]
    if cell.kind in ("convolution", "dense"):
        total = sum(np.sum(np.multiply(t.patch, t.kernel)) for t in cell.terms)
        return total + (cell.bias or 0.0) + (cell.rest.product_sum if cell.rest else 0.0)
    if cell.kind == "average-pooling":
        return np.sum(np.multiply(term.patch, term.kernel))
    if cell.kind == "max-pooling":
        return max(value for row in term.patch for value in row if value is not None)
    if cell.kind == "batch-norm":
        scale, mean, variance, epsilon = (
            cell.constants[name] for name in ("scale", "mean", "variance", "epsilon")
        )
        return scale * (term.patch[0][0] - mean) / math.sqrt(variance + epsilon) + cell.bias
    if cell.kind == "softmax":
        (own,) = cell.cell
        powers = [math.exp(t.patch[0][0] / cell.constants["temperature"]) for t in cell.terms]
        return powers[own] / sum(powers)
    return FUNCTIONS[cell.kind](term.patch[0][0])


def added(cell):
    """Return the value that the terms of an explained cell add up to, as told."""
    total = sum(t.product_sum for t in cell.terms)
    if cell.kind == "softmax":
        assert math.isclose(total, cell.constants["sum"])
        return cell.terms[cell.cell[0]].product_sum / total
    return total + (cell.bias or 0.0) + (cell.rest.product_sum if cell.rest else 0.0)


def test_every_kind_of_layer_is_among_the_networks():
    kinds = {kind for layers in SHAPES.values() for _, kind, _ in layers}
    assert kinds == {
        "convolution", "max-pooling", "average-pooling", "dense", "batch-norm", "softmax",
        *FUNCTIONS,
    }  # fmt: skip
    cells = [
        explain_cell(network(name), picture(0), layer, [0] * len(shape))
        for name, layers in SHAPES.items() for layer, _, shape in layers
    ]  # fmt: skip
    assert {cell.kind for cell in cells if not cell.sentence} == {"leaky_relu", "gelu"}


@given(CELLS, pictures, temperatures)
def test_the_numbers_make_the_value(where, image, temperature):
    name, layer, index = where
    run = network(name)
    cell = explain_cell(run, image, layer, index, temperature)
    sizes = [abs(t.product_sum) for t in cell.terms] + [abs(cell.value), abs(cell.bias or 0.0)]
    allowed = 2e-5 * max(*sizes, 1.0)
    assert made(cell) == pytest.approx(cell.value, rel=0, abs=allowed)
    assert added(cell) == pytest.approx(cell.value, rel=0, abs=allowed)
    given = {name: output for name, _, output in outputs(run, image)}
    if layer in given:
        expected = float(given[layer][index])
        assert cell.value == pytest.approx(expected, rel=1e-4, abs=allowed)
    json.dumps(dataclasses.asdict(cell), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "layer"), [(name, layer) for name, found in SHAPES.items() for layer, _, _ in found]
)
def test_the_first_and_the_last_cell_of_every_layer_are_explained(name, layer):
    shape = next(shape for known, _, shape in SHAPES[name] if known == layer)
    for index in ([0] * len(shape), [size - 1 for size in shape]):
        cell = explain_cell(network(name), picture(1), layer, index)
        assert added(cell) == pytest.approx(cell.value, abs=1e-4)


@given(CELLS, pictures)
def test_patches_are_what_the_source_shows(where, image):
    name, layer, index = where
    assume((name, layer) != ("odd", "2"))  # its windows have gaps
    run = network(name)
    cell = explain_cell(run, image, layer, index)
    given = {name: output for name, _, output in outputs(run, image)}
    source = (given | {"input": normalized(run, image)[0]})[cell.source.layer]
    if source.ndim < 3 or cell.kind == "flatten":
        for term in cell.terms:
            assert term.patch[0][0] == pytest.approx(float(source[tuple(term.index)]), abs=1e-4)
        return
    rows = slice(cell.source.top, cell.source.bottom)
    columns = slice(cell.source.left, cell.source.right)
    channels = [term.index[0] for term in cell.terms]
    assert channels == list(range(*cell.source.channels))
    for channel, term in zip(channels, cell.terms, strict=True):
        seen = [value for row in term.patch for value in row if value]  # a border is 0 or None
        expected = source[channel, rows, columns]
        np.testing.assert_allclose(seen, expected[expected != 0], rtol=1e-3, atol=1e-4)


@given(pictures, st.integers(0, 5), st.integers(0, 13), st.integers(0, 13))
def test_the_winner_of_a_max_pooling_is_the_first_largest(image, channel, row, column):
    cell = explain_cell(network("lenet5"), image, "pool1", (channel, row, column))
    flat = [value for line in cell.terms[0].patch for value in line]
    assert cell.winner[0] * 2 + cell.winner[1] == flat.index(max(flat))


def test_the_border_of_a_max_pooling_never_wins():
    for channel in range(6):
        cell = explain_cell(network("odd"), picture(channel), "3", (channel, 0, 0))
        (patch,) = (term.patch for term in cell.terms)
        assert patch[0] == [None] * 3
        assert [row[0] for row in patch] == [None] * 3
        assert patch[cell.winner[0]][cell.winner[1]] == cell.value


@given(pictures, st.integers(0, 119))
def test_a_dense_unit_is_told_by_its_largest_terms_and_as_a_picture(image, unit):
    cell = explain_cell(network("lenet5"), image, "fc1", (unit,))
    sizes = [abs(term.product_sum) for term in cell.terms]
    assert (len(sizes), cell.rest.count) == (10, 390)
    assert sizes == sorted(sizes, reverse=True)
    inputs, weights, products = map(decode, dataclasses.astuple(cell.picture))
    assert inputs.shape == (16, 5, 5)
    spread = cell.picture.products["high"] - cell.picture.products["low"]
    weight = dict(network("lenet5").model.named_parameters())["fc1.weight"].data[unit]
    np.testing.assert_allclose(weights.ravel(), weight, atol=np.ptp(weight) / 509)
    assert np.partition(np.abs(products).ravel(), -11)[-11] <= sizes[-1] + spread / 509
    assert products.sum() == pytest.approx(cell.value - cell.bias, abs=400 * spread / 509)
    for term in cell.terms:
        channel, row, column = np.unravel_index(term.index[0], inputs.shape)
        assert term.source == f"channel {channel}, row {row}, column {column}"


@given(CELLS, pictures, temperatures)
@example(("lenet5", "softmax", (3,)), picture(0), 1.0)  # the largest logit was rounded too far
@example(("lenet5", "conv2", (5, 4, 6)), picture(0), 1.0)
@example(("lenet5, tanh, average", "activation1", (0, 3, 3)), picture(2), 1.0)
def test_who_computes_what_is_printed_gets_the_printed_result(where, image, temperature):
    name, layer, index = where
    cell = explain_cell(network(name), image, layer, index, temperature)
    expression, _, result = cell.written.rpartition(" = ")
    if cell.kind == "flatten":
        expression = result
    assert abs(recomputed(expression) - float(read(result))) <= half_unit(result)
    sizes = sum(abs(t.product_sum) for t in cell.terms) + abs(cell.bias or 0.0)
    assert float(read(result)) == pytest.approx(cell.value, abs=half_unit(result) + 1e-5 * sizes)


@given(CELLS, pictures, temperatures)
@example(("lenet5", "conv2", (5, 4, 6)), picture(0), 1.0)
@example(("mlp", "fc.0", (3,)), picture(0), 1.0)
@example(("vgg", "softmax", (0,)), picture(0), 0.25)
def test_every_table_holds_in_its_printed_digits(where, image, temperature):
    name, layer, index = where
    cell = explain_cell(network(name), image, layer, index, temperature)
    if cell.kind == "softmax":
        logits = [term.patch[0][0] for term in cell.terms]
        check_softmax(cell.printed, logits, cell.constants["temperature"])
    elif cell.kind in ("convolution", "dense"):
        assert [np.shape(term.patch) for term in cell.printed.terms] == [
            np.shape(term.patch) for term in cell.terms
        ]
        sizes = sum(abs(t.product_sum) for t in cell.terms)
        check_sum(cell.printed, cell.value, 1e-5 * sizes)
    else:
        assert cell.printed is None


wide = st.floats(-1e6, 1e6).map(lambda x: x * 10.0 ** (round(x) % 17 - 12))


@given(st.lists(st.lists(st.tuples(wide, wide), min_size=1, max_size=9), min_size=1), wide)
@example([[(0.00005, 1.0)]], 0.0)
@example([[(1000.0, 1.0), (-999.99994, 1.0)]], 0.0)
@example([[(0.0, 1.0)]], 0.0)
def test_every_sum_of_products_holds_in_its_printed_digits(terms, bias):
    pairs = [tuple([list(numbers)] for numbers in zip(*term, strict=True)) for term in terms]
    products = [math.fsum(x * w for x, w in term) for term in terms]
    exact = math.fsum([*products, bias])
    sizes = sum(abs(x * w) for term in terms for x, w in term) + abs(bias)
    check_sum(print_sum(pairs, exact, bias=bias), exact, 1e-7 * sizes)


@given(
    st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=12), st.sampled_from([0.25, 1.0, 3])
)
def test_every_softmax_holds_in_its_printed_digits(logits, temperature):
    check_softmax(print_softmax(logits, temperature), logits, temperature)


def test_the_maximum_of_a_large_window_is_among_the_numbers_that_are_written():
    model = nn.Sequential(
        nn.MaxPool2d(7), nn.Flatten(), nn.Linear(16, 10, rng=np.random.default_rng(0))
    )
    cell = explain_cell(run_of(model), picture(1), "0", (0, 1, 2))
    expression, _, result = cell.written.rpartition(" = ")
    assert "37 smaller ones" in expression
    assert recomputed(expression) == float(read(result)) == pytest.approx(cell.value, rel=1e-3)


numbers = st.floats(-1e4, 1e4, width=32)


@given(st.lists(numbers, min_size=1, max_size=14))
@example([1000.0, -999.9999, 1e-5])
@example([0.00005, 1.0])
def test_a_printed_sum_holds_whatever_its_terms(terms):
    value = float(np.float32(math.fsum(terms)))
    expression, _, result = sum_of(terms).text(value).rpartition(" = ")
    total = sum(
        read(part.replace(" ", "")) for part in re.findall(r"[+−]? ?[\d.]+(?:e−?\d+)?", expression)
    )
    assert abs(total - read(result)) <= Decimal(half_unit(result))
    assert float(read(result)) == pytest.approx(value, abs=half_unit(result) + 1e-4)


@given(numbers, numbers)
@example(-1.0, 0.0)
def test_a_printed_product_holds_whatever_its_factors(a, b):
    expression, _, result = (
        PrintedEquation([a, b], " · ".join, math.prod).text(a * b).rpartition(" = ")
    )
    left, right = map(read, expression.split(" · "))
    assert abs(left * right - read(result)) <= Decimal(half_unit(result))
    assert float(read(result)) == pytest.approx(a * b, rel=5e-4)


def test_the_sentence_says_the_sum_in_numbers():
    cell = explain_cell(network("lenet5"), picture(2), "conv1", (0, 3, 3))
    assert cell.written.endswith(f" = {cell.value:.4g}".replace("-", "−"))
    cell = explain_cell(network("lenet5"), picture(2), "activation1", (0, 3, 3))
    assert cell.written.startswith("max(0, ")


@pytest.mark.parametrize(
    ("layer", "index", "reason"),
    [
        ("conv9", (0, 0, 0), "no layer 'conv9'; expected one of conv1, activation1"),
        ("conv1", (6, 0, 0), r"\[6, 0, 0\], but conv1 gives 6 × 28 × 28: expected 3 int"),
        ("conv1", (0, -1, 0), ">= 0 and below these sizes"),
        ("conv1", (0, 0), "expected 3 integers"),
        ("fc3", (0, 0), "expected 1 integers"),
        ("softmax", (10,), "but softmax gives 10"),
    ],
)
def test_what_is_not_there_is_refused(layer, index, reason):
    with pytest.raises(ExplainError, match=reason):
        explain_cell(network("lenet5"), picture(0), layer, index)


def test_a_layer_of_an_unknown_kind_is_refused_by_its_kind():
    class Sums(nn.Module):
        def forward(self, x):
            return tg.sum(x, (2, 3))

    rng = np.random.default_rng(0)
    run = run_of(nn.Sequential(Sums(), nn.Linear(1, 10, rng=rng)))
    with pytest.raises(ExplainError, match="0 is a layer of the kind sum, expected one of conv"):
        explain_cell(run, picture(0), "0", (0,))


# --- what cannot be explained --------------------------------------------------------------------

STEPS = {
    "tanh": tg.tanh, "relu": tg.relu, "half": lambda x: x * 0.5, "exp": lambda x: tg.exp(x * 0.1),
    "one more": lambda x: x + 1.0, "residual": lambda x: x + tg.relu(x),
    "gate": lambda x: x * tg.sigmoid(x), "pool": lambda x: tg.maxpool(x, 2),
}  # fmt: skip


class Composed(nn.Module):
    """Several ops in one module."""

    def __init__(self, steps):
        self.steps = steps

    def forward(self, x):
        for step in self.steps:
            x = STEPS[step](x)
        return x


def composed(steps):
    rng = np.random.default_rng(0)
    units = 784 // 4 ** steps.count("pool")
    return run_of(
        nn.Sequential(nn.Tanh(), Composed(steps), nn.Flatten(), nn.Linear(units, 10, rng=rng))
    )


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3), pictures)
@example(["half"], picture(0))
@example(["exp", "one more"], picture(0))
@example(["relu", "pool"], picture(0))
def test_a_module_is_explained_rightly_or_refused(steps, image):
    assume(steps.count("pool") < 3)
    run = composed(steps)
    layer = explain_layers(run, image).layers[1]
    reason = ""
    try:
        cell = explain_cell(run, image, "1", (0, 2, 3))
    except ExplainError as error:
        reason = str(error)
    else:
        assert len(steps) == 1
        assert cell.kind == layer.kind
        assert made(cell) == pytest.approx(cell.value, abs=1e-6)
    assert not reason or "1 is a composite" in reason or "of the kind" in reason
    calls = len(steps) + sum(step in ("exp", "residual", "gate") for step in steps)
    assert (layer.kind == "composite") == (calls > 1)
    assert (layer.equation == "") == (calls > 1)


class Block(nn.Module):
    """relu(conv(relu(x)) + x), one activation for both: its module is called twice."""

    def __init__(self, rng):
        self.conv = nn.Conv2d(2, 2, 3, padding=1, rng=rng)
        self.activation = nn.ReLU()

    def forward(self, x):
        return self.activation(self.conv(self.activation(x)) + x)


def residual():
    rng = np.random.default_rng(0)
    return run_of(nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, rng=rng), Block(rng), nn.Conv2d(2, 2, 3, rng=rng),
        nn.Flatten(), nn.Linear(2 * 26 * 26, 10, rng=rng),
    ))  # fmt: skip


def test_every_call_of_a_module_in_a_residual_network_is_explained_as_itself():
    run, image = residual(), picture(4)
    layers = explain_layers(run, image).layers
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("0", "convolution"), ("1.activation", "relu"), ("1.conv", "convolution"),
        ("1", "composite"), ("1.activation (2)", "relu"), ("2", "convolution"), ("3", "flatten"),
        ("4", "dense"), ("softmax", "softmax"),
    ]  # fmt: skip
    with pytest.raises(ExplainError, match=r"1 is a composite \(add\): only the cells"):
        explain_cell(run, image, "1", (0, 4, 4))
    for layer in layers:
        if layer.kind == "composite":
            continue
        index = [min(5, size - 1) for size in layer.shape]
        cell = explain_cell(run, image, layer.name, index)
        assert made(cell) == pytest.approx(cell.value, abs=1e-5)
        assert layer.maps is None or cell.value == pytest.approx(
            decode(layer.maps)[tuple(index)], abs=(layer.maps["high"] - layer.maps["low"]) / 500
        )
    fields = {name: dataclasses.astuple(explain_cell(run, image, name, (0, 9, 9)).field)
              for name in ("0", "1.activation", "1.conv", "1.activation (2)", "2")}  # fmt: skip
    whole = (0, 0, 28, 28)
    assert fields == {
        "0": (8, 8, 11, 11), "1.activation": (8, 8, 11, 11), "1.conv": (7, 7, 12, 12),
        "1.activation (2)": whole, "2": whole,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Softmax(dim=1), "softmax on 3 axes where 1 are known"),
        (nn.Linear(28, 28, rng=np.random.default_rng(0)), "dense on 3 axes where 1 are known"),
    ],
)
def test_a_layer_on_other_axes_than_are_known_is_refused(module, reason):
    rng = np.random.default_rng(0)
    run = run_of(nn.Sequential(module, nn.Flatten(), nn.Linear(784, 10, rng=rng)))
    explain_layers(run, picture(0))
    with pytest.raises(ExplainError, match=reason):
        explain_cell(run, picture(0), "0", (0, 3, 3))


def test_a_layer_that_does_not_compute_what_its_kind_does_is_refused():
    """The numbers are compared with the value before they are shown."""

    class Doubled(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x) * 2.0

    rng = np.random.default_rng(0)
    run = run_of(nn.Sequential(Doubled(1), nn.Flatten(), nn.Linear(784, 10, rng=rng)))
    with pytest.raises(
        ExplainError, match="0 does not compute what a layer of the kind batch-norm"
    ):
        explain_cell(run, picture(0), "0", (0, 3, 3))


@given(CELLS, st.integers(0, 5))
def test_no_gradient_reaches_beyond_the_field(where, seed):
    name, layer, index = where
    run = network(name)
    assume(layer in dict(run.model.named_modules()))
    field = explain_cell(run, picture(seed), layer, index).field
    x = tg.Tensor(normalized(run, picture(seed)), requires_grad=True)
    with tg.trace() as trace:
        run.model(x)
    step = [step for step in trace.steps if step.scope == layer][-1]
    y = tg.Tensor._of(step.array, step.origin)
    (gradient,) = tg.grad(y[(0, *index)], x)
    gradient[0, 0, field.top : field.bottom, field.left : field.right] = 0
    assert not gradient.any()
