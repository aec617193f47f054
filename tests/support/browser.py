"""A headless Chromium, driven by Playwright, for the tests of pages."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.machine import lacking

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",  # a page of our own, and no network; as root Chromium starts only so
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser; where there is none the test skips, in continuous integration it fails."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None or importlib.util.find_spec("playwright") is None:
        lacking("Chromium (apt-get install chromium) and Playwright (pip install playwright)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, file: Path, width: int = 1280, height: int = 800, **options: Any
) -> Iterator[Page]:
    """Yield a page that shows a file; it must report no error and ask for nothing else.

    Nothing in it moves smoothly, so that a test need not wait; `options` are those of
    ``Browser.new_context``, such as ``color_scheme="dark"``.
    """
    settings = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}
    context = browser.new_context(**{**settings, **options})
    context.set_default_timeout(60_000)
    page = context.new_page()
    errors: list[str] = []
    requests: set[str] = set()
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.add(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not errors, "\n".join(errors)
    others = {url for url in requests if not url.startswith("data:")} - {file.as_uri()}
    assert not others, others
