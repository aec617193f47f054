"""Every layer of a network is told as its module gave it."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studio_networks import (
    NETWORKS,
    built,
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
from tinygrad_cnn.studio.explain.equations import as_mathml, equation_of
from tinygrad_cnn.studio.explain.forward import ExplainError
from tinygrad_cnn.studio.explain.layers import explain_layers

MATHML = {
    "math", "mfrac", "mi", "mn", "mo", "mover", "mrow", "mspace", "msqrt", "mstyle", "msub",
    "msubsup", "msup", "mtext", "munder",
}  # fmt: skip


def told(layer):
    """Return the values that an answer tells of a layer, and by how much they may be off."""
    if layer.maps is None:
        return np.reshape(layer.values, layer.shape), 0.0
    return decode(layer.maps), (layer.maps["high"] - layer.maps["low"]) / 509


@given(st.sampled_from(sorted(NETWORKS)), pictures)
def test_each_layer_is_what_its_module_gave(name, image):
    run = network(name)
    expected = [seen for seen in outputs(run, image) if not isinstance(seen[1], nn.Dropout)]
    layers = explain_layers(run, image).layers
    assert [layer.name for layer in layers[:-1]] == [name for name, _, _ in expected]
    for layer, (_, _, output) in zip(layers, expected, strict=False):
        values, allowed = told(layer)
        assert values.shape == output.shape
        allowed += 1e-5 * np.max(np.abs(output))
        np.testing.assert_allclose(values, output, rtol=0, atol=allowed)


@given(st.sampled_from(sorted(NETWORKS)), pictures, temperatures)
def test_the_last_layer_is_the_softmax_at_the_temperature(name, image, temperature):
    run = network(name)
    *_, logits, last = explain_layers(run, image, temperature).layers
    assert last.probabilities
    powers = np.exp(np.array(logits.values) / temperature)
    np.testing.assert_allclose(last.values, powers / powers.sum(), rtol=1e-5)
    assert (last.kind, last.temperature) == ("softmax", temperature)
    if temperature == 1.0:
        (expected,) = run.probabilities(image[None, None])
        np.testing.assert_allclose(last.values, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_unique_and_the_answer_is_json(name):
    answer = explain_layers(network(name), picture(0))
    names = [layer.name for layer in answer.layers]
    assert len(set(names)) == len(names)
    json.dumps(dataclasses.asdict(answer), allow_nan=False)


def test_kinds_say_what_layers_do():
    kinds = [layer.kind for layer in explain_layers(network("vgg"), picture(0)).layers]
    stage = ["convolution", "batch-norm", "relu"] * 2 + ["max-pooling"]
    assert kinds == [*stage * 2, "flatten", "dense", "relu", "dense", "softmax"]


def test_windows_are_those_of_the_modules():
    seen = {layer.name: layer for layer in explain_layers(network("odd"), picture(0)).layers}
    windows = {name: dataclasses.astuple(seen[name].window) for name in ("0", "2", "3", "5")}
    assert windows == {
        "0": ([3, 5], [2, 1], [2, 0], [1, 1]),
        "2": ([3, 2], [1, 1], [2, 1], [2, 2]),
        "3": ([3, 3], [2, 2], [1, 1], [1, 1]),
        "5": ([3, 3], [2, 2], [1, 1], [1, 1]),
    }
    assert seen["1"].window is None


@pytest.mark.parametrize("name", NETWORKS)
def test_sources_and_groups_are_what_the_modules_depend_on(name):
    run, image = network(name), picture(3)
    answer = explain_layers(run, image)
    layers = {layer.name: layer for layer in answer.layers}
    known = {"input": normalized(run, image)[0]}
    np.testing.assert_allclose(decode(answer.input), known["input"], atol=0.01)
    for layer_name, module, output in [*outputs(run, image)]:  # each call adds to the list
        if isinstance(module, nn.Dropout):
            continue
        (source,) = layers[layer_name].sources
        x = known[source]
        np.testing.assert_allclose(module(tg.Tensor(x[None])).numpy()[0], output, atol=1e-5)
        groups = layers[layer_name].groups
        assert len(x) % groups == len(output) % groups == 0
        most = 0
        for channel in range(0, len(x), max(1, len(x) // 8)):
            moved = x.copy()
            moved[channel] = -moved[channel] - 1.0
            apart = np.abs(module(tg.Tensor(moved[None])).numpy()[0] - output)
            changed = np.flatnonzero(apart.reshape(len(output), -1).max(1) > 1e-6)
            assert {*(changed // (len(output) // groups))} <= {channel // (len(x) // groups)}
            most = max(most, len(changed))
        assert most > len(output) // groups // 2  # there are no more groups
        known[layer_name] = output


def test_equations_are_those_that_the_ops_declare():
    layers = {layer.name: layer for layer in explain_layers(network("lenet5"), picture(0)).layers}
    for name, op in {"conv1": tg.conv2d, "fc2": tg.linear, "pool1": tg.maxpool}.items():
        assert layers[name].equation == f"y = {op.formula}"
    assert (layers["fc1"].reference, layers["softmax"].reference) == ("eq 14", "eq 16, 36")


@pytest.mark.parametrize("op", [op for op in tg.OPS.values() if op.latex], ids=lambda op: op.name)
def test_every_formula_of_an_op_becomes_plain_mathml(op):
    text = equation_of(op).mathml
    assert text is not None
    root = ElementTree.fromstring(text)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= MATHML
    assert not {name for element in root.iter() for name in element.attrib if name[:2] == "on"}


@pytest.mark.parametrize("latex", [r"\begin{aligned} a &= b \\ &= c \end{aligned}", r"\unheard x"])
def test_a_formula_that_mathml_cannot_tell_whole_is_left_out(latex):
    assert as_mathml(latex) is None


def test_a_network_in_training_mode_is_refused():
    run = built("mlp")
    run.model.train()
    with pytest.raises(ExplainError, match="training mode"):
        explain_layers(run, picture(0))


def test_a_picture_of_another_shape_is_refused():
    with pytest.raises(ExplainError, match=r"shape \(1, 20, 28\), but the network takes uint8"):
        explain_layers(network("mlp"), picture(0, (20, 28)))


@pytest.mark.parametrize("huge", [np.inf, np.nan, 1e38])
def test_numbers_that_are_not_finite_are_refused_by_the_layers_name(huge):
    run = built("lenet5")
    run.model.conv2.weight.data[0, 0] = huge
    with pytest.raises(ExplainError, match="output of conv2 has NaN or infinite numbers"):
        explain_layers(run, np.full((28, 28), 255, np.uint8))


def test_a_module_of_a_kind_of_its_own_is_told_all_the_same():
    class Doubled(nn.Module):
        def forward(self, x):
            return tg.exp(x * 0.5) + 1.0

    rng = np.random.default_rng(0)
    run = run_of(nn.Sequential(Doubled(), nn.Flatten(), nn.Linear(784, 10, rng=rng)))
    assert [layer.kind for layer in explain_layers(run, picture(0)).layers] == [
        "composite", "flatten", "dense", "softmax",
    ]  # fmt: skip
