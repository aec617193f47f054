"""The DOT text: the same for the same computation, safe for any name, fast, at any depth."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machine import lengthy
from support.pictures import edges_of, statement, texts_of

import tinygrad_cnn as tg

MODEL = """
import numpy as np, tinygrad_cnn as tg
junk = [tg.Tensor([1.0], requires_grad=True) * k for k in range({junk})]
rng = np.random.default_rng(0)
model = tg.nn.LeNet5(rng=rng)
x = rng.standard_normal((2, 1, 28, 28)).astype("f4")
with tg.num_threads(1), tg.trace() as trace:
    tg.cross_entropy(model(x), np.array([3, 1])).backward()
print(trace.draw(values=True, heat="gradient").source)
print(trace.draw(gradients=True).source)
"""


def test_the_same_model_gives_the_same_bytes_in_another_process():
    texts = []
    for junk, seed in ((0, "1"), (7, "2")):
        program = [sys.executable, "-c", MODEL.format(junk=junk)]
        environment = {"PYTHONHASHSEED": seed, "PATH": "", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(program, env=environment, capture_output=True, check=True)
        texts.append(done.stdout)
    assert texts[0] == texts[1]
    assert texts[0].count(b"digraph") == 2
    assert b"0x" not in texts[0]


def chain(length: int, op=tg.tanh) -> tg.Tensor:
    y = tg.Tensor(np.full(4, 0.5), requires_grad=True)
    for _ in range(length):
        y = op(y)
    return y


def test_a_chain_of_ten_thousand_can_be_drawn():
    drawing = tg.draw(chain(10_000).sum(), gradients=True)
    assert len(edges_of(drawing.source)) == 10_001


@lengthy
def test_a_chain_of_a_hundred_thousand_can_be_drawn():
    drawing = tg.draw(chain(100_000, lambda y: y + 1.0), depth=1)
    assert [node.name for node in drawing.graph.nodes] == ["", "add", "add"]
    assert drawing.graph.scopes[0].repeat == 99_999  # all but the one that is given the leaf


def test_forty_diamonds():
    graph = tg.draw(chain(40, lambda y: y * y), gradients=False).graph
    assert len(graph.nodes) == 41
    assert len(graph.edges) == 80


def test_a_thousand_doublings():
    y = chain(1000, lambda y: y + y).sum()
    with np.errstate(over="ignore"):
        drawing = tg.draw(y, gradients=True)
    assert len(drawing.graph.edges) == 2001
    assert len(edges_of(drawing.source)) == 2001


NAMES = ['a"b', "<b>x</b>", "x\\", "&amp;", "]", "-->", "n0", "a\nb", "​", "\\N", "}", "ключ"]


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name):
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name=name)
    with tg.scope(name or "x"):
        y = (x * x).sum() + 1.0
    drawing = tg.draw(y, title=name)
    svg = drawing.svg()
    assert "<b>x" not in svg
    shown = " ".join(texts_of(svg))
    assert " ".join(name.split()) in shown


@given(st.text(max_size=8))
def test_quotes_are_balanced_whatever_the_title(title):
    x = tg.Tensor([1.0], requires_grad=True)
    first = tg.draw(tg.tanh(x), title=title).source.splitlines()[0]
    inside = first.removeprefix('digraph "').removesuffix('" {')
    assert inside.replace("\\\\", "").replace('\\"', "").count('"') == 0


def test_small_arrays_are_shown_and_large_ones_described():
    w = tg.Tensor(np.array([[1.0, -0.5], [0.25, 10.0]]), requires_grad=True, name="w")
    v = tg.Tensor(np.arange(100.0).reshape(10, 10), requires_grad=True, name="v")
    with tg.trace() as trace:
        (tg.sum(w) + tg.sum(v)).backward()
    source = trace.draw(values=True).source
    assert "[ 1     −0.5 ]" in source
    assert "0 … 99, mean 49.5" in source
    assert "1 % zero" in source


def test_derivatives_and_equations_stand_at_the_way_back():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    source = tg.draw(tg.sigmoid(x).sum(), gradients=True).source
    (line,) = [line for line in source.splitlines() if 'id="e0-gradient"' in line]
    assert "dir=back" in line
    assert "∂x: g·y·(1 − y)" in line
    assert "eq 45" in line
    assert "norm" in line


def test_kinds_of_nodes_have_shapes_of_their_own():
    x = tg.Tensor([1.0], name="x")
    w = tg.Tensor([1.0], requires_grad=True, name="w")
    source = tg.draw(x * w * 2.0).source
    shapes = {}
    for node in tg.draw(x * w * 2.0).graph.nodes:
        line = statement(source, node.id)
        shapes[node.kind] = (line.partition("shape=")[2].split()[0], "rounded" in line)
    assert len(set(shapes.values())) == 4
