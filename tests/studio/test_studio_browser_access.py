"""The studio for everybody: screen readers, small and dark screens, the keyboard alone."""

from __future__ import annotations

import re

import pytest
from support.studio import PATIENCE, TOKEN, until
from support.studio_browser import (
    Requests,
    draw,
    expect,
    picture_of,
    tiny_run,
    verdict,
    violations,
    visiting,
)

VIEWS = ("Draw", "See", "Train", "Playground", "Teach", "Models")


@pytest.fixture(scope="module")
def furnished(browser, studio):
    """A studio in which there is something on every screen."""
    with visiting(browser, studio) as page:
        requests = Requests(page.request, studio)
        for index in range(6):
            requests.post(f"drawings?label={index}", picture_of(index))
        ids = [tiny_run(requests, name, activation=name) for name in ("relu", "sigmoid")]
        until(lambda: all(requests.get(f"runs/{id}")["state"] == "done" for id in ids))
        lesson = requests.post("runs/fine-tune", {"epochs": 1, "replay": 100})["id"]
        until(lambda: requests.get(f"runs/{lesson}")["state"] == "done")
    return studio


def drawn(page):
    draw(page, 3)
    expect(verdict(page)).to_have_text(re.compile(r"\d"))


def seen(page):
    expect(page.get_by_role("region", name="The chosen cell")).to_contain_text("bias")


def seen_backward(page):
    expect(page.get_by_role("region", name="One weight").locator("dd")).to_have_count(3)


def trained(page):
    expect(page.locator(".legend .value").first).to_have_text(re.compile(r"\d"))


def played(page):
    expect(page.locator(".legend .value").first).to_have_text(re.compile(r"\d"))
    page.get_by_role("radio", name="Gradients").check()
    page.get_by_role("button", name="Walk through one step").click()
    walk = page.get_by_role("region", name="One step")
    for _ in range(5):
        walk.get_by_role("button", name="Next").click()
    expect(walk.get_by_role("heading")).to_contain_text("Backward")


def taught(page):
    expect(page.get_by_text("The model predicts")).to_be_visible()
    expect(page.locator(".outcome")).to_contain_text("points")


def modeled(page):
    expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()
    expect(page.get_by_role("region", name="Settings")).to_contain_text("Weight decay")
    expect(page.get_by_role("region", name="Settings")).not_to_contain_text(
        re.compile("object|lenet5|metrics|_")
    )
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()


def picked(page):
    page.get_by_role("button", name="Pick a test image").click()
    expect(page.get_by_role("button", name="Test image").first).to_be_visible()


def documented(page):
    expect(page.get_by_role("main")).to_contain_text("/api/predict")


SCREENS = {
    "draw": ("#/draw", drawn),
    "pick": ("#/draw", picked),
    "see": ("#/see?layer=conv1&cell=5,4,6", seen),
    "backward": ("#/see?side=backward&label=7", seen_backward),
    "train": ("#/train?sort=constructor&x=constructor", trained),
    "apart": ("#/train?runs=1,2&apart=1", trained),
    "playground": ("#/playground", played),
    "teach": ("#/teach?drawing=2", taught),
    "models": ("#/models", modeled),
    "docs": ("docs", documented),
}


OF_COLORS = ("color-contrast", "link-in-text-block")


@pytest.mark.parametrize("name", SCREENS)
def test_axe_finds_nothing_in_light_or_dark_and_nothing_scrolls_sideways(browser, furnished, name):
    view, ready = SCREENS[name]
    with visiting(browser, furnished, view, width=360) as page:
        ready(page)
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert violations(page) == [], f"light, {width} pixels"
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{wide} pixels wide"
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert violations(page, OF_COLORS) == [], "dark"  # only colors differ


def test_the_keyboard_alone_reaches_every_view_and_draws(browser, furnished):
    with visiting(browser, furnished) as page:
        expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Skip to the content")).to_be_focused()
        for view in VIEWS[1:] + VIEWS[:1]:
            reach(page, page.get_by_role("navigation", name="Views").get_by_role("link", name=view))
            page.keyboard.press("Enter")
            expect(page).to_have_title(re.compile(f"^{view} "))
            expect(page.locator("#view")).to_be_focused()
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.keyboard.press("Shift+Tab")
        reach(page, page.get_by_label("Drawing area"))
        for _ in range(3):
            page.keyboard.press("Shift+ArrowUp")
        page.keyboard.press("Space")
        for _ in range(6):
            page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("Space")
        expect(verdict(page)).to_have_text("1")
        reach(page, page.get_by_role("link", name="See why"))
        page.keyboard.press("Enter")
        expect(page.locator("aside .verdict")).to_contain_text("1, with")


def test_who_has_no_token_is_asked_for_it_and_then_sees_the_page_that_was_wanted(browser, studio):
    with browser.new_context() as context:
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.goto(f"{studio.url}/#/models")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == []
        expect(page.get_by_label("Token")).to_be_focused()
        page.keyboard.type("not-this-one")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("This is not the studio's token")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open the studio").click()
        expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
        assert page.url == f"{studio.url}/#/models"


def reach(page, wanted):
    """Go on with the tabulator until something has the focus."""
    for _ in range(80):
        if wanted.evaluate("found => found === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"no way to {wanted} by keyboard")
