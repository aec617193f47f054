"""The picture of the packages is what the source says."""

from __future__ import annotations

import re

from support import pages
from support.architecture_picture import GROUPS, described, source
from support.packages import FLOORS
from support.pictures import ids_of, texts_of

PICTURE = pages.ROOT / "docs" / "pictures" / "architecture.svg"


def test_the_picture_has_the_packages_their_imports_and_what_flows() -> None:
    """If it fails, run the command of docs/architecture.md."""
    svg = PICTURE.read_text("utf-8")
    assert {*re.findall(r' \[id="([\w-]+)"', source())} == ids_of(svg) - {"graph0"}
    shown = set(texts_of(svg))
    flows = re.findall(r' label="  ([^"]+)"\]', source())
    assert {*FLOORS, *flows} | {line for name in FLOORS for line in described(name)} == shown


def test_the_picture_has_a_color_for_each_package() -> None:
    grouped = [package for _, packages in GROUPS.values() for package in packages]
    assert sorted(grouped) == sorted(FLOORS)
