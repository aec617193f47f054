"""Inside the network, on the page: what is written adds up, is marked, and is kept by the link."""

from __future__ import annotations

import math
import operator
import re
from decimal import Decimal

import numpy as np
import pytest
from support.printed import half_unit, read, recomputed
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
            assert term.locator(".product").inner_text().startswith("Σ ≈ ")
            written = figure(term.locator(".product").inner_text())
            rounding = 0.005 * sum(map(abs, patch + kernel)) + 25 * 0.005**2
            products = sum(map(operator.mul, patch, kernel))
            assert products == pytest.approx(written, abs=rounding + 1e-4)
            sums.append(written)
        line = panel.locator(".sum").inner_text()
        expression, _, result = re.sub(r"channel \d+|bias|\s", "", line).rpartition("=")
        total = float(read(result))
        assert abs(recomputed(expression) - total) <= half_unit(result)
        parts = [figure(part) for part in panel.locator(".part").all_inner_texts()]
        assert [abs(x) for x in sums] == parts[:-1]
        asked = {"layer": "conv2", "cell": CELL, "input": given(page)}
        value = Requests(page.request, studio).post("explain/cell", asked)["value"]
        assert total == pytest.approx(value, abs=6e-5)
        assert figure(panel.locator(".value").inner_text()) == pytest.approx(value, rel=1e-3)
        found = place_of(page.locator("aside .mark.field"), page.locator("aside canvas"))
        assert found == pytest.approx([place / 28 for place in FIELD], abs=0.02)
        expect(page.locator(".film .mark.source")).to_have_count(6)


def test_the_products_of_a_dense_unit_add_up_as_printed(browser, studio):
    with visiting(browser, studio, "#/see") as page:
        click_cell(page)
        page.get_by_label("Layer", exact=True).select_option("fc1")
        panel = page.get_by_role("region", name="The chosen cell")
        expect(panel.get_by_role("heading", name="fc1, unit")).to_be_visible()
        rows = [
            [text for text in row.locator("td.number").all_inner_texts() if text]
            for row in panel.locator(".products tr").all()[1:]
        ]
        *terms, (_rest,), (_bias,), (total,) = rows
        for x, weight, product in terms:
            assert abs(read(x) * read(weight) - read(product)) <= Decimal(half_unit(product))
        added = sum(read(row[-1]) for row in rows[:-1])
        assert abs(added - read(total)) <= Decimal(half_unit(total))
        assert len(terms) == 10


WRITE_OUT = """async ([sums, products, softmaxes, shares]) => {
  const { equation, percent, points } = await import("/static/js/numbers.js");
  const { softmaxText } = await import("/static/js/see/cell.js");
  const added = (numbers) => numbers.reduce((sum, x) => sum + x, 0);
  return [
    sums.map(({ numbers, value }) => equation(numbers, added, value)),
    products.map((pair) => equation(pair, ([a, b]) => a * b, pair[0] * pair[1], 5)),
    softmaxes.map(({ logits, temperature }) => {
      const largest = Math.max(...logits);
      const powers = logits.map((z) => Math.exp((z - largest) / temperature));
      const terms = logits.map((z, unit) => ({ patch: [[z]], product_sum: powers[unit] }));
      return softmaxText({ terms, constants: { largest, temperature, sum: added(powers) } });
    }),
    shares.map((pair) => [...pair.map((share) => percent(share)), points(...pair)]),
  ];
}"""


def test_whatever_the_page_writes_out_holds_in_the_printed_digits(browser, studio):
    rng = np.random.default_rng(0)
    drawn = [
        (10.0 ** rng.uniform(-5, 2, size) * rng.standard_normal(size)).tolist()
        for size in rng.integers(1, 14, 500)
    ]
    drawn += [[0.00005, 1.0], [0.00005], [1000.0, -999.99994], [0.12345, 0.0]]
    sums = [{"numbers": xs, "value": float(np.float32(sum(xs)))} for xs in drawn]
    products = [(xs[0], xs[-1]) for xs in drawn]
    softmaxes = [
        {"logits": (spread * rng.standard_normal(10)).astype("f4").tolist(), "temperature": t}
        for spread in (0.1, 1.0, 5.0, 20.0) for t in (0.25, 1.0, 1.0, 3.0) for _ in range(10)
    ]  # fmt: skip
    shares = [*rng.random((200, 2)).tolist(), [0.97649, 0.96551], [0.9996, 0.997], [1.0, 0.9999]]
    with visiting(browser, studio, "#/see") as page:
        told = page.evaluate(WRITE_OUT, [sums, products, softmaxes, shares])
    for asked, answer in zip(sums, told[0], strict=True):
        apart = sum(map(read, answer["parts"])) - read(answer["result"])
        assert abs(apart) <= Decimal("0.00005")
        assert float(read(answer["result"])) == pytest.approx(asked["value"], abs=1.1e-4)
    for (a, b), answer in zip(products, told[1], strict=True):
        left, right = map(read, answer["parts"])
        assert abs(left * right - read(answer["result"])) <= Decimal("0.000005")
        assert float(read(answer["result"])) == pytest.approx(a * b, abs=5.1e-6)
    for asked, answer in zip(softmaxes, told[2], strict=True):
        check_softmax(asked, answer)
    for before, after, change in told[3]:
        shown = [Decimal(text.strip("> %")) for text in (before, after)]
        assert read(change.removeprefix("+")) == shown[1] - shown[0]


def check_softmax(asked, told):
    """Check each power against the printed logits, and sum and shares against the powers."""
    logits = [float(read(text)) for text in told["logits"]]
    powers = [float(read(text)) for text in told["powers"]]
    largest = float(read(told["largest"])) * (1 if max(asked["logits"]) >= 0 else -1)
    for z, text, power in zip(logits, told["powers"], powers, strict=True):
        made = math.exp((z - largest) / asked["temperature"])
        assert abs(made - power) <= half_unit(text) * (1 + 1e-9)
    total = float(read(told["sum"]))
    assert abs(sum(powers) - total) <= half_unit(told["sum"]) * (1 + 1e-9)
    exact = np.exp(np.array(asked["logits"]) / asked["temperature"])
    for power, share, right in zip(powers, told["shares"], exact / exact.sum(), strict=True):
        if share.startswith(">"):
            assert power / total > 0.9995
        else:
            assert abs(100 * power / total - figure(share)) <= 0.05 + 1e-9
            assert figure(share) == pytest.approx(100 * right, abs=0.0501)


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
        expect(page.locator(".loss")).to_contain_text("true digit 7")
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
