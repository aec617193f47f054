"""The pages that step through backprop, made at build time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_cnn.drawing import lessons

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the pages into the folder stepping/ of the site."""
    if error is None and app.builder.format == "html":
        lessons.main(Path(app.outdir, "stepping"))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the pages when the others are finished."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
