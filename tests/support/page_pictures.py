"""Takes the pictures of the page that docs/stepping.md shows.

PYTHONPATH=tests python -m support.page_pictures docs/pictures

"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from support.browser import chromium, opened
from support.traced import lenet, perceptron

SHOTS = (  # name, model, width, height, scheme, step, node to point at
    ("page-forward", lenet, 1280, 800, "light", 4, ""),
    ("page-backward", lenet, 1280, 800, "light", 23, ""),
    ("page-end-dark", lenet, 1280, 800, "dark", 26, ""),
    ("page-hover", lenet, 1280, 800, "light", 24, "maxpool in pool1"),
    ("page-perceptron", perceptron, 1280, 800, "light", 9, ""),
    ("page-phone", perceptron, 360, 740, "light", 9, ""),
    ("page-phone-dark", perceptron, 360, 740, "dark", 9, ""),
)


def main(folder: Path) -> None:
    with TemporaryDirectory() as temporary, chromium() as browser:
        for name, made, width, height, scheme, step, node in SHOTS:
            file = made().drawing.render(Path(temporary, f"{name}.html"))
            with opened(browser, file, width, height, color_scheme=scheme) as page:
                page.locator("#step").fill(str(step))
                if node:
                    page.get_by_role("button", name=node).hover()
                page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
