"""Settings of the slides: ``python -m sphinx -W -b revealjs docs/lessons/slides FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parents[2]
sys.path.insert(0, str(DOCS / "extensions"))

project = "tinygrad_cnn"
author = "the tinygrad_cnn developers"
language = "en"
root_doc = "index"
extensions = ["myst_parser", "sphinx_revealjs", "mathml"]
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"

revealjs_style_theme = "white"
revealjs_static_path = ["static"]
revealjs_css_files = ["slides.css"]
revealjs_script_conf = {
    "width": 1280,
    "height": 720,
    "margin": 0.02,
    "center": False,
    "hash": True,
    "slideNumber": "c/t",
    "transition": "none",
}
