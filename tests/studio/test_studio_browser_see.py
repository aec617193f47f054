"""Inside the network, on the page: what is written adds up, is marked, and is kept by the link."""

from __future__ import annotations

import operator
import re

import pytest
from support.studio_browser import Requests, expect, figure, visiting

CELL = (5, 4, 6)
"""Map, row and column of conv2 that is clicked: 4 maps of 10×10 stand in a row, 1 apart."""

FIELD = (6, 10, 20, 24)
"""Top, left, bottom, right of what that cell sees: two kernels of 5×5, a padding of 2, a pooling.

Rows 4 to 8 of pool1 are rows 8 to 17 of conv1, which are rows 6 to 19 of the input.
"""


def click_cell(page):
    maps = page.get_by_role("application", name="conv2, convolution, 16 × 10 × 10")
    box = maps.bounding_box()
    scale = box["width"] / (4 * 11 - 1)
    map, row, column = CELL
    down, across = divmod(map, 4)
    maps.click(
        position={"x": (11 * across + column + 0.5) * scale, "y": (11 * down + row + 0.5) * scale}
    )
    panel = page.get_by_role("region", name="The chosen cell")
    expect(panel.get_by_role("heading", name="conv2, map 5, row 4, column 6")).to_be_visible()
    return panel


def numbers(table):
    return [figure(text) for text in table.locator("td").all_inner_texts()]


def place_of(mark, on):
    """Return top, left, bottom and right of a mark, in shares of what it lies on."""
    inner, outer = mark.bounding_box(), on.bounding_box()
    top, left = inner["y"] - outer["y"], inner["x"] - outer["x"]
    return (
        top / outer["height"],
        left / outer["width"],
        (top + inner["height"]) / outer["height"],
        (left + inner["width"]) / outer["width"],
    )


def test_the_sum_of_a_clicked_cell_adds_up_and_its_receptive_field_is_marked(browser, studio):
    with visiting(browser, studio, "#/see") as page:
        panel = click_cell(page)
        terms = panel.locator(".term")
        expect(terms).to_have_count(6)
        sums = []
        for term in terms.all():
            patch, kernel = (numbers(table) for table in term.locator("table").all())
            assert len(patch) == len(kernel) == 25
            written = figure(term.locator(".product").inner_text())
            rounding = 0.005 * sum(map(abs, patch + kernel)) + 25 * 0.005**2
            products = sum(map(operator.mul, patch, kernel))
            assert products == pytest.approx(written, abs=rounding + 1e-4)
            sums.append(written)
        line = panel.locator(".sum").inner_text().replace("\n", " ")
        bias = figure(panel.locator(".part", has_text="bias").inner_text())
        bias = -bias if line.split("bias")[0].rstrip().rsplit(" ", 2)[-2] in "-−" else bias
        total = figure(line.split("=")[1])
        assert sum(sums) + bias == pytest.approx(total, abs=5e-4)
        asked = {"layer": "conv2", "cell": CELL, "input": given(page)}
        value = Requests(page.request, studio).post("explain/cell", asked)["value"]
        assert total == pytest.approx(value, abs=6e-5)
        assert figure(panel.locator(".value").inner_text()) == pytest.approx(value, rel=1e-3)
        found = place_of(page.locator("aside .mark.field"), page.locator("aside canvas"))
        assert found == pytest.approx([place / 28 for place in FIELD], abs=0.02)
        expect(page.locator(".film .mark.source")).to_have_count(6)


def given(page):
    """Return the input that the page's link carries, as the server takes it."""
    text = page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('input')")
    return text.replace("-", "+").replace("_", "/") + "=="


def test_a_new_page_at_the_same_link_shows_the_same(browser, studio):
    with visiting(browser, studio, "#/see") as page:
        panel = click_cell(page)
        expect(page).to_have_url(re.compile("layer=conv2&cell=5,4,6$"))
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(again.get_by_role("region", name="The chosen cell")).to_have_text(
                panel.text_content()
            )
            expect(again.locator("aside .verdict")).to_have_text(
                page.locator("aside .verdict").inner_text()
            )


def test_backward_from_the_loss_to_a_weight_and_through_the_graph(browser, studio, dot):
    with visiting(browser, studio, "#/see") as page:
        page.get_by_role("link", name="Backward").click()
        page.get_by_role("radio", name="7").check()
        expect(page.get_by_role("heading", name="The gradient, layer by layer")).to_be_visible()
        expect(page.locator(".loss")).to_contain_text("this is a 7")
        loss = page.locator(".loss .value").inner_text()
        assert figure(loss) > 0
        page.get_by_label("Parameter", exact=True).select_option("conv2.weight")
        page.get_by_label("Channel", exact=True).fill("3")
        page.get_by_label("Channel", exact=True).press("Enter")
        one = page.get_by_role("region", name="One weight")
        figures = one.locator("dd")
        expect(page).to_have_url(re.compile("parameter=conv2.weight&index=0,3,2,2"))
        expect(figures).to_have_count(3)
        chain, measured = (figure(text) for text in figures.all_inner_texts()[1:])
        assert measured == pytest.approx(chain, rel=0.02, abs=1e-6)
        factors = one.get_by_role("table", name="The factors").get_by_role("rowheader")
        layers = factors.all_inner_texts()
        assert layers.index("fc3") < layers.index("fc1") < layers.index("conv2")
        page.get_by_role("button", name="Step through the graph").click()
        graph = page.frame_locator("iframe[title^='The graph']")
        expect(graph.get_by_role("slider")).to_be_visible()
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(again.locator(".loss .value")).to_have_text(loss)
            expect(again.get_by_role("region", name="One weight").locator("dl")).to_have_text(
                one.locator("dl").text_content()
            )
