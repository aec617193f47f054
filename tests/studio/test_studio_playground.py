"""The playground's answers against the formulas of backpropagation, written out in NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.studio import studio_client

from tinygrad_cnn.nn import ACTIVATIONS
from tinygrad_cnn.studio.encoding import decode
from tinygrad_cnn.studio.playground.points import DATA_SETS

FEATURES = {
    "x1": lambda a, b: a,
    "x2": lambda a, b: b,
    "x1^2": lambda a, b: a * a,
    "x1*x2": lambda a, b: a * b,
    "sin x2": lambda a, b: np.sin(2 * b),
}
coordinates = st.floats(-3, 3).map(lambda x: round(x, 3))
points = st.lists(
    st.builds(dict, x1=coordinates, x2=coordinates, label=st.integers(0, 1)), min_size=1, max_size=6
)
seeds = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("studio"), trained=False) as client:
        yield client


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a sigmoid network with random weights, as a request has it."""
    features = draw(st.lists(st.sampled_from(list(FEATURES)), min_size=1, unique=True))
    hidden = draw(st.lists(st.integers(1, 4), max_size=3))
    rng = np.random.default_rng(draw(seeds))
    sizes = [len(features), *hidden, 1]
    return {
        "features": features,
        "hidden": hidden,
        "activation": "sigmoid",
        "loss": draw(st.sampled_from(["squared_error", "cross_entropy"])),
        "penalty": draw(st.sampled_from([None, "l1", "l2"])),
        "penalty_rate": draw(st.sampled_from([0.0, 0.03, 1.0])),
        "lr": draw(st.sampled_from([0.0, 0.1, 3.0])),
        "parameters": [
            {"weight": rng.normal(size=(n, m)).tolist(), "bias": rng.normal(size=n).tolist()}
            for m, n in itertools.pairwise(sizes)
        ],
    }


def point(x1: float, x2: float, label: int) -> dict[str, float]:
    return {"x1": x1, "x2": x2, "label": label}


def asked(studio: TestClient, path: str, body: dict[str, Any]) -> Any:
    answer = studio.post(f"/api/playground/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def by_hand(network: dict[str, Any], given: Any) -> dict[str, Any]:
    """Return a step of gradient descent by the formulas of the text, for a sigmoid network."""
    x1, x2, y = (np.array([point[k] for point in given], float) for k in ("x1", "x2", "label"))
    layers = [(np.array(p["weight"]), np.array(p["bias"])) for p in network["parameters"]]
    alphas = [np.stack([FEATURES[name](x1, x2) for name in network["features"]], 1)]
    for w, b in layers:
        z = alphas[-1] @ w.T + b
        alphas.append(sigmoid(z))
    y, n = y[:, np.newaxis], len(y)
    probability = alphas[-1]
    if network["loss"] == "squared_error":
        loss = np.mean((probability - y) ** 2 / 2)
        delta = (probability - y) * probability * (1 - probability) / n
    else:
        loss = np.mean(np.logaddexp(0, z) - y * z)  # −y·ln Y − (1 − y)·ln(1 − Y)
        delta = (probability - y) / n
    found = []
    rate = network["penalty_rate"] if network["penalty"] else 0.0
    for (w, b), alpha in zip(layers[::-1], alphas[-2::-1], strict=True):
        penalty = rate * (np.sign(w) if network["penalty"] == "l1" else w)
        gradient = sum(np.outer(d, a) for d, a in zip(delta, alpha, strict=True))
        new_w = w - network["lr"] * (gradient + penalty)
        new_b = b - network["lr"] * delta.sum(0)
        found.append((delta, gradient, delta.sum(0), new_w, new_b))
        delta = (delta @ w) * alpha * (1 - alpha)
    return {"loss": loss, "alphas": alphas, "layers": found[::-1]}


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@given(networks(), points)
def test_one_step_is_that_of_the_formulas(studio: TestClient, network: Any, batch: Any) -> None:
    expected = by_hand(network, batch)
    told = asked(studio, "backprop", {**network, "points": batch})
    close(told["loss"], expected["loss"])
    for k, layer in enumerate(told["layers"]):
        delta, of_w, of_b, new_w, new_b = expected["layers"][k]
        close(layer["inputs"], expected["alphas"][k])
        close(layer["output"], expected["alphas"][k + 1])
        close(sigmoid(np.array(layer["z"])), layer["output"])
        close(layer["delta"], delta)
        if layer["flowing"] is None:
            assert network["loss"] == "cross_entropy"
            assert layer is told["layers"][-1]
        else:
            close(np.multiply(layer["flowing"], layer["derivative"]), delta)
        close(layer["gradients"]["weight"], of_w)
        close(layer["gradients"]["bias"], of_b)
        close(layer["updated"]["weight"], new_w)
        close(layer["updated"]["bias"], new_b)
    trained = asked(studio, "train", {**network, "train": batch, "steps": 1, "batch_size": 6})
    assert trained["step"] == 1
    for layer, (*_, new_w, new_b) in zip(trained["parameters"], expected["layers"], strict=True):
        close(layer["weight"], new_w)
        close(layer["bias"], new_b)
    after = by_hand({**network, "parameters": trained["parameters"]}, batch)
    close(trained["train_loss"], after["loss"])
    for layer, (_, of_w, of_b, *_) in zip(trained["gradients"], after["layers"], strict=True):
        close(layer["weight"], of_w)
        close(layer["bias"], of_b)


def steps_to(studio: TestClient, end: int, body: dict[str, Any], told: Any) -> Any:
    """Go on to a step; a busy machine may need several requests."""
    while told["step"] < end:
        now = {"step": told["step"], "parameters": told["parameters"]}
        told = asked(studio, "train", {**body, **now, "steps": end - told["step"]})
    return told


@given(points, seeds, st.integers(1, 4), st.integers(1, 6), st.sampled_from(list(ACTIVATIONS)))
@example(list(map(point, [0.0, 1.0, 2.0], [0.0, 0.5, 1.0], [0, 1, 1])), 0, 2, 3, "relu")
def test_steps_at_once_are_the_same_as_one_by_one(
    studio: TestClient, batch: Any, seed: int, size: int, cut: int, activation: str
) -> None:
    body = {"train": batch, "batch_size": size, "seed": seed, "activation": activation}
    begun = asked(studio, "train", body)
    together = steps_to(studio, 7, body, begun)
    assert steps_to(studio, 7, body, steps_to(studio, cut, body, begun)) == together


@given(networks())
def test_the_maps_are_the_outputs_on_the_grid(studio: TestClient, network: Any) -> None:
    told = asked(studio, "train", {**network, "train": [], "chosen": [0, 0]})
    assert told["train_loss"] is None
    assert told["gradients"] is None
    places = np.linspace(-3, 3, 121)[1::2]
    at = [point(x1, x2, 0) for x2 in places[::-1] for x1 in places]
    alphas = by_hand(network, at)["alphas"]
    surface = decode(told["surface"])
    np.testing.assert_allclose(surface, alphas[-1].reshape(60, 60), rtol=0, atol=1 / 509)
    large = decode(told["chosen"])
    for layer, alpha in zip(told["neurons"], alphas, strict=False):
        level = (layer["high"] - layer["low"]) / 509
        maps = alpha.T.reshape(-1, 60, 60)
        np.testing.assert_allclose(decode(layer), maps[:, 1::3, 1::3], rtol=0, atol=level)
        if layer is told["neurons"][0]:
            np.testing.assert_allclose(large, maps[0], rtol=0, atol=level)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_middle_of_a_map_is_the_activation_of_zero(studio: TestClient, activation: str) -> None:
    told = asked(studio, "train", {"train": [], "activation": activation, "hidden": [3, 2]})
    at_zero = ACTIVATIONS[activation].make()(np.zeros(1)).item()
    for layer in told["neurons"][1:]:
        assert (layer["low"] + layer["high"]) / 2 == pytest.approx(at_zero, abs=1e-12)


def test_training_that_diverges_ends_with_finite_parameters(studio: TestClient) -> None:
    batch = list(map(point, [3.0, -3.0, 1.0], [3.0, 2.0, -2.0], [1, 0, 0]))
    body = {"train": batch, "activation": "relu", "loss": "cross_entropy", "lr": 100.0}
    told = asked(studio, "train", {**body, "penalty": "l2", "penalty_rate": 1.0, "steps": 100})
    assert told["diverged"]
    assert told["step"] < 100
    again = asked(studio, "train", {**body, "parameters": told["parameters"], "steps": 0})
    assert again["parameters"] == told["parameters"]
    assert not again["diverged"]


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("hidden", [[], [3], [2, 2, 2, 2, 2, 2]])
def test_the_equations_are_a_chain_from_the_loss_to_the_weights(
    studio: TestClient, loss: str, hidden: list[int]
) -> None:
    body = {"hidden": hidden, "loss": loss, "points": [point(1.0, 2.0, 1), point(0.5, 1.0, 0)]}
    for k, layer in enumerate(asked(studio, "backprop", body)["layers"], 1):
        left, _, right = layer["equations"]["chain"]["text"].partition(" = ")
        assert left == f"∂E/∂w{'⁰¹²³⁴⁵⁶⁷'[k]}"
        above, below = zip(*(each.split("/") for each in right.split(" · ")), strict=True)
        assert (above[0], below[-1]) == ("∂E", left.removeprefix("∂E/"))
        assert above[1:] == below[:-1]
        for equation in filter(None, layer["equations"].values()):
            assert equation["mathml"].startswith("<math")


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_are_reproducible_and_balanced(studio: TestClient, name: str) -> None:
    def drawn(seed: int, noise: float) -> Any:
        query = {"data": name, "seed": seed, "noise": noise}
        return studio.get("/api/playground/points", params=query).json()["points"]

    found = drawn(1, 0.5)
    assert drawn(1, 0.5) == found
    assert drawn(2, 0.5) != found
    assert max(abs(each[k]) for each in found for k in ("x1", "x2")) <= 3.0
    labels = [each["label"] for each in found]
    assert sum(labels) == 100
    assert 30 < sum(labels[:100]) < 70


FITTING = {"weight": [[1.0, 2.0]], "bias": [0.5]}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"activation": "step"}, "playground: activation is 'step', expected"),
        ({"features": ["x3"]}, "playground: features is 'x3', expected"),
        ({"penalty": "l3"}, "playground: penalty is 'l3', expected"),
        ({"hidden": [9]}, "hidden.0: "),
        ({"hidden": [1] * 7}, "hidden: "),
        ({"train": [point(0.0, 0.0, True)]}, "train.0.label: "),
        ({"train": [point(0.0, 11.0, 0)]}, "train.0.x2: "),
        ({"train": [point(0.0, 1.0, 0)] * 401}, "train: "),
        ({"steps": 1001}, "steps: "),
        ({"hidden": [], "parameters": [FITTING, FITTING]}, "2 layers came, expected 1"),
        ({"hidden": [], "parameters": [{**FITTING, "bias": []}]}, r"bias: .* expected 1"),
        ({"hidden": [], "parameters": [{**FITTING, "weight": [[1.0], [1.0, 2.0]]}]},
         r"weight: .* expected 1 × 2"),
        ({"hidden": [], "parameters": [{**FITTING, "bias": [1e7]}]}, "parameters.0.bias.0: "),
        ({"chosen": (2, 4)}, "chosen: there is no neuron 4 in layer 2"),
    ],
)  # fmt: skip
def test_what_is_too_large_or_unknown_is_refused(
    studio: TestClient, wrong: dict[str, Any], reason: str
) -> None:
    answer = studio.post("/api/playground/train", json={"train": [], **wrong})
    assert answer.status_code == 422
    assert answer.json()["type"] == "/docs#invalid"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(answer.json()["detail"].replace("body.", ""))


def test_training_passes_through_the_gate_of_costly_work(studio: TestClient) -> None:
    gate = studio.app.state.services.playground  # type: ignore[attr-defined]
    gate.seconds, before = 0.01, gate.seconds
    try:
        with gate:
            answers = [
                studio.post("/api/playground/train", json={"train": []}),
                studio.post("/api/playground/backprop", json={"points": [point(0.0, 0.0, 0)]}),
            ]
    finally:
        gate.seconds = before
    assert [answer.json()["type"] for answer in answers] == ["/docs#busy"] * 2
