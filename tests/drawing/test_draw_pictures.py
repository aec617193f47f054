"""The pictures of the documentation are those that the command on the page makes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from support import pages
from support.pictures import edges_of

from tinygrad_cnn.drawing.__main__ import PICTURES
from tinygrad_cnn.drawing.gallery import GALLERY
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, DrawnScope, Statistics

PAGE = pages.ROOT / "docs" / "reading-the-graph.md"


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_can_be_made_and_is_there(name: str) -> None:
    drawing = PICTURES[name]()
    assert len(edges_of(drawing.source)) == len(drawing.graph.edges)
    assert (pages.ROOT / "docs" / "pictures" / f"{name}.svg").is_file()


def test_the_page_shows_each_picture() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\.svg\)", PAGE.read_text("utf-8"))
    assert set(shown) == PICTURES.keys()
    assert f"python -m tinygrad_cnn.drawing {Path('docs/pictures').as_posix()}" in PAGE.read_text(
        "utf-8"
    )


@pytest.mark.parametrize("name", GALLERY)
def test_each_picture_of_the_gallery_is_made_and_shown(name: str) -> None:
    shown = (pages.ROOT / "docs" / "gallery.md").read_text("utf-8")
    assert f"(pictures/{name}.svg)" in shown
    drawing = GALLERY[name]()
    linked = {end for edge in drawing.graph.edges for end in (edge.source, edge.target)}
    assert {node.id for node in drawing.graph.nodes} == linked
    assert (pages.ROOT / "docs" / "pictures" / f"{name}.svg").is_file()


@pytest.mark.parametrize("kind", [DrawnGraph, DrawnNode, DrawnEdge, DrawnScope, Statistics])
def test_the_page_names_each_key_of_the_json_file(kind: type) -> None:
    schema = PAGE.read_text("utf-8").partition("## The JSON file")[2]
    assert all(f"`{field.name}`" in schema for field in dataclasses.fields(kind))
