"""The step-through page as text: what it holds, and what it does not."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
from support.browser import chromium
from support.pictures import refuse_larger
from support.traced import lenet, perceptron, traced

import tinygrad_cnn as tg
from tinygrad_cnn.drawing.drawing import Drawing
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.page import page
from tinygrad_cnn.drawing.page.contents import contents
from tinygrad_cnn.drawing.page.embedding import EXACT, LARGEST, MOST, EmbeddedArrays
from tinygrad_cnn.drawing.page.folds import OPENED, folds
from tinygrad_cnn.drawing.page.local import local_derivative
from tinygrad_cnn.drawing.scopes import ancestors


@pytest.fixture(scope="module")
def html() -> str:
    return page(lenet().drawing)


def data_of(html: str) -> dict:
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1]
    )


def decoded(entry: dict) -> np.ndarray:
    raw = base64.b64decode(entry["bytes"])
    if entry["dtype"] != "uint8":
        return np.frombuffer(raw, entry["dtype"]).reshape(entry["kept"])
    codes = np.frombuffer(raw, np.uint8).reshape(entry["kept"]).astype(float)
    return np.where(codes == 0, np.nan, (codes - 128) * entry["scale"])


# --- the whole -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet20() -> Drawing:
    model = tg.nn.build("resnet20", input_shape=(3, 32, 32), classes=10)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype("f4")
    return traced(model, x, lambda y: tg.cross_entropy(y, np.array([0])), "ResNet-20").drawing


def test_the_page_is_bounded(html: str, resnet20: Drawing):
    assert len(html.encode()) < 1_000_000
    assert len(page(resnet20).encode()) < 5_000_000


def test_of_a_large_graph_fewer_drawings_with_an_open_module_are_kept(
    resnet20: Drawing, monkeypatch: pytest.MonkeyPatch
):
    opened = [len(fold.svg) for fold in folds(resnet20) if fold.base is not None]
    monkeypatch.setattr("tinygrad_cnn.drawing.page.folds.OPENED_LENGTH", sum(opened[:5]))
    assert [len(fold.svg) for fold in folds(resnet20) if fold.base is not None] == opened[:5]


def test_an_open_module_changes_the_places_of_its_own_nodes_only(resnet20: Drawing):
    full = resnet20.full
    chains = ancestors(full.scopes)
    ids = {scope.name: scope.id for scope in full.scopes}
    drawn = folds(resnet20)
    opened = [fold for fold in drawn if fold.base is not None]
    assert 10 < len(opened) <= OPENED
    for fold in opened:
        base = drawn[fold.base]
        for node in full.nodes:
            inside = fold.opened[0] in [ids[name] for name in chains[node.scope]]
            if inside:
                assert fold.places[node.id] not in fold.opened
            else:
                assert fold.places[node.id] == base.places[node.id]
    assert len({(fold.base, fold.opened) for fold in opened}) == len(opened)


def test_nothing_is_fetched_and_nothing_runs_but_the_one_script(html: str):
    without_data = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.S)
    namespaces = re.findall(r"https?://[^\s\"'<>]+", without_data)
    assert set(namespaces) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert len(re.findall(r"<script>", without_data)) == 1
    assert not re.search(r"<[^>]+\son\w+\s*=", without_data)
    assert not re.search(r"<[^>]+\s(src|style)\s*=", without_data)
    assert not re.search(r"\beval\(|new Function|innerHTML|import\(|fetch\(", without_data)


def test_the_same_computation_gives_the_same_page(html: str):
    first, second = (re.sub(r"\d+(\.\d+)? [mµ]?s\b", "", page(perceptron().drawing)) for _ in "ab")
    assert first == second


def test_no_text_of_the_data_can_end_its_element():
    x = tg.Tensor([1.0], requires_grad=True, name="</script><script>alert(1)</script>")
    with tg.trace() as trace:
        (x * x).sum().backward()
    html = page(trace.draw(title="<img src=x onerror=alert(1)>"))
    assert "<script>alert" not in html
    assert "<img" not in html
    names = {node["name"] for node in data_of(html)["nodes"]}
    assert "</script><script>alert(1)</script>" in names


def test_what_is_no_drawing_is_refused():
    with pytest.raises(TypeError, match="page: drawing is DrawnGraph, expected a Drawing"):
        page(perceptron().drawing.full)


def test_a_graph_too_large_for_graphviz_is_there_as_far_as_it_can_be_folded(monkeypatch):
    refuse_larger(monkeypatch, 100)

    class Deep(tg.nn.Module):
        def forward(self, x):
            for _ in range(200):
                x = x + 1.0
            return x

    deep = tg.nn.Sequential(Deep(), tg.nn.Sigmoid())
    with tg.trace() as trace:
        deep(tg.Tensor([1.0], requires_grad=True)).sum().backward()
    html = page(trace.draw(names=deep))
    data = data_of(html)
    assert [fold["label"] for fold in data["depths"]] == ["layers"]
    assert len(data["steps"]) == 2 * 202 + 1
    with tg.trace() as trace:
        Deep()(tg.Tensor([1.0], requires_grad=True))
    with pytest.raises(TooLargeError):
        page(trace.draw())


@pytest.mark.parametrize(("ci", "outcome"), [("true", "Failed"), ("", "Skipped")])
def test_without_a_browser_tests_of_pages_skip_but_not_in_continuous_integration(
    monkeypatch, ci: str, outcome: str
):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BaseException, match="apt-get install chromium") as raised, chromium():
        pass
    assert type(raised.value).__name__ == outcome


# --- the steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [lenet, perceptron])
def test_steps_are_the_events_in_their_order(made):
    traced = made()
    data = contents(traced.drawing.full, traced.drawing.arrays)
    nodes = {node["id"]: node for node in data["nodes"]}
    edges = {edge["id"]: edge for edge in data["edges"]}

    def array(place: int) -> np.ndarray:
        return decoded(data["arrays"][place])

    ahead = [nodes[s["node"]] for s in data["steps"] if s["phase"] == "forward"]
    back = [nodes[s["node"]] for s in data["steps"] if s["phase"] == "backward"]
    assert data["steps"][-1] == {"phase": "result"}
    assert [node["op"] for node in ahead] == [name for name, _ in traced.watch.results]
    assert [node["op"] for node in back] == [name for name, _ in traced.watch.gradients]
    for node, (_, result) in zip(ahead, traced.watch.results, strict=True):
        assert array(node["value"]).tobytes() == result.tobytes()
    for node, (_, gradient) in zip(back, traced.watch.gradients, strict=True):
        assert array(node["gradient"]).tobytes() == gradient.tobytes()
    for node, expected in zip(back, traced.watch.contributions, strict=True):
        sent = [edges[i]["gradient"] for i in node["inputs"] if edges[i]["gradient"] is not None]
        for s, value in zip(sent, expected, strict=True):
            if value.size <= EXACT:
                assert array(s).tobytes() == value.tobytes()
            else:
                np.testing.assert_allclose(array(s), value, atol=abs(value).max() / 250)


def test_without_a_sweep_there_are_no_backward_steps_and_without_a_trace_no_values():
    x = tg.Tensor([[1.0, 2.0]], requires_grad=True, name="x")
    drawing = tg.draw(tg.exp(x * 2.0).sum())
    data = contents(drawing.full, drawing.arrays)
    assert [step["phase"] for step in data["steps"]] == ["forward"] * 3
    assert "not kept" in page(drawing)


# --- local derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize("made", [lenet, perceptron])
def test_what_is_sent_is_the_gradient_times_the_local_derivative(made):
    traced = made()
    data = contents(traced.drawing.full, traced.drawing.arrays)
    nodes = {node["id"]: node for node in data["nodes"]}
    seen = set()

    def array(place: int) -> np.ndarray:
        return decoded(data["arrays"][place])

    for edge in data["edges"]:
        if edge["gradient"] is None or edge["local"] is None:
            continue
        kind = edge["local"]["kind"]
        seen.add(kind)
        g, local, sent = (
            array(place)
            for place in (
                nodes[edge["target"]]["gradient"], edge["local"]["array"], edge["gradient"]
            )
        )  # fmt: skip
        if kind == "elementwise":
            assert local.shape == g.shape
            np.testing.assert_allclose((g * local).sum(), sent.sum(), rtol=1e-5, atol=1e-7)
        elif kind == "jacobian":
            np.testing.assert_allclose(g.reshape(-1) @ local, sent.reshape(-1), atol=1e-6)
        else:  # pooling: every window's maximum counts once
            assert local.sum() == g.size
            assert (sent[local == 0] == 0).all()
    assert seen == ({"elementwise", "jacobian", "share"} if made is lenet
                    else {"elementwise", "jacobian"})  # fmt: skip


def test_a_broadcast_argument_has_a_local_derivative_for_each_entry_of_the_result():
    a, b = np.arange(6.0).reshape(2, 3), np.array([10.0, 20.0, 30.0])
    kind, local = local_derivative(tg.mul, "b", {"a": a, "b": b}, {}, a * b)
    assert kind == "elementwise"
    np.testing.assert_array_equal(local, a)


def test_a_call_that_cannot_be_made_again_has_no_local_derivative():
    x = np.array([1.0, 2.0])
    assert local_derivative(tg.tanh, "x", {"x": x}, {}, np.tanh(x) + 1e-9) is None
    assert local_derivative(tg.tanh, "x", {"x": x}, {"unknown": 1}, np.tanh(x)) is None


@pytest.mark.usefixtures("ops_of_its_own")
def test_a_rule_that_reads_only_an_intermediate_is_not_constant():
    @tg.op(formula="x²")
    def squared(x, *, double=...):
        return x * double / 2.0

    @squared.intermediate
    def double(x):
        return 2.0 * x

    squared.derivative("x", formula="2·g·x")(lambda g, *, double: g * double)
    x = np.arange(128.0)
    assert local_derivative(squared, "x", {"x": x}, {}, squared(x)) is None


def test_looking_at_local_derivatives_is_seen_by_no_observer():
    x = tg.Tensor([0.5], requires_grad=True)
    with tg.trace() as trace:
        tg.tanh(x).backward()
        before = len(trace.steps)
        page(trace.draw())
    assert len(trace.steps) == before
    np.testing.assert_allclose(x.grad, 1 - np.tanh(0.5) ** 2, rtol=1e-6)


# --- embedded arrays -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_small_arrays_are_kept_to_the_last_bit(dtype: str):
    array = np.random.default_rng(0).standard_normal((3, 5, 7)).astype(dtype)
    array[0, 0, :3] = [np.nan, np.inf, -0.0]
    embedding = EmbeddedArrays()
    embedding.add(np.asfortranarray(array))
    assert decoded(embedding.encoded[0]).tobytes() == array.tobytes()
    json.dumps(embedding.encoded, allow_nan=False)


@pytest.mark.parametrize(
    "array", [np.array([True, False]), np.array([2**40, -1]), np.array(3, np.uint8)]
)
def test_whole_numbers_and_truths_are_kept_as_floats(array: np.ndarray):
    embedding = EmbeddedArrays()
    embedding.add(array)
    np.testing.assert_array_equal(decoded(embedding.encoded[0]), array)


def test_large_arrays_are_within_half_a_level_of_what_they_are():
    array = np.random.default_rng(0).standard_normal((300, 300))
    array[0, 0] = np.nan
    assert EXACT < array.size <= LARGEST
    embedding = EmbeddedArrays()
    embedding.add(array)
    (entry,) = embedding.encoded
    assert len(entry["bytes"]) < 1.4 * array.size
    worst = np.nanmax(np.abs(decoded(entry) - array))
    assert worst <= entry["scale"] * 0.5 * (1 + 1e-9)
    assert np.isnan(decoded(entry)[0, 0])
    assert entry["nan"] == 1


@pytest.mark.parametrize("shape", [(LARGEST * 2,), (1, LARGEST + 5), (600, 3, 20, 20)])
def test_of_huge_arrays_the_first_parts_are_kept_and_the_numbers_are_of_the_whole(shape):
    array = np.zeros(shape, "f4")
    array.flat[-1] = 4.0
    embedding = EmbeddedArrays()
    embedding.add(array)
    (entry,) = embedding.encoded
    assert decoded(entry).size <= LARGEST
    assert decoded(entry).size > LARGEST / 2
    assert entry["shape"] == list(shape)
    assert entry["maximum"] == 4.0


def test_many_arrays_are_thinned_until_they_fit_and_their_statistics_are_not():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((1, 16, 64, 64)).astype("f4") for _ in range(100)]
    embedding = EmbeddedArrays()
    for array in (*arrays, np.ones(3)):
        embedding.add(array)
    *maps, small = embedding.encoded
    assert MOST / 4 < sum(len(base64.b64decode(e["bytes"])) for e in (*maps, small)) <= MOST
    assert decoded(small).tolist() == [1.0, 1.0, 1.0]
    for entry, array in zip(maps, arrays, strict=True):
        kept = decoded(entry)
        part = array[tuple(map(slice, entry["kept"]))]
        assert kept.shape == part.shape
        assert kept.shape[2:] == (64, 64)  # whole maps, fewer of them
        assert np.abs(kept - part).max() <= entry["scale"]
        assert entry["maximum"] == array.max()


def test_of_a_large_page_a_picture_is_kept_whole():
    rng = np.random.default_rng(0)
    embedding = EmbeddedArrays()
    embedding.add(rng.standard_normal((1, 3, 48, 192)).astype("f4"))
    for _ in range(900):
        embedding.add(rng.standard_normal((1, 40, 16, 16)).astype("f4"))
    picture, *maps = embedding.encoded
    assert decoded(picture).shape == (1, 1, 48, 192)
    assert {decoded(entry).shape[2:] for entry in maps} == {(16, 16)}
    assert sum(len(base64.b64decode(entry["bytes"])) for entry in (picture, *maps)) <= MOST


def test_equal_arrays_share_a_place_and_others_do_not():
    embedding = EmbeddedArrays()
    a = np.arange(6.0)
    places = [embedding.add(x) for x in (a, a.copy(), a.reshape(2, 3), a.astype("f4"), a + 1)]
    assert places == [0, 0, 1, 2, 3]
    assert embedding.add(None) is None
