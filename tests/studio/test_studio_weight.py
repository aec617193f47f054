"""The derivative of the loss for one weight, by the chain rule and as it is measured."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.printed import check_sum, half_unit, read
from support.studio_networks import (
    NETWORKS,
    network,
    normalized,
    picture,
    pictures,
    run_of,
    temperatures,
)

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.studio.encoding import decode
from tinygrad_cnn.studio.explain.forward import ExplainError
from tinygrad_cnn.studio.explain.weight import explain_weight

SHAPES = {
    name: {k: p.shape for k, p in network(name).model.named_parameters()} for name in NETWORKS
}


def entries(*names):
    """Draw a network of these, a parameter of it and an index of an entry."""
    known = [(name, key, shape) for name in names for key, shape in SHAPES[name].items()]
    return st.sampled_from(known).flatmap(
        lambda found: st.tuples(
            st.just(found[0]),
            st.just(found[1]),
            st.tuples(*(st.integers(0, size - 1) for size in found[2])),
        )
    )


def in_float64(model):
    """Return a copy of a model; float32 would round a gradient of 1e-6 away beside a p of 1."""
    model = copy.deepcopy(model)
    for _, tensor in (*model.named_parameters(), *model.named_buffers()):
        tensor._array = tensor._array.astype(np.float64)
    return model


@given(entries("lenet5, tanh, average", "mlp"), pictures, st.integers(0, 9), temperatures)
def test_the_gradient_is_the_difference_quotient_where_all_is_smooth(
    where, image, label, temperature
):
    name, parameter, index = where
    told = explain_weight(network(name), image, label, parameter, index, temperature)
    assert told.difference_quotient == pytest.approx(told.gradient, rel=1e-6, abs=1e-8)


@given(entries(*NETWORKS), pictures, st.integers(0, 9), temperatures)
def test_value_and_gradient_are_those_of_the_network(where, image, label, temperature):
    name, parameter, index = where
    run = network(name)
    told = explain_weight(run, image, label, parameter, index, temperature)
    model = in_float64(run.model)
    logits = model(tg.Tensor(normalized(run, image), dtype=np.float64)) / temperature
    tg.cross_entropy(logits, np.array([label])).backward()
    tensor = dict(model.named_parameters())[parameter]
    assert told.value == tensor.data[index]
    size = float(np.max(np.abs(tensor.grad)))
    assert told.gradient == pytest.approx(float(tensor.grad[index]), abs=1e-5 * size + 1e-15)
    norm = float(np.linalg.norm(tensor.grad))
    assert told.layers[-1].after == pytest.approx(norm, rel=1e-5, abs=1e-15)
    json.dumps(dataclasses.asdict(told), allow_nan=False)


@given(entries(*NETWORKS), pictures, st.integers(0, 9))
@example(("odd", "2.weight", (5, 1, 0, 0)), picture(1), 3)
@example(("odd", "0.weight", (1, 0, 2, 4)), picture(1), 3)
def test_the_last_link_adds_up_to_the_gradient(where, image, label):
    name, parameter, index = where
    told = explain_weight(network(name), image, label, parameter, index)
    assert told.local is not None
    assert told.local.product_sum == pytest.approx(told.gradient, rel=1e-9, abs=1e-15)
    printed, places = told.local.printed, told.local.places
    check_sum(printed, told.gradient, 0.0)
    maps = [getattr(told.local, part) for part in ("gradient", "inputs", "products")]
    gradient, inputs, products = map(decode, maps)
    sizes = [max(abs(each["low"]), abs(each["high"])) for each in maps]
    levels = [(each["high"] - each["low"]) / 509 for each in maps]
    allowed = sizes[0] * levels[1] + sizes[1] * levels[0] + levels[2] + 1e-12
    np.testing.assert_allclose(gradient * inputs, products, rtol=0, atol=allowed)
    assert len(printed.terms) + told.local.more == products.size
    for place, term in zip(places, printed.terms, strict=True):
        apart = abs(float(read(term.sum)) - products[tuple(place)])
        assert apart <= allowed + levels[2] + half_unit(term.sum)


def test_a_weight_that_is_used_twice_has_no_last_link():
    """The products in one of its layers are not the gradient."""
    rng = np.random.default_rng(0)
    shared = nn.Linear(784, 784, rng=rng)
    run = run_of(
        nn.Sequential(nn.Flatten(), shared, nn.Tanh(), shared, nn.Linear(784, 10, rng=rng))
    )
    assert explain_weight(run, picture(0), 1, "1.weight", (3, 4)).local is None
    assert explain_weight(run, picture(0), 1, "4.weight", (3, 4)).local is not None


def test_the_text_is_the_derivation_and_the_chain_ends_at_the_parameter():
    told = explain_weight(network("lenet5"), picture(0), 7, "conv1.weight", (0, 0, 2, 2))
    assert told.text.startswith("∂E/∂w¹ for w¹ = conv1.weight of shape (6, 1, 5, 5)")
    assert max(map(len, told.text.splitlines())) <= 110
    modules = [factor.module for factor in told.layers]
    assert modules == [
        "", "fc3", "activation4", "fc2", "activation3", "fc1", "flatten", "pool2", "activation2",
        "conv2", "pool1", "activation1", "conv1",
    ]  # fmt: skip
    assert told.layers[1].text == "∂z⁵ᵢ/∂α⁴ₖ = w⁵ᵢₖ"
    assert told.layers[1].reference == "eq 47"
    assert told.mathml is not None
    assert all(factor.mathml for factor in told.layers)


def test_a_long_chain_is_told_by_its_modules():
    rng = np.random.default_rng(0)
    layers = [module for _ in range(14) for module in (nn.Linear(4, 4, rng=rng), nn.Tanh())]
    run = run_of(nn.Sequential(nn.Flatten(), nn.Linear(784, 4, rng=rng), *layers,
                               nn.Linear(4, 10, rng=rng)))  # fmt: skip
    told = explain_weight(run, picture(0), 1, "1.weight", (0, 0))
    assert len(told.layers) > 20
    assert told.difference_quotient == pytest.approx(told.gradient, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("parameter", "index", "reason"),
    [
        ("conv1", (0, 0, 0, 0), "no parameter 'conv1'; expected one of conv1.weight, conv1.bias"),
        ("conv1.weight", (0, 0, 0), r"conv1.weight is 6 × 1 × 5 × 5: expected 4 integers"),
        ("conv1.weight", (6, 0, 0, 0), r"the index is \[6, 0, 0, 0\]"),
        ("fc3.bias", (-1,), ">= 0 and below these sizes"),
    ],
)
def test_what_is_not_there_is_refused(parameter, index, reason):
    with pytest.raises(ExplainError, match=reason):
        explain_weight(network("lenet5"), picture(0), 0, parameter, index)
