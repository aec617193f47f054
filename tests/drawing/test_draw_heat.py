"""Heat maps: colors and marks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.pictures import statement

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.drawing import palette
from tinygrad_cnn.drawing.heat import heat_of, marks_of
from tinygrad_cnn.drawing.palette import DIVERGING, SEQUENTIAL


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


def test_colors_follow_the_logarithm_of_the_norm_against_the_median():
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


# --- gradients that are 0 by mathematics ----------------------------------------------------------


class Residual(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + x): every bias stands before a batch norm."""

    def __init__(self, given: int, made: int, rng: np.random.Generator) -> None:
        stride = 1 if given == made else 2
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, rng=rng)
        self.norm1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, rng=rng)
        self.norm2 = nn.BatchNorm2d(made)
        self.skip = None if stride == 1 else nn.Conv2d(given, made, 1, 2, rng=rng)

    def forward(self, x):
        y = tg.relu(self.norm1(self.conv1(x)))
        return tg.relu(self.norm2(self.conv2(y)) + (self.skip(x) if self.skip else x))


def resnet(seed: int) -> nn.Module:
    """ResNet-8, of 8 to 32 channels."""
    rng = np.random.default_rng(seed)
    blocks = [Residual(*widths, rng) for widths in [(8, 8), (8, 16), (16, 32)]]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8), nn.ReLU(), *blocks,
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(32, 10, rng=rng),
    )  # fmt: skip


@pytest.mark.parametrize(("traced", "batch", "largest"), [(False, 16, 1.0), (True, 16, 255.0)])
def test_a_healthy_residual_network_has_no_marks(traced, batch, largest):
    model, rng = resnet(batch), np.random.default_rng(0)
    images = (largest * rng.random((batch, 3, 32, 32))).astype("f4")
    with tg.trace() as trace:
        loss = tg.cross_entropy(model(images), rng.integers(0, 10, batch))
        if traced:
            loss.backward()
    drawing = trace.draw(heat="gradient") if traced else tg.draw(loss, heat="gradient", names=model)
    assert drawing.marks == {}
    canceled = {node.name for node in drawing.graph.nodes if node.cancels}
    assert canceled >= {"0.bias", "3.conv1.bias", "3.conv2.bias", "5.conv2.bias"}
    assert all(name.endswith("bias") for name in canceled)
    assert "its terms, of size" in drawing.source


def normalized(z, axes):
    centered = z - tg.mean(z, axes, keepdims=True)
    return centered / tg.sqrt(tg.mean(centered * centered, axes, keepdims=True) + 1e-6)


@given(st.sampled_from(["f4", "f8"]), st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
@example("f4", 2, 1, 0)  # the terms of bias and x, both drawn by seed 0, are orthogonal
def test_a_gradient_that_cancels_has_the_size_of_its_terms(dtype, images, channels, seed):
    """A bias added through a reshape, and a factor of all: before a normalization both do nothing.

    The terms of the bias's gradient are the entries of the gradient that arrives.
    """
    rng = np.random.default_rng(seed)
    x, bias, factor, weight = (
        tg.Tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True, name=name)
        for name, shape in [
            ("x", (images, channels, 3, 3)), ("bias", channels), ("factor", ()),
            ("weight", (9 * channels, 4)),
        ]
    )  # fmt: skip
    factor.data[...] = 1.5
    shifted = x + bias.reshape(1, -1, 1, 1)
    y = normalized(shifted * factor, (0, 2, 3)).reshape(images, -1) @ weight
    drawing = tg.draw(tg.cross_entropy(y, rng.integers(0, 4, images)), heat="gradient")
    nodes = {node.name: node for node in drawing.graph.nodes}
    arriving = next(node for node in drawing.graph.nodes if node.op == "add").gradient.norm
    for name in ("bias", "factor"):
        assert nodes[name].cancels
        assert 1e-2 * arriving < nodes[name].size < 1e2 * arriving
    assert not nodes["x"].cancels
    assert not nodes["weight"].cancels
    assert not names_of_marks(drawing).get("vanishing", set()) & {"bias", "factor"}


@given(st.lists(st.floats(0.1, 3) | st.floats(-3, -0.1) | st.just(0.0), min_size=1, max_size=8))
@example([6e-5]).xfail(raises=AssertionError)  # far below 1 the size is estimated: 1.25 times
def test_where_nothing_is_summed_the_size_is_the_norm(factors):
    drawing = tg.draw(chain(factors), gradients=True)
    learned = [node for node in drawing.graph.nodes if node.gradient is not None]
    assert len(learned) == len(factors) + 1
    for node in learned:
        assert node.scale == pytest.approx(node.gradient.norm, rel=1e-12)
        assert not node.cancels


def test_a_derivative_that_is_small_is_no_cancellation():
    """Behind two saturated tanhs the gradient is lost, however its terms are added."""
    x = tg.Tensor(np.full((50, 4), 12.0, "f4"), requires_grad=True, name="x")
    bias = tg.Tensor(np.zeros(4, "f4"), requires_grad=True, name="bias")
    drawing = tg.draw(tg.tanh(x + bias).sum(), heat="gradient")
    assert {"x", "bias"} <= names_of_marks(drawing)["vanishing"]


# --- NaN ------------------------------------------------------------------------------------------


@tg.op(formula="x", elementwise=True)
def planted(x, at="nowhere"):
    """A NaN in the value, in the derivative, or in neither."""
    return x * np.nan if at == "forward" else np.array(x)


@planted.derivative("x", formula="g")
def _(g, *, at):
    return g * np.nan if at == "backward" else g * 1.0


del tg.OPS["planted"]  # other tests walk all ops


@pytest.mark.parametrize("traced", [True, False])
@given(st.sampled_from(["forward", "backward"]), st.integers(0, 5), st.integers(0, 2), st.data())
def test_the_first_cause_of_a_nan_is_singled_out(traced, at, place, branches, data):
    """A chain with side branches; one call of it plants a NaN, which all behind it have."""
    x = y = tg.Tensor([0.5, 2.0], requires_grad=True, name="x")
    calls = []
    with tg.trace() as trace:
        for k in range(6):
            y = planted(y, at=at if k == place else "nowhere")
            calls.append(y)
            if k < branches:
                y = y + calls[data.draw(st.integers(0, k))] * 0.5
        loss = (y * y).sum()
        if traced:
            loss.backward()
    drawing = trace.draw(loss, heat="gradient") if traced else tg.draw(loss, heat="gradient")
    marks = {node.id: {m.name for m in drawing.marks.get(node.id, ())} for node in
             drawing.graph.nodes}  # fmt: skip
    (cause,) = [node for node in drawing.graph.nodes if "first NaN" in marks[node.id]]
    planting = [node for node in drawing.graph.nodes if node.op == "planted"]
    if traced or at == "backward":
        assert cause is planting[place]
        assert marks[planting[0].id if place else drawing.graph.nodes[0].id] >= {"NaN"} or (
            at == "forward" and place)  # fmt: skip
    for node in drawing.graph.nodes:
        has = any(n is not None and n.nan for n in (node.value, node.gradient))
        assert marks[node.id] <= {"first NaN", "NaN"}
        assert (marks[node.id] == {"NaN"}) == (has and node is not cause)
    assert x.name == "x"


def test_infinity_before_nan_is_the_first_cause():
    """√0 sends ∞; what multiplies it by 0 makes NaN of it: the first cause is the root."""
    x = tg.Tensor([0.0, 1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        drawing = tg.draw(tg.sqrt(x * 0.0).sum(), heat="gradient")
    assert names_of_marks(drawing) == {"first NaN": {"sqrt"}, "NaN": {"mul", "x"}}
    source = drawing.source
    octagons = [node.name for node in drawing.graph.nodes
                if "shape=octagon" in statement(source, node.id)]  # fmt: skip
    assert octagons == ["sqrt"]
    ids = {node.name: node.id for node in drawing.graph.nodes}
    assert "✕ first NaN" in statement(source, ids["sqrt"])
    assert 'class="parameter NaN"' in statement(source, ids["x"])


def test_a_leaf_with_nan_is_the_first_cause():
    x = tg.Tensor([np.nan, 1.0], requires_grad=True, name="x")
    drawing = tg.draw((x * tg.exp(x)).sum(), heat="gradient")
    assert names_of_marks(drawing)["first NaN"] == {"x"}


# --- colors --------------------------------------------------------------------------------------

FILLS = [palette.CARD, palette.MODULE, palette.PARAMETER, palette.INPUT, palette.UNKNOWN]
FILLS += [*DIVERGING, *SEQUENTIAL]


def luminance(color: str) -> float:
    """The relative luminance of WCAG 2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
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


def test_each_color_of_a_light_page_becomes_one_on_a_dark_page():
    colors = {palette.INK, palette.FAINT, palette.LINE, palette.FRAME, palette.GRADIENT}
    for fill in FILLS:
        colors |= {fill.area, fill.border, fill.text, fill.faint}
    dark: dict[str, str] = {}
    for color in colors:
        assert dark.setdefault(color.light, color.dark) == color.dark
        assert f'[fill="{color.light}"]{{fill:{color.dark}}}' in palette.style_sheet()


@pytest.mark.parametrize(("scale", "middle"), [(DIVERGING, 4), (SEQUENTIAL, 0)])
def test_scales_are_told_apart_without_color(scale, middle):
    """Towards each end it gets darker: so the scale holds in gray, and for any color blindness."""
    light = [luminance(fill.area.light) for fill in scale]
    assert light[middle:] == sorted(light[middle:], reverse=True)
    assert light[: middle + 1] == sorted(light[: middle + 1])
