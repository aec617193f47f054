"""Settings of the documentation site: ``python -m sphinx -W docs site``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "extensions"), str(ROOT / "tests")]

from gallery import COPIES, RUN  # noqa: E402
from support.pages import urls  # noqa: E402

import tinygrad_cnn  # noqa: E402  # from this checkout

project = "tinygrad_cnn"
author = project_copyright = "the tinygrad_cnn developers"
release = version = tinygrad_cnn.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_external_toc",
    # our own, in docs/extensions/
    "gallery",  # before sphinx_gallery: it writes the copies
    "sphinx_gallery.gen_gallery",
    "mathml",
    "notebooks",
    "reference",
    "repository_links",
    "slides",
    "step_through",
]
external_toc_path = "toc.yml"
exclude_patterns = ["extensions", "lessons/slides", "static"]
suppress_warnings = [
    "etoc.toctree",  # the gallery has a toctree of its own
    "myst.header",  # in the derivations, the equations are headings of the third level
]
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]  # docstrings give types in words
default_role = "literal"  # `x` in a docstring is code

# Markdown, as GitHub reads it
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it in words
numpydoc_show_class_members = False

# The gallery
sphinx_gallery_conf = {
    "examples_dirs": str(COPIES),
    "gallery_dirs": "examples",
    "filename_pattern": RUN,
    "image_scrapers": ("gallery.scraper",),
    "parallel": 2,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,  # its page loads scripts from the network
}

# The pages
html_theme = "pydata_sphinx_theme"
html_title = "tinygrad_cnn"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "github_url": urls()["source"],
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
}
html_sidebars: dict[str, list[str]] = {"index": [], "changelog": []}
copybutton_exclude = ".linenos, .gp, .go"
