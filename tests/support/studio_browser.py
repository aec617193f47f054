"""A person at the studio: its pages in Chromium, what is drawn there, what must never happen."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import tinygrad_cnn as tg
from support import strokes
from support.machine import lacking
from support.studio import BEARER, PATIENCE, TOKEN, Running

if TYPE_CHECKING:
    from playwright.sync_api import APIRequestContext, APIResponse, Browser, Locator, Page

LEARNING = 240.0
"""Seconds that the first training may take on a busy machine."""

DIGITS = {
    0: "50,20 36,30 32,52 40,76 54,80 66,66 68,42 60,24 50,20",
    1: "54,18 52,40 49,60 47,82",
    2: "32,34 42,21 58,22 65,36 56,54 42,68 32,79 50,77 70,79",
    3: "34,24 48,17 63,24 62,38 47,47 62,53 68,68 56,80 42,81 32,74",
    5: "66,20 42,21 38,45 52,42 65,52 64,70 50,80 34,75",
    6: "60,17 46,30 37,52 40,74 53,81 64,72 62,58 50,54 40,64",
    7: "30,22 50,22 69,22 58,42 50,62 44,82",
    9: "64,30 52,20 38,28 38,42 52,48 63,36 62,56 57,82",
}
"""Digits that a hand draws without lifting the pen: corners on a sheet of side 100."""

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { hadRecentInput, value, sources } of list.getEntries()) {
    const moved = sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? String(node));
    if (!hadRecentInput) window.shifts.push({ value, moved });
  }
}).observe({ type: "layout-shift", buffered: true });
"""


@contextmanager
def visiting(
    browser: Browser,
    studio: Running,
    view: str = "#/draw",
    *,
    width: int = 1280,
    height: int = 800,
    refusals: Collection[int | str] = (),
    **options: Any,
) -> Iterator[Page]:
    """Yield a page of a studio, in which nothing may go wrong.

    Neither it nor another page that it opens may report an error (a violation of the content
    security policy is one), open a dialog of the browser's own, or ask another server for
    anything. `refusals` are statuses that the server may answer with, or errors of the network,
    `options` those of ``Browser.new_context``.
    """
    settings = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}
    context = browser.new_context(**{**settings, **options})
    context.set_default_timeout(1000 * PATIENCE)
    context.add_init_script(SHIFTS)
    wrong: list[str] = []

    def told(kind: str, text: str, url: str) -> None:
        refused = re.search(r"the server responded with a status of \d+|net::ERR_\w+", text)
        allowed = refused and refused[0].rpartition(" ")[2] in map(str, refusals)
        if kind == "error" and not allowed:
            wrong.append(f"{text} ({url})")

    def asked(url: str) -> None:
        if not url.startswith((f"{studio.url}/", "data:", "blob:", "about:")):
            wrong.append(f"asked for {url}")

    def opened(dialog: Any) -> None:
        wrong.append(f"opened a dialog: {dialog.message}")
        dialog.dismiss()

    context.on("console", lambda said: told(said.type, said.text, said.location["url"]))
    context.on("weberror", lambda raised: wrong.append(str(raised.error)))
    context.on("request", lambda request: asked(request.url))
    context.on("dialog", opened)
    context.request.get(f"{studio.url}/?token={TOKEN}")  # leaves the cookie
    page = context.new_page()
    page.goto(f"{studio.url}/{view}")
    yield page
    context.close()
    assert not wrong, "\n".join(wrong)


def expect(found: Locator | Page) -> Any:
    """Return Playwright's assertions on what is found, as patient as a busy machine needs."""
    from playwright.sync_api import expect as expected

    expected.set_options(timeout=1000 * PATIENCE)
    return expected(found)


def draw(page: Page, digit: int, moved: float = 0.0) -> None:
    """Draw a digit with the mouse, `moved` to the right by so many hundredths of the sheet."""
    page.get_by_label("Drawing area").scroll_into_view_if_needed()
    lead(page, DIGITS[digit], moved)


def lead(page: Page, corners: str, moved: float = 0.0) -> None:
    """Lead the mouse through corners, pressed, `moved` to the right."""
    box = page.get_by_label("Drawing area").bounding_box()
    assert box is not None
    for place, (right, down) in enumerate(curve(corners)):
        x = box["x"] + (right + moved) * box["width"] / 100
        y = box["y"] + down * box["height"] / 100
        page.mouse.move(x, y)
        if place == 0:
            page.mouse.down()
    page.mouse.up()


def curve(corners: str) -> list[tuple[float, float]]:
    """Return the places of a pen that is led through corners smoothly."""
    ends = np.array([corner.split(",") for corner in corners.split()], float)
    places: list[tuple[float, float]] = strokes.curve(ends, between=4).tolist()
    return places


def verdict(page: Page) -> Locator:
    """Return where the draw screen says which digit it is."""
    return page.get_by_label("Prediction", exact=True)


def go(page: Page, view: str) -> None:
    """Go to a view by its link at the top."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()


def shift(page: Page, forget: bool = False) -> tuple[float, list[Any]]:
    """Return by how much the page has moved by itself, and what moved."""
    found = page.evaluate("window.shifts")
    if forget:
        page.evaluate("window.shifts = []")
    return sum(one["value"] for one in found), found


def violations(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """Return what axe-core finds wrong with a page, for who cannot see it or not well.

    Only `rules` are tried, if some are given.
    """
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError:
        lacking("axe-core (pip install axe-playwright-python)")
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}  # no style anew
    if rules:
        options["runOnly"] = {"type": "rule", "values": [*rules]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']}: {node['target']} {node['html'][:200]} {node.get('failureSummary', '')}"
        for violation in found
        for node in violation["nodes"]
    ]


def figure(text: str) -> float:
    """Return the first number that a page has written.

    Examples
    --------
    >>> figure("Σ = −0.36"), figure("> 99.9 %"), figure("1.25·10⁻⁵"), figure("61 706")
    (-0.36, 99.9, 1.25e-05, 61706.0)
    """
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-", " \u202f")
    text = re.sub(r"·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", r"e\1", text).translate(powers)
    found = re.search(r"-?\d+(\.\d+)?(e-?\d+)?", text)
    assert found, text
    return float(found[0])


def picture_of(index: int) -> bytes:
    """Return a test image of the digits as a person would send it: a PNG, dark ink on white."""
    contents = io.BytesIO()
    ink = tg.data.digits().test.images[index, 0]
    Image.fromarray(255 - ink).resize((280, 280)).save(contents, "PNG")
    return contents.getvalue()


class Requests:
    """Asks a studio's server directly, for what a test needs beside the page."""

    def __init__(self, context: APIRequestContext, studio: Running) -> None:
        self.context = context
        self.url = f"{studio.url}/api/"

    def get(self, path: str) -> Any:
        """Return an answer."""
        return self._answer(self.context.get(self.url + path, headers=BEARER))

    def post(self, path: str, body: Any = None) -> Any:
        """Send plain JSON, or a picture's bytes, and return the answer."""
        kind = {"Content-Type": "image/png" if isinstance(body, bytes) else "application/json"}
        data = body if isinstance(body, bytes) else json.dumps(body)
        return self._answer(
            self.context.post(self.url + path, data=data, headers={**BEARER, **kind})
        )

    def patch(self, path: str, body: Any) -> Any:
        """Change something, and return it."""
        return self._answer(self.context.patch(self.url + path, data=body, headers=BEARER))

    @staticmethod
    def _answer(response: APIResponse) -> Any:
        assert response.ok, response.text()
        return response.json()


def tiny_run(requests: Requests, name: str = "tiny", epochs: int = 2, **chosen: Any) -> int:
    """Start a training of a moment, and return its id."""
    asked = {
        "model": "mlp",
        "data": "digits",
        "hidden": [8],
        "activation": "relu",
        "optimizer": "sgd",
        "lr": 0.1,
        "batch_size": 200,
        "schedule": "constant",
        "epochs": epochs,
        "seed": 0,
        "name": name,
    }
    return requests.post("runs", {**asked, **chosen})["id"]
