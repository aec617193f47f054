"""The layout: its time limit, its style, straight paths, merged arrows and U-Nets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.pictures import SVG, ids_of, places_of, refuse_larger, texts_of

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.drawing import Style, layout
from tinygrad_cnn.drawing.arrangement import bundles
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.palette import CARD, INK
from tinygrad_cnn.drawing.picture import LEAST, SECTIONS, GraphPicture, in_sections

pytestmark = pytest.mark.usefixtures("dot")
SIMPLIFIED = "simplified, to be laid out within"


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tangle(calls: int) -> tg.Tensor:
    """Return the result of many calls, each using the last result and one a few calls earlier."""
    random = rng()
    values = [tg.Tensor([1.0], requires_grad=True, name="x")]
    for _ in range(calls - 1):
        earlier = int(random.integers(max(0, len(values) - 50), len(values)))
        values.append(values[-1] * values[earlier])
    return values[-1].sum()


def lenet_trace() -> tuple[nn.LeNet5, tg.Trace]:
    model = nn.LeNet5(rng=rng())
    with tg.trace() as trace:
        tg.cross_entropy(model(np.ones((2, 1, 28, 28), "f4")), np.array([3, 1])).backward()
    return model, trace


def deep_trace(blocks: int) -> tg.Trace:
    """Return the trace of modules in modules, none equal to another."""
    layers = [nn.Sequential(nn.Linear(4 + i, 5 + i, rng=rng()), nn.Tanh()) for i in range(blocks)]
    model = nn.Sequential(nn.Sequential(*layers), nn.Linear(4 + blocks, 2, rng=rng()))
    with tg.trace() as trace:
        model(np.ones((1, 4), "f4")).sum().backward()
    return trace


# --- the time limit -------------------------------------------------------------------------------


def test_a_graph_of_5000_nodes_is_shown_in_a_notebook_within_the_limit(monkeypatch):
    drawing = tg.draw(tangle(5000), time_limit=2.0)
    assert len(drawing.graph.nodes) > 5000
    given, laid_out = [], GraphPicture._laid_out

    def noted(self, form: str, seconds: float) -> bytes:
        given.append(seconds)
        return laid_out(self, form, seconds)

    monkeypatch.setattr(GraphPicture, "_laid_out", noted)
    svg = drawing._repr_svg_()
    assert sum(given) <= 2.0 + LEAST
    assert f"{SIMPLIFIED} 2 s: no labels, consecutive calls folded" in texts_of(svg)
    assert len(places_of(svg)) <= SECTIONS + 1


def test_labels_are_dropped_first_then_modules_are_folded_the_deepest_first(monkeypatch):
    drawing = deep_trace(6).draw()
    drawn = []
    for most in (100, 12, 4):
        refuse_larger(monkeypatch, most)
        drawn.append(texts_of(drawing.svg()))
    assert not any(SIMPLIFIED in text for text in drawn[0])
    assert f"{SIMPLIFIED} 10 s: no labels, modules folded to depth 2" in drawn[1]
    assert f"{SIMPLIFIED} 10 s: no labels, modules folded to depth 1" in drawn[2]
    stages = [(p.style.labels, p.depth) for p in drawing._simpler()]
    assert stages == [(True, None), (False, None), (False, 3), (False, 2), (False, 1)]


def test_a_simplified_picture_has_the_ids_of_its_nodes(monkeypatch):
    refuse_larger(monkeypatch, 4)
    drawing = deep_trace(6).draw()
    assert ids_of(drawing.svg()) >= {node.id for node in drawing.fold(1).graph.nodes}


def test_without_a_time_limit_nothing_is_simplified(monkeypatch):
    limits = []

    def noted(self, form: str, seconds: float | None) -> bytes:
        limits.append(seconds)
        return b"<svg >"

    monkeypatch.setattr(GraphPicture, "_laid_out", noted)
    deep_trace(3).draw(time_limit=None).svg()
    assert limits == [None]


@pytest.mark.skipif(os.name != "posix", reason="makes a program of a script")
def test_a_layout_over_the_limit_is_stopped(tmp_path: Path, monkeypatch):
    endless = tmp_path / "dot"
    endless.write_text("#!/bin/sh\nexec sleep 60\n")
    endless.chmod(0o755)
    monkeypatch.setattr(layout, "PROGRAM", str(endless))
    with pytest.raises(TooLargeError, match=r"Graphviz took longer than 0\.3 s"):
        tg.draw(tangle(60), time_limit=0.3).svg(simplify=False)


def test_what_cannot_be_laid_out_at_all_leaves_no_file(tmp_path: Path, monkeypatch):
    refuse_larger(monkeypatch, 0)
    drawing = tg.draw(tangle(60))
    with pytest.raises(TooLargeError, match=r"61 nodes and 119 edges .* within 10 s.* time_limit"):
        drawing.render(tmp_path / "graph.svg")
    drawing.render(tmp_path / "graph.dot")
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph.dot"]


@pytest.mark.parametrize("calls", [1, 39, 40, 41, 500])
def test_sections_hold_every_call_once_in_order(calls: int):
    graph = tg.draw(tangle(calls)).graph
    split = in_sections(graph, 40)
    scope = [node.scope for node in split.nodes if node.step is not None]
    assert list(dict.fromkeys(scope)) == [section.name for section in split.scopes]
    assert len(split.scopes) <= 40
    assert sorted(scope, key=list(dict.fromkeys(scope)).index) == scope


# --- paths and arrows -----------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("gradients", [True, False])
def test_the_path_through_lenet_is_straight(depth, gradients):
    model, trace = lenet_trace()
    drawing = trace.draw(names=model, depth=depth, gradients=gradients)
    places = places_of(drawing.svg())
    path = [places[node.id] for node in drawing.graph.nodes if node.step is not None]
    assert len(path) == 13
    assert {round(x) for x, _ in path} == {round(path[0][0])}
    assert [y for _, y in path] == sorted(y for _, y in path)


def test_the_parameters_of_a_layer_are_on_both_sides_of_its_call():
    model, trace = lenet_trace()
    drawing = trace.draw(names=model)
    svg = drawing.svg()
    places = places_of(svg)
    named = {node.name: places[node.id] for node in drawing.graph.nodes}
    call = next(node.id for node in drawing.graph.nodes if node.scope == "fc1" and node.step)
    assert named["fc1.weight"][0] < places[call][0] < named["fc1.bias"][0]
    assert named["fc1.weight"][1] == pytest.approx(places[call][1], abs=1)


class Gates(nn.Module):
    """Passes several results of one module to another."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.first = nn.Linear(3, 3, rng=rng())

    def forward(self, x):
        with tg.scope("split"):
            parts = [tg.tanh(x * float(k)) for k in range(1, self.count + 1)]
        with tg.scope("join"):
            y = parts[0]
            for part in parts[1:]:
                y = y * part
            return y


@pytest.mark.parametrize(("count", "label"), [(2, "a, b"), (4, "a, b × 3")])
def test_parallel_arrows_between_folded_modules_are_one_with_their_arguments(count, label):
    with tg.trace() as trace:
        Gates(count)(tg.Tensor(np.ones(3, "f4"), requires_grad=True, name="x")).sum().backward()
    drawing = trace.draw(depth=1, gradients=False)
    split, join = (n.id for n in drawing.graph.nodes if n.kind == "module")
    parallel = [e for e in drawing.graph.edges if (e.source, e.target) == (split, join)]
    assert len(parallel) == count  # the graph, and so its JSON file, has all of them
    ids = ids_of(drawing.svg())
    assert [edge.id in ids for edge in parallel] == [True] + [False] * (count - 1)
    assert label in texts_of(drawing.svg())
    back = texts_of(trace.draw(depth=1, gradients=True).svg())
    norm = np.sqrt(sum(edge.gradient.norm**2 for edge in parallel))
    assert f"{count} gradients" in back
    assert f"norm {norm:.3g}" in back


def test_the_arguments_of_one_call_stay_apart():
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    assert [len(bundle) for bundle in bundles(tg.draw((x * x).sum()).graph)] == [1, 1, 1]


# --- U-Nets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("up", ["transposed", "bilinear"])
@pytest.mark.parametrize("gradients", [False, True])
def test_a_unet_is_drawn_as_a_u(up: str, gradients: bool):
    model = nn.models.UNet(2, width=4, depth=3, up=up, rng=rng())
    with tg.trace() as trace:
        model(np.ones((1, 3, 32, 32), "f4")).sum().backward()
    drawing = trace.draw(names=model, depth=1, gradients=gradients)
    places = places_of(drawing.svg())
    at = {node.name: places[node.id] for node in drawing.graph.nodes}
    for level in range(3):
        (left, high), (right, same) = at[f"down.{level}"], at[f"join.{2 - level}"]
        assert left < right
        assert high == pytest.approx(same, abs=1)
        assert high < at[f"down.{level + 1}"][1]
        assert at[f"join.{2 - level}"][1] < at[f"rise.{2 - level}"][1]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (nn.models.resnet20(rng=rng()), 32),
        (nn.models.ConvAutoencoder(rng=rng()), 28),
        (nn.LeNet5(rng=rng()), 28),
    ],
    ids=["resnet20", "autoencoder", "lenet"],
)
def test_other_networks_are_not_drawn_as_a_u(model, size):
    channels = 3 if size == 32 else 1
    y = model(np.ones((2, channels, size, size), "f4"))
    assert "rank=same" not in tg.draw(y.sum(), names=model, depth=1).source


# --- the style ------------------------------------------------------------------------------------


def size_of(svg: str) -> tuple[float, float]:
    root = ElementTree.fromstring(svg)
    width, height = (float(root.get(side, "").removesuffix("pt")) for side in ("width", "height"))
    return width / 72, height / 72


@pytest.mark.parametrize(
    ("rankdir", "axis", "sign"), [("TB", 1, 1), ("BT", 1, -1), ("LR", 0, 1), ("RL", 0, -1)]
)
def test_values_flow_in_the_direction_of_rankdir(rankdir, axis, sign):
    model, trace = lenet_trace()
    svg = trace.draw(names=model, depth=1, style=Style(rankdir=rankdir)).svg()
    drawn = trace.draw(names=model, depth=1).graph.nodes
    path = [sign * places_of(svg)[node.id][axis] for node in drawn if node.step is not None]
    assert path == sorted(path)
    ahead = {"TB": "down", "BT": "up", "LR": "right", "RL": "left"}[rankdir]
    assert any(text.startswith(f"values flow {ahead}, gradients") for text in texts_of(svg))


@pytest.mark.parametrize(
    ("page", "width", "height"), [("slide", 13.33, 7.5), ("column", 3.35, 9), ((2, 3.5), 2, 3.5)]
)
def test_a_drawing_fits_its_page(page, width, height):
    model, trace = lenet_trace()
    plain = trace.draw(names=model)
    assert max(size_of(plain.svg())) > 7.5
    fitted = size_of(trace.draw(names=model, style=Style(page=page)).svg())
    assert fitted[0] <= width + 0.02
    assert fitted[1] <= height + 0.02


def test_dpi_sets_the_pixels_of_a_png(tmp_path: Path):
    image = pytest.importorskip("PIL.Image", reason="needs the extra data")
    x = tg.Tensor([1.0], requires_grad=True, name="x")
    widths = []
    for dpi in (96, 192):
        path = tg.draw(tg.tanh(x), style=Style(dpi=dpi)).render(tmp_path / f"{dpi}.png")
        with image.open(path) as picture:
            widths.append(picture.width)
    assert widths[1] == pytest.approx(2 * widths[0], abs=2)


def test_without_labels_names_and_problems_remain():
    model, trace = lenet_trace()
    texts = texts_of(trace.draw(names=model, depth=1, style=Style(labels=False)).svg())
    assert {"conv1", "fc3"} <= {text.split(" ")[0] for text in texts}
    assert not any("multiply-adds" in text or "norm" in text for text in texts)
    with pytest.raises(ValueError, match="linear"), tg.trace() as failing:
        nn.LeNet5(rng=rng())(np.zeros((8, 1, 20, 28), "f4"))
    texts = texts_of(failing.draw(depth=1, style=Style(labels=False)).svg())
    assert any("ValueError" in text for text in texts)


@pytest.mark.parametrize("form", ["source", "svg"])
def test_themes_set_all_colors(form: str):
    model, trace = lenet_trace()

    def text(theme):
        drawing = trace.draw(names=model, heat="gradient", style=Style(theme=theme))
        return drawing.source if form == "source" else drawing.svg()

    light, dark, auto = map(text, ("light", "dark", "auto"))
    colors = [set(re.findall(r'="(#[0-9a-f]{6})"', each)) for each in (light, dark)]
    assert INK.light in colors[0]
    assert CARD.area.light in colors[0]
    assert INK.dark in colors[1]
    assert not colors[1] & {INK.light, CARD.area.light}
    assert "prefers-color-scheme" not in light + dark
    assert ("prefers-color-scheme" in auto) == (form == "svg")


def test_a_dark_theme_changes_no_text():
    name = 'fill="#ffffff"'
    x = tg.Tensor([1.0], requires_grad=True, name=name)
    drawing = tg.draw(tg.tanh(x), title=name, style=Style(theme="dark"))
    assert texts_of(drawing.svg()).count(name) == 2


def test_all_text_is_in_the_font_but_that_of_arrays():
    _, trace = lenet_trace()
    root = ElementTree.fromstring(trace.draw(style=Style(font="Times,serif")).svg())
    fonts = {text.get("font-family") for text in root.iter(f"{SVG}text")}
    assert fonts == {"Times,serif"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("rankdir", "UP", "Style: rankdir is 'UP', expected one of 'TB', 'LR', 'BT', 'RL'"),
        ("page", "poster", r"Style: page is 'poster', expected None, 'slide', 'column' or \(width"),
        ("page", (0, 3), "Style: page width is 0, expected a finite number > 0"),
        ("page", (1, 2, 3), r"Style: page is \(1, 2, 3\), expected None"),
        ("page", 3, "Style: page is 3, expected None"),
        ("font", 'A "B"', "Style: font is 'A \"B\"', expected names of fonts"),
        ("font", "", "Style: font is '', expected names of fonts"),
        ("dpi", 0, "Style: dpi is 0, expected an integer >= 1"),
        ("labels", 1, "Style: labels is 1, expected one of True, False"),
        ("theme", "blue", "Style: theme is 'blue', expected one of 'auto', 'light', 'dark'"),
    ],
)
def test_an_unknown_style_is_refused(option, value, message):
    with pytest.raises(ValueError, match=message):
        Style(**{option: value})


def test_a_font_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="Style: font is int, expected str"):
        Style(font=3)
