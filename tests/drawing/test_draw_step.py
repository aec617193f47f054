"""The drawing of a captured step: its lines, the memory that is shared, and what is refused."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support import pages

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.compiler import CompiledStep
from tinygrad_cnn.compiler.program import StepInstruction, TapeCall
from tinygrad_cnn.drawing.__main__ import STEPS
from tinygrad_cnn.drawing.step_map import step_map
from tinygrad_cnn.engine import fast

WAYS = [False, True] if fast.is_available() else [False]


def captured(is_fast: bool, model: nn.Module | None = None, size: int = 28) -> CompiledStep:
    """Return a training step that has run once."""
    rng = np.random.default_rng(0)
    model = nn.LeNet5(rng=rng) if model is None else model
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(x, labels):
        loss = tg.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    channels = next(model.parameters()).shape[1]
    with tg.engine.options(fast=is_fast):
        step(rng.standard_normal((8, channels, size, size), "f4"), rng.integers(10, size=8))
    return step


def flattened(step: CompiledStep) -> list[StepInstruction]:
    return [
        inner
        for outer in step.replayed[-1].instructions
        for inner in (outer.instructions if isinstance(outer, TapeCall) else [outer])
    ]


@pytest.mark.parametrize("is_fast", WAYS)
def test_each_instruction_has_a_line_with_its_module(is_fast: bool) -> None:
    step = captured(is_fast)
    drawing = tg.draw(step)
    lines, instructions = drawing.map.lines, flattened(step)
    assert [line.scope for line in lines] == [each.scope for each in instructions]
    assert [line.phase for line in lines] == sorted(
        (line.phase for line in lines), key=["forward", "backward", "update"].index
    )
    assert any(re.fullmatch(r"y\d+ = relu\(y\d+\)", line.text) for line in lines)
    assert any("∂conv2d/∂w" in line.text for line in lines)
    assert bool(max(line.tape for line in lines)) == is_fast


@pytest.mark.parametrize("is_fast", WAYS)
@pytest.mark.parametrize("depth", [None, 1])
def test_values_that_are_needed_at_the_same_time_share_no_memory(
    is_fast: bool, depth: int | None
) -> None:
    found = step_map(captured(is_fast).replayed[-1], depth)
    shared = 0
    for region in found.regions:
        assert 0 < region.size <= region.unshared
        for one, other in combinations(region.pieces, 2):
            if one.shares_with(other) and one.size and other.size:
                shared += 1
                assert depth or one.last < other.first or other.last < one.first
        assert max(piece.offset + piece.size for piece in region.pieces) == region.size
    assert shared


@pytest.mark.parametrize("is_fast", WAYS)
def test_a_value_has_memory_from_its_line_to_its_last_reader(is_fast: bool) -> None:
    step = captured(is_fast)
    pieces = {
        name: piece for region in tg.draw(step).map.regions for piece in region.pieces
        for name in piece.names
    }  # fmt: skip
    known = 0
    for k, instruction in enumerate(flattened(step)):
        for value in [*instruction.reads(), *instruction.results()]:
            if value.name in pieces:
                known += 1
                assert pieces[value.name].first <= k <= pieces[value.name].last
    assert known > 40


def test_modules_are_folded_to_one_line_in_each_direction() -> None:
    model = nn.models.resnet20(rng=np.random.default_rng(0))
    step = captured(False, model, size=8)
    whole, folded = tg.draw(step), tg.draw(step, depth=1)
    assert len(folded.map.lines) < len(whole.map.lines) / 3
    assert sum(line.count for line in folded.map.lines) == len(whole.map.lines)
    assert all("." not in line.scope for line in folded.map.lines)


def test_the_picture_is_well_formed_and_says_what_shares_memory(tmp_path: Path) -> None:
    drawing = tg.draw(captured(False), title="a < b")
    root = ElementTree.fromstring(drawing.svg())
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "forward", "backward", "update", "conv1"} <= set(texts)
    titles = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("shares memory with" in title for title in titles)
    assert drawing.render(tmp_path / "step.svg").read_text("utf-8") == drawing.svg()
    assert drawing.svg() == tg.draw(captured(False), title="a < b").svg()
    assert repr(drawing).startswith("<StepDrawing: a < b: ")
    with pytest.raises(ValueError, match=r"expected one ending in \.svg, \.png, \.pdf"):
        drawing.render(tmp_path / "step.dot")


def test_the_theme_is_that_of_the_style() -> None:
    step = captured(False)
    light, dark = (
        tg.draw(step, style=tg.drawing.Style(theme=theme)).svg() for theme in ("light", "dark")
    )
    assert "prefers-color-scheme" in tg.draw(step).svg()
    assert "prefers-color-scheme" not in light + dark
    assert light != dark


def test_a_png_is_made_by_the_extra_render(tmp_path: Path) -> None:
    pytest.importorskip("typst", reason="needs the extra render")
    path = tg.draw(captured(False)).render(tmp_path / "step.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_program_is_drawn_and_other_options_are_refused() -> None:
    step = captured(False)
    assert tg.draw(step.programs[0]).svg() == tg.draw(step).svg()
    with pytest.raises(ValueError, match="heat is 'time', but y is a captured step"):
        tg.draw(step, heat="time")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="draw: depth is 0"):
        tg.draw(step, depth=0)
    with pytest.raises(ValueError, match="the step has captured nothing yet; call it once"):
        tg.draw(tg.compile(lambda x: x * 2.0))


@pytest.mark.parametrize("name", STEPS)
def test_each_picture_of_a_step_can_be_made_and_is_shown(name: str) -> None:
    assert STEPS[name]().svg().startswith("<svg")
    shown = (pages.ROOT / "docs" / "compile.md").read_text("utf-8")
    assert f"(pictures/{name}.svg)" in shown
    assert (pages.ROOT / "docs" / "pictures" / f"{name}.svg").is_file()
