"""The gradients that are told are the loss's own, and telling them changes no network."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import threading

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.printed import half_unit, read
from support.studio_networks import (
    NETWORKS,
    built,
    in_float64,
    network,
    normalized,
    outputs,
    picture,
    pictures,
    temperatures,
)

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.studio.encoding import decode
from tinygrad_cnn.studio.explain.backward import explain_backward, written_loss
from tinygrad_cnn.studio.explain.cell import explain_cell
from tinygrad_cnn.studio.explain.forward import ExplainError
from tinygrad_cnn.studio.explain.graph import explain_graph
from tinygrad_cnn.studio.explain.layers import explain_layers
from tinygrad_cnn.studio.explain.weight import explain_weight

NAMES = st.sampled_from(sorted(NETWORKS))
LABELS = st.integers(0, 9)


def loss_of(run, image, label, temperature):
    """Return the loss of a picture, computed by plain NumPy from the logits."""
    with tg.no_grad():
        logits = run.model(tg.Tensor(image)).data[0].astype("f8") / temperature
    return np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label]


@given(NAMES, pictures, LABELS, temperatures)
def test_loss_and_probabilities_are_those_of_the_logits(name, image, label, temperature):
    run = network(name)
    told = explain_backward(run, image, label, temperature)
    expected = loss_of(run, normalized(run, image), label, temperature)
    assert told.loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert sum(told.probabilities) == pytest.approx(1)
    assert -np.log(told.probabilities[label]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(NAMES, pictures, LABELS, temperatures)
def test_norms_of_parameters_are_those_that_backward_gives(name, image, label, temperature):
    run = network(name)
    told = explain_backward(run, image, label, temperature)
    model = copy.deepcopy(run.model)
    logits = model(tg.Tensor(normalized(run, image))) / temperature
    tg.cross_entropy(logits, np.array([label])).backward()
    parameters = dict(model.named_parameters())
    assert [parameter.name for parameter in told.parameters] == list(parameters)
    for parameter in told.parameters:
        tensor = parameters[parameter.name]
        assert parameter.shape == list(tensor.shape)
        assert parameter.norm == pytest.approx(float(np.linalg.norm(tensor.data)), rel=1e-5)
        expected = float(np.linalg.norm(tensor.grad))
        assert parameter.gradient_norm == pytest.approx(expected, rel=1e-3, abs=1e-6)


@given(NAMES, pictures, LABELS)
def test_the_gradient_at_a_layer_is_that_of_the_rest_of_the_network(name, image, label):
    run = network(name)
    told = explain_backward(run, image, label)
    seen = [found for found in outputs(run, image) if not isinstance(found[1], nn.Dropout)]
    assert [layer.name for layer in told.layers] == [name for name, _, _ in seen]
    for place, (_, _, output) in enumerate(seen):
        y = given = tg.Tensor(output[None], requires_grad=True)
        for _, module, _ in seen[place + 1 :]:
            y = module(y)
        (expected,) = tg.grad(tg.cross_entropy(y, np.array([label])), given)
        layer = told.layers[place]
        size = np.max(np.abs(expected))
        allowed = (layer.maps["high"] - layer.maps["low"]) / 509 + 1e-3 * size + 1e-7
        np.testing.assert_allclose(decode(layer.maps), expected[0], rtol=0, atol=allowed)
        norm = float(np.linalg.norm(expected))
        assert layer.gradient_norm == pytest.approx(norm, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", ["lenet5, tanh, average", "mlp"])
def test_saliency_is_what_a_gray_level_changes(name):
    run, image, label = network(name), picture(4), 6
    saliency = decode(explain_backward(run, image, label, 2.0).saliency)
    assert saliency.shape == (1, 28, 28)
    exact, step = in_float64(run), 1e-3
    differences = np.zeros((28, 28))
    for row, column in np.ndindex(28, 28):
        losses = []
        for side in (step, -step):
            moved = image.astype("f8")
            moved[row, column] += side
            losses.append(loss_of(exact, normalized(run, moved, "f8"), label, 2.0))
        differences[row, column] = abs(losses[0] - losses[1]) / (2 * step)
    allowed = differences.max() / 400
    np.testing.assert_allclose(saliency[0], differences, rtol=0, atol=allowed)


@given(st.floats(1e-300, 1.0) | st.floats(-14.0, 0.0).map(lambda size: 1.0 - 10.0**size))
def test_the_written_loss_is_the_logarithm_of_the_printed_probability(probability):
    assume(0.0 < probability < 1.0)
    shown, result = map(read, written_loss(probability).removeprefix("−ln ").split(" = "))
    made, unit = -math.log(shown), half_unit(str(result))
    assert abs(made - float(result)) <= unit * (1 + 1e-9)
    assert float(result) == pytest.approx(-math.log(probability), rel=0.05)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(ExplainError, match=f"the label is {label}, expected 0 to 9"):
        explain_backward(network("mlp"), picture(0), label)


def test_a_gradient_that_is_not_finite_is_refused():
    run = built("mlp", activation="relu", hidden=(4, 4))
    run.model.fc[0].weight.data[:] = 1e-30
    run.model.fc[0].bias.data[:] = 0.0
    for layer in run.model.fc[1:]:
        layer.weight.data[:] *= 1e25
    with pytest.raises(ExplainError, match="not finite"):
        explain_backward(run, np.full((28, 28), 255, np.uint8), 0)


def explanations(run):
    """Return every explanation of one picture as text."""
    image = picture(9)
    told = [
        explain_layers(run, image),
        explain_cell(run, image, "pool1", (1, 2, 3)),
        explain_backward(run, image, 5),
        explain_weight(run, image, 5, "conv2.weight", (3, 2, 1, 0)),
    ]
    return json.dumps([dataclasses.asdict(answer) for answer in told], allow_nan=False)


def test_threads_explain_one_network_at_once_and_leave_it_as_it_was():
    run = built("lenet5")
    before = run.model.state_dict()
    alone = explanations(run)
    start, found = threading.Barrier(6), []

    def explain():
        start.wait()
        found.extend(explanations(run) for _ in range(4))

    threads = [threading.Thread(target=explain) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert set(found) == {alone}
    for name, parameter in run.model.named_parameters():
        assert parameter.grad is None
        np.testing.assert_array_equal(parameter.data, before[name])
    assert not any(module.training for module in run.model.modules())


@pytest.mark.usefixtures("dot")
def test_no_explanation_changes_a_network():
    run = built("vgg", widths=(2, 2), hidden=4, batch_norm=True)
    tensors = [*run.model.parameters(), *run.model.buffers()]
    before = [(tensor._array, tensor._array.copy(), tensor._changed) for tensor in tensors]
    image = picture(3)
    explain_layers(run, image)
    explain_cell(run, image, "features.1", (0, 0, 0))
    explain_backward(run, image, 0)
    explain_weight(run, image, 0, "features.1.weight", (0,))
    explain_graph(run, image, 0)
    for tensor, (array, values, changed) in zip(tensors, before, strict=True):
        assert tensor._array is array
        assert (tensor._changed, tensor.grad) == (changed, None)
        np.testing.assert_array_equal(array, values)
