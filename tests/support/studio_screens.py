"""Takes the pictures of the studio that its documentation shows.

PYTHONPATH=tests python -m support.studio_screens docs/pictures

"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from support.browser import chromium
from support.studio import running_studio
from support.studio_browser import LEARNING, Requests, draw, expect, go, verdict, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Page

DRAWN = (3, 7, 5, 2, 9, 6, 3, 0, 1, 7, 5, 3)
"""The digits that somebody draws to teach them."""

TALL = {"width": 1280, "height": 1100}
"""So much of a screen is shown that is longer than a window."""


def main(folder: Path) -> None:
    with (
        TemporaryDirectory() as temporary,
        running_studio(Path(temporary), trained=False) as studio,
        chromium() as browser,
    ):

        def shoot(page: Page, name: str, whole: bool = False) -> None:
            page.mouse.move(0, 0)
            page.screenshot(path=folder / f"studio-{name}.png", full_page=whole)

        with visiting(browser, studio) as page:
            page.get_by_text("The prediction appears while you draw.").wait_for(
                timeout=1000 * LEARNING
            )
            show_drawing(page)
            shoot(page, "draw")
            given = page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('input')")
            page.set_viewport_size(TALL)
            page.goto(f"{studio.url}/#/see?input={given}&label=3&layer=conv2&cell=4,3,5")
            expect(page.get_by_role("region", name="The chosen cell")).to_contain_text("bias")
            shoot(page, "see", whole=True)
            page.goto(f"{studio.url}/#/see?input={given}&label=5&side=backward")
            expect(page.get_by_role("region", name="One weight").locator("dd")).to_have_count(3)
            shoot(page, "backward")
            teach(page)
            shoot(page, "teach")
            newest = Requests(page.request, studio).get("models")["models"]
            page.goto(f"{studio.url}/#/models?model={max(model['id'] for model in newest)}")
            expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()
            shoot(page, "models")
            go(page, "Train")
            page.get_by_role("button", name="Sigmoid against ReLU").click()
            for name in ("Sigmoid", "ReLU"):
                row = page.get_by_role("row").filter(has_text=f"{name}, four layersP")
                row.get_by_text("Done").wait_for(timeout=1000 * LEARNING)
            shoot(page, "train")
        spiral = "data=spiral&noise=0&hidden=8,6&features=x1,x2,sin x1,sin x2&pace=fast"
        with visiting(browser, studio, f"#/playground?{spiral}", height=900) as page:
            page.get_by_role("button", name="Play", exact=True).click()
            expect(page.locator(".legend .value").first).to_have_text(re.compile(r"0\.00"))
            page.get_by_role("button", name="Pause", exact=True).click()
            page.get_by_role("button", name="Layer 2, neuron 1").click()
            expect(page.get_by_text("Output of layer 2, neuron 1")).to_be_visible()
            shoot(page, "playground")
        with visiting(browser, studio, width=360, height=740) as page:
            show_drawing(page)
            page.evaluate("scrollTo(0, 0)")
            shoot(page, "draw-phone")
        with visiting(browser, studio, color_scheme="dark") as page:
            show_drawing(page)
            shoot(page, "draw-dark")


def show_drawing(page: Page) -> None:
    draw(page, 3)
    expect(verdict(page)).to_have_text("3")
    expect(page).to_have_url(re.compile("input="))


def teach(page: Page) -> None:
    """Draw digits, say what they are, and let a model learn them."""
    go(page, "Teach")
    expect(page.get_by_role("heading", name="Which digit is it?")).to_be_visible()
    for place, digit in enumerate(DRAWN):
        draw(page, digit, moved=place % 4)
        expect(page.get_by_text("The model predicts")).to_be_visible()
        page.keyboard.press(str(digit))
        expect(page.get_by_role("list", name="Drawings").get_by_role("listitem")).to_have_count(
            place + 1
        )
    page.get_by_role("button", name="Fine-tune").click()
    page.locator(".outcome").get_by_text("Done").wait_for(timeout=1000 * LEARNING)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
