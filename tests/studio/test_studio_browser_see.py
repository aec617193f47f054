"""Inside the network, on the page: what is written adds up, is marked, and is kept by the link."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from support.printed import check_softmax, check_sum, read
from support.studio import until
from support.studio_browser import DIGITS, Requests, curve, expect, figure, shift, visiting

from tinygrad_cnn.studio.explain.tables import percent

CELL = (5, 4, 6)
"""Map, row and column of conv2 that is clicked: 16 maps of 10×10, 1 apart."""

FIELD = (6, 10, 20, 24)
"""Top, left, bottom, right of what that cell sees: two kernels of 5×5, a padding of 2, a pooling.

Rows 4 to 8 of pool1 are rows 8 to 17 of conv1, which are rows 6 to 19 of the input.
"""


def maps(page, name):
    return page.get_by_role("application", name=re.compile(f"^{name}, "))


def place(page, name, cell, height=10):
    """Return where a cell of a column of maps is, in pixels of the column."""
    scale = maps(page, name).bounding_box()["width"] / height
    map, row, column = cell
    return {"x": (column + 0.5) * scale, "y": ((height + 1) * map + row + 0.5) * scale}


def click_cell(page):
    maps(page, "conv2").click(position=place(page, "conv2", CELL))
    panel = page.get_by_role("region", name="The chosen cell")
    expect(panel.get_by_role("heading", name="conv2, map 5, row 4, column 6")).to_be_visible()
    return panel


def shares(mark, on):
    """Return top, left, bottom and right of a mark, in shares of what it lies on."""
    inner, outer = mark.bounding_box(), on.bounding_box()
    top, left = inner["y"] - outer["y"], inner["x"] - outer["x"]
    return (
        top / outer["height"],
        left / outer["width"],
        (top + inner["height"]) / outer["height"],
        (left + inner["width"]) / outer["width"],
    )


def given(page):
    """Return the input that the page's link carries, as the server takes it."""
    text = page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('input')")
    return text.replace("-", "+").replace("_", "/") + "=="


def answered(page, studio, layer, cell):
    asked = {"layer": layer, "cell": cell, "input": given(page)}
    return Requests(page.request, studio).post("explain/cell", asked)


def test_the_sum_of_a_clicked_cell_adds_up_and_its_receptive_field_is_marked(browser, studio):
    with visiting(browser, studio, "#/see") as page:
        panel = click_cell(page)
        value = answered(page, studio, "conv2", CELL)["value"]
        terms = []
        for term in panel.locator(".term").all():
            pairs = [text.split("\n× ") for text in term.locator("td").all_inner_texts()]
            x, w = ([list(row)] for row in zip(*pairs, strict=True))
            written = term.locator(".product").inner_text().removeprefix("Σ = ")
            terms.append(SimpleNamespace(patch=x, kernel=w, sum=written))
        assert [len(term.patch[0]) for term in terms] == [25] * 6
        line = re.sub(r"channel \d+|bias|\s", "", panel.locator(".sum").inner_text())
        *parts, total = re.findall(r"−?[\d.]+", line)
        assert parts[:-1] == [term.sum for term in terms]
        assert panel.locator(".value").inner_text() == total
        check_sum(SimpleNamespace(terms=terms, rest=None, bias=parts[-1], total=total), value, 1e-6)
        found = shares(page.locator(".mark.field"), maps(page, "input"))
        assert found == pytest.approx([place / 28 for place in FIELD], abs=0.02)
        expect(page.locator(".mark.source")).to_have_count(6)
        signs = ["less" if term.sum.startswith("−") else "more" for term in terms]
        strong = page.locator(".edges .strong path:not(.onward)")
        assert strong.evaluate_all("all => all.map((path) => path.classList[0])") == signs
        expect(page).to_have_url(re.compile("layer=conv2&cell=5,4,6&open=cell$"))
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(again.get_by_role("region", name="The chosen cell")).to_have_text(
                panel.text_content()
            )
            verdict = page.locator("aside .verdict").inner_text()
            expect(again.locator("aside .verdict")).to_have_text(verdict)
        page.get_by_label("Layer", exact=True).select_option("fc1")
        expect(panel.get_by_role("heading", name="fc1, unit")).to_be_visible()
        rows = [
            [text for text in row.locator("td").all_inner_texts() if text]
            for row in panel.locator(".products tr").all()[1:]
        ]
        *products, (rest,), (bias,), (total,) = rows
        terms = [SimpleNamespace(patch=[[x]], kernel=[[w]], sum=s) for x, w, s in products]
        shown = SimpleNamespace(terms=terms, rest=rest, bias=bias, total=total)
        check_sum(shown, float(read(panel.locator(".value").inner_text())), 0.0)
        page.get_by_label("Layer", exact=True).select_option("softmax")
        expect(panel.get_by_role("heading", name="softmax, unit")).to_be_visible()
        *rows, (total,) = [
            [text for text in row.locator("td").all_inner_texts() if text]
            for row in panel.locator(".products tr").all()[1:]
        ]
        logits, powers, percents = zip(*rows, strict=True)
        largest = re.search(r"z − ([\d.]+)", panel.locator("thead").inner_text())[1]
        exact = [
            row[0]
            for row in (t["patch"][0] for t in answered(page, studio, "softmax", [0])["terms"])
        ]
        check_softmax(
            SimpleNamespace(logits=logits, largest=largest, temperature="1", powers=powers,
                            total=total, shares=percents), exact, 1.0,
        )  # fmt: skip


def test_the_whole_network_is_followed_by_pointer_and_keys_and_while_drawing(browser, studio):
    with visiting(browser, studio, "#/see") as page:
        strip = page.get_by_role("group", name="Layers, from the input")
        maps(page, "conv2").hover(position=place(page, "conv2", CELL))
        value = answered(page, studio, "conv2", CELL)["printed"]["total"]
        lens = page.locator(".lens .name")
        expect(lens).to_have_text(f"conv2, map 5, row 4, column 6: {value}")
        assert shift(page)[0] < 0.02, shift(page)
        source = page.locator(".mark.source").nth(2)
        expect(page.locator(".mark.source")).to_have_count(6)
        expect(page).not_to_have_url(re.compile("cell=5,4,6"))
        wide, seen = strip.evaluate("found => [found.scrollWidth, found.clientWidth]")
        assert wide <= seen
        before = shares(source, maps(page, "pool1"))
        maps(page, "conv2").hover(position=place(page, "conv2", (5, 4, 7)))
        value = answered(page, studio, "conv2", (5, 4, 7))["printed"]["total"]
        expect(lens).to_have_text(f"conv2, map 5, row 4, column 7: {value}")
        after = shares(source, maps(page, "pool1"))
        moved = np.array(after) - before  # one column of pool1's 14 to the right
        assert moved == pytest.approx([0, 1 / 14, 0, 1 / 14], abs=0.01)

        maps(page, "pool2").focus()
        page.keyboard.press("ArrowRight")
        expect(lens).to_contain_text("pool2, map 0, row 0, column 1")
        for _ in range(5):
            page.keyboard.press("ArrowDown")
        expect(lens).to_contain_text("pool2, map 1, row 0, column 1")
        page.keyboard.press("PageDown")
        expect(lens).to_contain_text("pool2, map 2, row 0, column 1")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        expect(maps(page, "flatten")).to_be_focused()
        expect(lens).to_contain_text("flatten, unit")
        assert not page.locator("details.fold").first.evaluate("found => found.open")
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name="The chosen cell")).to_be_visible()

        page.get_by_role("button", name="Clear").click()
        box = page.get_by_label("Drawing area").bounding_box()
        was = given(page)
        corners = [
            (box["x"] + x * box["width"] / 100, box["y"] + y * box["height"] / 100)
            for x, y in curve(DIGITS[7])
        ]
        page.mouse.move(*corners[0])
        page.mouse.down()
        verdict = page.locator("aside .verdict")
        for corner in corners[1:]:
            page.mouse.move(*corner)
        expect(verdict).to_contain_text("7, with")  # the pen is still down
        assert given(page) == was
        page.mouse.up()
        expect(page).not_to_have_url(
            re.compile(re.escape(was.rstrip("=").replace("+", "-").replace("/", "_")))
        )
        requests = Requests(page.request, studio)

        def agrees():
            answer = requests.post("explain/layers", {"input": given(page)})
            expected = [percent(value) for value in answer["layers"][-1]["values"]]
            return page.locator(".names span").all_inner_texts() == expected

        until(agrees)
        page.set_viewport_size({"width": 390, "height": 844})
        strip.evaluate("found => (found.scrollLeft = 200)")
        expect(page.locator(".output")).to_be_in_viewport(ratio=0.3)
        wide, seen = strip.evaluate("found => [found.scrollWidth, found.clientWidth]")
        assert wide > seen


def deepened(route):
    """Answer as the server does, with three more layers like fc2 and its activation."""
    answer = route.fetch().json()
    place = next(k for k, layer in enumerate(answer["layers"]) if layer["name"] == "fc3")
    before = answer["layers"][place - 2 : place]
    more = [{**layer, "name": f"{layer['name']}{k}"} for k in "abc" for layer in before]
    answer["layers"][place:place] = more
    route.fulfill(json=answer)


def test_a_deep_network_is_folded_until_somebody_opens_it(browser, studio):
    with visiting(browser, studio, "#/models") as page:
        page.route("**/explain/layers", deepened)
        page.goto(f"{studio.url}/#/see")
        columns = page.get_by_role("application", name=", ")
        expect(columns).to_have_count(11)  # of both kinds of stages some are hidden
        page.get_by_role("button", name="Show 6 more layers, fc2 to activation4b").click()
        expect(columns).to_have_count(20)
        expect(page).to_have_url(re.compile("open=stages"))
        page.reload()
        expect(columns).to_have_count(20)


FOLD = """async (kinds) => {
  const { folded } = await import("/static/js/see/layers.js");
  return kinds.map((one) => folded(one.map((kind, name) => ({ kind, name })), 16));
}"""


def test_folding_hides_repetitions_only_and_loses_no_layer(browser, studio):
    rng = np.random.default_rng(0)
    stage = ["convolution", "batch-norm", "relu"]
    drawn = [
        [*stage * 2, "max-pooling", *stage * 2, "max-pooling", "flatten", "dense", "relu", "dense"],
        ["flatten", *["dense", "sigmoid"] * 9, "dense"],
        *(rng.choice(list("abc"), size).tolist() for size in rng.integers(1, 40, 60)),
    ]
    with visiting(browser, studio, "#/see") as page:
        told = page.evaluate(FOLD, drawn)
    for kinds, places in zip(drawn, told, strict=True):
        flat = [one for place in places for one in (place if isinstance(place, list) else [place])]
        assert [layer["name"] for layer in flat] == [*range(len(kinds))]
        hidden = [[layer["name"] for layer in place] for place in places if isinstance(place, list)]
        assert not hidden or len(kinds) > 16
        for names in hidden:  # each is preceded by what it repeats
            period = next(
                p for p in range(2, len(names) + 1)
                if all(kinds[k] == kinds[k - p] for k in names)
            )  # fmt: skip
            assert len(names) % period == 0
            assert {*range(names[0] - period, names[0])} <= {
                place["name"] for place in places if isinstance(place, dict)
            }
    assert [len(place) for place in told[0] if isinstance(place, list)] == [3, 3]
    assert [len(place) for place in told[1] if isinstance(place, list)] == [14]


def test_backward_from_the_loss_to_a_weight_and_through_the_graph(browser, studio, dot):
    with visiting(browser, studio, "#/models") as page:
        requests = Requests(page.request, studio)
        image = requests.get("images?part=test&label=6&limit=1")["images"][0]
        p = requests.post("predict/input", {"input": image["input"]})["probabilities"]
        predicted = str(np.argmax(p))
        assert predicted != "0"
        carried = image["input"].replace("+", "-").replace("/", "_").rstrip("=")
        page.goto(f"{studio.url}/#/see?input={carried}")
        page.get_by_role("link", name="Backward").click()
        expect(page.locator(".loss")).to_contain_text(f"true class {predicted}")
        expect(page.get_by_role("radio", name=predicted)).to_be_checked()
        assert shift(page)[0] < 0.02, shift(page)
        page.get_by_role("radio", name="7").check()
        expect(page.locator(".loss")).to_contain_text("true class 7")
        loss = page.locator(".loss .value").inner_text()
        p, written = re.fullmatch(r"E = −ln (\S+) = (\S+)", loss).groups()
        assert -np.log(float(read(p))) == pytest.approx(float(read(written)), rel=1e-3)
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
        page.get_by_text("Gradients of the parameters").click()
        page.get_by_text("The whole computation as a graph").click()
        expect(page).to_have_url(re.compile("open=graph,parameters,weight"))
        page.get_by_role("button", name="Step through the graph").click()
        graph = page.frame_locator("iframe[title^='The graph']")
        expect(graph.get_by_role("slider")).to_be_visible()
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(again.locator(".loss .value")).to_have_text(loss)
            expect(
                again.get_by_role("button", name="Write out a weight of fc2.bias")
            ).to_be_visible()
            expect(again.get_by_role("region", name="One weight").locator("dl")).to_have_text(
                one.locator("dl").text_content()
            )
