"""Using the page: by mouse and by keyboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.browser import opened
from support.pictures import refuse_larger
from support.traced import lenet

import tinygrad_cnn as tg


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return lenet().drawing.render(tmp_path_factory.mktemp("page") / "backprop.html")


def at(page) -> str:
    return page.locator(".phase").text_content()


def focused(page) -> str:
    """Return what a screen reader would call the element that has the focus."""
    return page.evaluate(
        "() => document.activeElement.getAttribute('aria-label') ?? "
        "document.activeElement.textContent.trim()"
    )


# --- mouse ---------------------------------------------------------------------------------------


def test_hovering_over_a_node_shows_its_value_and_gradient(browser, file):
    with opened(browser, file) as page:
        card = page.locator("#card")
        assert card.is_hidden()
        node = page.get_by_role("button", name="relu in activation1")
        node.hover()
        assert card.is_visible()
        pictures = card.get_by_role("img")
        assert pictures.count() == 2
        value, gradient = (picture.get_attribute("aria-label") for picture in pictures.all())
        assert value.startswith("value, 1 × 6 × 28 × 28: 0 to ")
        assert gradient.startswith("gradient, 1 × 6 × 28 × 28: −")
        assert "max(0, x)" in card.inner_text()
        box = card.bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)  # onto the card itself
        assert card.is_visible()
        page.keyboard.press("Escape")
        assert card.is_hidden()
        node.hover()
        page.mouse.move(700, 400)
        assert card.is_hidden()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("depth", ["layers", "calls"])
def test_the_card_never_covers_its_node_and_never_leaves_the_box(browser, file, width, depth):
    with opened(browser, file, width=width) as page:
        page.get_by_role("button", name=depth).click()
        page.locator("#where").hover()  # away from all that has a card
        box = page.locator("#graph").bounding_box()
        for node in page.locator("#canvas .node").all():
            node.scroll_into_view_if_needed()
            node.dispatch_event("pointerover", {"pointerType": "mouse"})
            own = node.evaluate("(node) => node.getBoundingClientRect().toJSON()")  # no stroke
            card = page.locator("#card").bounding_box()
            shared = [
                min(own[x] + own[size], card[x] + card[size]) - max(own[x], card[x])
                for x, size in (("x", "width"), ("y", "height"))
            ]
            assert 0 < min(shared) <= 5
            assert card["x"] >= box["x"]
            assert card["x"] + card["width"] <= box["x"] + box["width"]
            assert card["y"] >= box["y"]
            assert card["y"] + card["height"] <= box["y"] + box["height"]


def test_a_click_on_a_node_goes_to_its_step_in_the_half_that_is_shown(browser, file):
    with opened(browser, file) as page:
        node = page.get_by_role("button", name="maxpool in pool1")
        node.click()
        assert at(page) == "Forward 3 of 13"
        page.locator("#step").fill("13")
        assert at(page) == "Backward 1 of 13"
        node.click()
        assert at(page) == "Backward 11 of 13"


def test_layers_fold_and_unfold_and_the_step_stays_lit(browser, file):
    with opened(browser, file) as page:
        page.locator("#step").fill("3")  # conv2d in conv2
        nodes = page.locator("#canvas .node")
        unfolded = nodes.count()
        page.get_by_role("button", name="layers").click()
        assert nodes.count() < unfolded
        assert page.get_by_role("button", name="layers").get_attribute("aria-pressed") == "true"
        current = page.locator("#canvas [aria-current=step]")
        assert current.get_attribute("aria-label").startswith("conv2, 3 nodes folded")
        assert at(page) == "Forward 4 of 13"
        page.keyboard.press("ArrowLeft")
        assert current.get_attribute("aria-label").startswith("maxpool in pool1")
        folded = nodes.count()
        page.get_by_role("button", name="conv2, 3 nodes folded").click()  # opens this one only
        assert nodes.count() == folded + 2
        assert page.get_by_role("button", name="conv1, 3 nodes folded").is_visible()
        assert current.get_attribute("aria-label").startswith("maxpool in pool1")
        assert focused(page).startswith("conv2d in conv2")
        page.locator("#canvas .cluster text").first.click()  # its frame closes it
        assert nodes.count() == folded
        assert focused(page).startswith("conv2, 3 nodes folded")
        page.keyboard.press("Enter")
        page.keyboard.press("Backspace")
        assert nodes.count() == folded


def test_search_marks_and_reaches_nodes_also_in_folded_layers(browser, file):
    with opened(browser, file) as page:
        found = page.locator("#canvas .found")
        page.locator("#search").fill("CONV2")
        assert page.locator("#found").inner_text() == "4 found"  # conv1's op, and all of conv2
        page.locator("#search").fill("conv2.")
        assert found.count() == 2
        page.keyboard.press("ArrowRight")  # moves the cursor, not the step
        page.keyboard.press("Enter")
        assert at(page) == "Forward 1 of 13"
        assert found.first.evaluate("e => e.matches('[tabindex=\"0\"]')")
        page.get_by_role("button", name="layers").click()
        assert found.evaluate_all("all => all.map((e) => e.ariaLabel)")[0].startswith("conv2, 3")
        page.locator("#search").fill("nothing")
        assert found.count() == 0


def test_pointing_at_an_edge_shows_the_gradient_that_it_passes_back(browser, file):
    with opened(browser, file) as page:
        edges = page.evaluate("data.edges")
        hits = page.locator("#canvas .edge")
        assert hits.count() == len(edges)
        for edge in edges:
            place = page.locator(f"#{edge['id']} .hit")
            place.dispatch_event("click", {"clientX": 200, "clientY": 300})
            figures = page.locator("#card figure")
            if edge["gradient"] is None:
                assert "No gradient" in page.locator("#card").inner_text()
            else:
                assert figures.get_attribute("data-array") == str(edge["gradient"])
        sent = [edge["id"] for edge in edges if edge["gradient"] is not None]
        line = page.locator(f"#{sent[-1]} .hit")
        line.scroll_into_view_if_needed()
        middle = """(e) => {
            const { x, y } = e.getPointAtLength(e.getTotalLength() / 2), to = e.getScreenCTM();
            return [x * to.a + to.e + 5, y * to.d + to.f];
        }"""
        page.keyboard.press("Escape")
        page.mouse.move(*line.evaluate(middle))  # beside the line
        assert page.locator("#card figure").is_visible()


def test_each_copy_of_a_shared_weight_shows_its_value_and_gradient(browser, tmp_path):
    layer = tg.nn.Linear(3, 3, rng=np.random.default_rng(0))
    model = tg.nn.Sequential(layer, tg.nn.Tanh(), layer)
    with tg.trace() as trace:
        model(np.ones((2, 3), "f4")).sum().backward()
    file = trace.draw(names=model).render(tmp_path / "shared.html")
    with opened(browser, file) as page:
        copies = page.get_by_role("button", name="0.weight")
        assert copies.count() == 2
        for copy in copies.all():
            copy.hover()
            assert "0.weight" in page.locator("#card").inner_text()
            assert "gradient" in page.locator("#card").inner_text()
            page.keyboard.press("Escape")


def test_a_notebook_cell_shows_the_page_in_a_sandbox(browser, tmp_path):
    cell = tmp_path / "cell.html"
    cell.write_text("<!DOCTYPE html>" + lenet().drawing.show(height=700)._repr_html_(), "utf-8")
    with opened(browser, cell) as page:
        frame = page.frame_locator("iframe")
        frame.locator("#next").click()
        assert frame.locator(".phase").text_content() == "Forward 2 of 13"
        assert page.locator("iframe").bounding_box()["height"] == 700
        assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"


def test_what_is_too_large_to_unfold_goes_to_its_step(browser, tmp_path, monkeypatch):
    refuse_larger(monkeypatch, 100)

    class Deep(tg.nn.Module):
        def forward(self, x):
            for _ in range(200):
                x = x + 1.0
            return x

    model = tg.nn.Sequential(Deep(), tg.nn.Sigmoid())
    with tg.trace() as trace:
        model(tg.Tensor([1.0], requires_grad=True)).sum().backward()
    file = trace.draw(names=model).render(tmp_path / "backprop.html")
    with opened(browser, file) as page:
        page.keyboard.press("End")
        page.get_by_role("button", name="nodes folded").click()
        assert at(page) == "Backward 3 of 202"


def test_zoom_changes_the_drawing_and_never_the_page(browser, file):
    with opened(browser, file) as page:

        def width():
            return page.locator("#canvas svg").bounding_box()["width"]

        fitted = width()
        page.get_by_role("button", name="Zoom in").click()
        page.get_by_role("button", name="Zoom in").click()
        assert width() == pytest.approx(fitted * 1.25**2, rel=0.01)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Fit the width").click()
        assert width() == pytest.approx(fitted, rel=0.01)


# --- keyboard ------------------------------------------------------------------------------------


def test_keys_step_from_wherever_the_focus_is(browser, file):
    with opened(browser, file) as page:
        for key, place in [
            ("ArrowRight", "Forward 2 of 13"),
            ("ArrowLeft", "Forward 1 of 13"),
            ("ArrowLeft", "Forward 1 of 13"),
            ("End", "The end of the sweep"),
            ("ArrowRight", "The end of the sweep"),
            ("ArrowLeft", "Backward 13 of 13"),
            ("Home", "Forward 1 of 13"),
        ]:
            page.keyboard.press(key)
            assert at(page) == place
        for selector in ("#step", "#play", "#canvas [tabindex='0']", "#larger"):
            page.keyboard.press("Home")
            page.locator(selector).focus()
            page.keyboard.press("ArrowRight")
            assert at(page) == "Forward 2 of 13", selector


def test_tab_goes_through_everything_once_in_the_order_of_the_page(browser, file):
    with opened(browser, file) as page:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        reached = []
        for _ in range(13):
            page.keyboard.press("Tab")
            reached.append(focused(page).split(",")[0])
        assert reached == [
            "Skip to the step", "layers", "calls", "Search nodes",
            "Zoom out", "Fit the width", "Zoom in",
            "maxpool in pool1",  # one stop for the whole graph: where the step is
            "First step", "Previous step", "Play", "Next step", "Last step",
        ]  # fmt: skip
        page.keyboard.press("Tab")
        assert focused(page) == "Step"
        outline = "getComputedStyle(document.activeElement, '::-webkit-slider-thumb')"
        assert page.evaluate(f"{outline} !== null")


def test_in_the_graph_up_and_down_walk_and_enter_goes_there(browser, file):
    with opened(browser, file) as page:
        page.locator("#canvas [tabindex='0']").focus()
        assert focused(page).startswith("conv2d in conv1")
        page.keyboard.press("ArrowUp")
        assert focused(page).startswith("conv1.bias")
        card = page.locator("#card")
        assert card.is_visible()
        assert "conv1.bias" in card.inner_text()
        described = page.evaluate("document.activeElement.getAttribute('aria-describedby')")
        assert described == "card"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert focused(page).startswith("relu in activation1")
        page.keyboard.press("Enter")
        assert at(page) == "Forward 2 of 13"


def test_playing_goes_on_by_itself_and_stops_at_the_end_or_when_asked(browser, file):
    with opened(browser, file) as page:
        page.clock.install()
        page.reload()
        status = page.get_by_role("status")
        page.keyboard.press(" ")
        assert status.get_attribute("aria-live") == "off"
        page.clock.run_for(3000)
        assert at(page) == "Forward 3 of 13"
        page.get_by_role("button", name="Pause").click()
        page.clock.run_for(5000)
        assert at(page) == "Forward 3 of 13"
        assert status.get_attribute("aria-live") == "polite"
        page.get_by_role("button", name="Play").click()
        page.clock.run_for(60_000)
        assert at(page) == "The end of the sweep"
        assert page.get_by_role("button", name="Play").is_visible()
