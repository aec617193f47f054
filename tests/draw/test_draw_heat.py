"""Heat: what is coloured how, and what is marked."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.pictures import statement

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.draw import palette
from tinygrad_cnn.draw.heat import heat_of, marks_of
from tinygrad_cnn.draw.palette import DIVERGING, SEQUENTIAL


def chain(factors: list[float]) -> tg.Tensor:
    """x multiplied by each factor in turn: the gradient is the product of those behind."""
    y = tg.Tensor(1.0, requires_grad=True, dtype="f8", name="x")
    for factor in factors:
        y = y * tg.Tensor(factor, dtype="f8")
    return y


def names_of_marks(drawing) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in drawing.graph.nodes:
        for mark in drawing.marks.get(node.id, ()):
            found.setdefault(mark.name, set()).add(node.name)
    return found


def test_colours_follow_the_logarithm_of_the_norm_against_the_median():
    """Factors of 10 give norms of 1, 10, ..., 10⁸; the median is 10⁴."""
    drawing = tg.draw(chain([10.0] * 8), heat="gradient")
    heat = heat_of(drawing.graph, "gradient", marks_of(drawing.graph))
    learned = [node for node in drawing.graph.nodes if node.gradient]
    assert heat.middle == 1e4
    assert [DIVERGING.index(heat.fills[node.id]) for node in learned] == list(range(8, -1, -1))
    for node in learned:
        assert f'fillcolor="{heat.fills[node.id].area.light}"' in statement(drawing.source, node.id)


def test_a_gradient_that_shrinks_all_the_way_vanishes_and_nothing_explodes():
    drawing = tg.draw(chain([0.1] * 12), heat="gradient")
    assert names_of_marks(drawing).keys() == {"vanishing"}
    vanishing = [node for node in drawing.graph.nodes if drawing.marks.get(node.id)]
    assert vanishing[0].name == "x"
    assert max(node.gradient.norm for node in vanishing) == pytest.approx(1e-9)  # median 1e-6


def test_a_gradient_that_grows_all_the_way_explodes_and_nothing_vanishes():
    assert names_of_marks(tg.draw(chain([10.0] * 12), heat="gradient")).keys() == {"exploding"}


def test_level_gradients_have_no_marks():
    assert tg.draw(chain([1.0] * 12), heat="gradient").marks == {}


def test_a_gradient_of_nothing_but_zeros_vanishes():
    drawing = tg.draw(chain([1.0, 1.0, 0.0, 1.0]), heat="gradient")
    assert "x" in names_of_marks(drawing)["vanishing"]


@pytest.mark.parametrize("traced", [True, False])
def test_a_dead_relu_is_marked(traced):
    x = tg.Tensor(np.linspace(-9.5, 0.5, 11), requires_grad=True)
    with tg.trace() as trace:
        y = tg.relu(x).sum() + tg.relu(x + 9.0).sum()
        if traced:
            y.backward()
    drawing = trace.draw() if traced else tg.draw(y, heat="gradient")
    dead = [node.dead for node in drawing.graph.nodes if node.op == "relu"]
    assert dead == pytest.approx([10 / 11, 1 / 11])
    (node,) = [n for n in drawing.graph.nodes if drawing.marks.get(n.id)]
    assert (node.op, node.dead) == ("relu", dead[0])


@pytest.mark.parametrize(("op", "x"), [("sigmoid", 7.0), ("sigmoid", -7.0), ("tanh", 4.0)])
def test_a_saturated_activation_is_marked(op, x):
    values = tg.Tensor(np.array([x, x, 0.5]), requires_grad=True)
    drawing = tg.draw(tg.OPS[op](values).sum(), heat="gradient")
    (node,) = [node for node in drawing.graph.nodes if node.op == op]
    assert node.saturated == pytest.approx(2 / 3)
    assert names_of_marks(drawing) == {"saturated": {op}}
    assert "◐ saturated" in statement(drawing.source, node.id)
    close = tg.Tensor(np.array([x / 4, 0.5]), requires_grad=True)
    assert tg.draw(tg.OPS[op](close).sum(), heat="gradient").marks == {}


def test_nan_is_marked_apart():
    x = tg.Tensor([0.0, 1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        drawing = tg.draw((tg.sqrt(x) * np.array([0.0, 1.0], "f4")).sum(), heat="gradient")
        source = drawing.source
    marked = names_of_marks(drawing)
    assert marked == {"NaN": {"x"}}
    assert "shape=octagon" in statement(source, "n0")
    assert "1 NaN" in statement(source, "n0")


def test_a_folded_module_has_the_marks_of_what_is_in_it():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4, rng=np.random.default_rng(0)), nn.ReLU()))
    model[0][0].bias.data[:] = -100
    drawing = tg.draw(model(np.ones((2, 4), "f4")).sum(), depth=1, heat="gradient")
    assert "0" in names_of_marks(drawing)["dead"]


@pytest.mark.parametrize("kind", ["time", "memory"])
def test_shares_of_time_and_memory_add_up(kind):
    x = tg.Tensor(np.ones((50, 50)), requires_grad=True)
    with tg.trace() as trace:
        (tg.exp(x) @ tg.tanh(x)).sum().backward()
    drawing = trace.draw(heat=kind)
    heat = heat_of(drawing.graph, kind, {})
    assert sum(heat.shares.values()) == pytest.approx(1)
    assert set(heat.shares) == {node.id for node in drawing.graph.nodes if node.kind == "op"}
    ordered = sorted(heat.shares, key=heat.shares.get)
    steps = [SEQUENTIAL.index(heat.fills[key]) for key in ordered]
    assert steps == sorted(steps)


def test_time_of_the_source_is_only_where_it_is_asked_for():
    x = tg.Tensor(np.ones(3), requires_grad=True)
    with tg.trace() as trace:
        tg.tanh(x).sum().backward()
    measured = re.compile(r"\d (s|ms|µs) forward, [\d.]+ (s|ms|µs) back")
    assert not measured.search(trace.draw(values=True, heat="gradient").source)
    assert measured.search(trace.draw(heat="time").source)


# --- colours --------------------------------------------------------------------------------------

FILLS = [palette.CARD, palette.MODULE, palette.PARAMETER, palette.INPUT, palette.UNKNOWN]
FILLS += [*DIVERGING, *SEQUENTIAL]


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_what_is_written_can_be_read(mode):
    for fill in FILLS:
        for text in (fill.text, fill.faint):
            assert contrast(getattr(fill.area, mode), getattr(text, mode)) >= 4.5, fill
    page = {"light": "#ffffff", "dark": "#0d1117"}[mode]
    for text in (palette.INK, palette.FAINT, palette.GRADIENT, palette.TROUBLE):
        assert contrast(page, getattr(text, mode)) >= 4.5, text


def test_each_colour_of_a_light_page_becomes_one_on_a_dark_page():
    colours = {palette.INK, palette.FAINT, palette.LINE, palette.FRAME, palette.GRADIENT}
    for fill in FILLS:
        colours |= {fill.area, fill.border, fill.text, fill.faint}
    dark: dict[str, str] = {}
    for colour in colours:
        assert dark.setdefault(colour.light, colour.dark) == colour.dark
        assert f'[fill="{colour.light}"]{{fill:{colour.dark}}}' in palette.style_sheet()


@pytest.mark.parametrize(("scale", "middle"), [(DIVERGING, 4), (SEQUENTIAL, 0)])
def test_scales_are_told_apart_without_colour(scale, middle):
    """Towards each end it gets darker: so the scale holds in grey, and for any colour blindness."""
    light = [luminance(fill.area.light) for fill in scale]
    assert light[middle:] == sorted(light[middle:], reverse=True)
    assert light[: middle + 1] == sorted(light[: middle + 1])
