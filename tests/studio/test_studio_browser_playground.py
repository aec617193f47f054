"""The playground as a person uses it: build, train, look at gradients, walk through a step."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from typing import Any

import numpy as np
from support.printed import half_unit, read, recomputed
from support.studio import until
from support.studio_browser import Requests, expect, visiting

COUNT = """() => {
  window.asked = window.answered = 0;
  const send = window.fetch;
  window.fetch = async (...sent) => {
    const training = String(sent[0]).endsWith("/playground/train");
    window.asked += training;
    const answer = await send(...sent);
    window.answered += training;
    return answer;
  };
}"""

GOES_ON = """async () => {
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  while (window.asked > window.answered) await pause(5);
  const before = window.asked;
  await pause(200); // while playing, the next request follows within 33
  return window.asked > before;
}"""

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

PAINTED = """() => [...document.querySelectorAll("canvas.sample")].filter((canvas) => {
  const { width, height } = canvas;
  return canvas.getContext("2d").getImageData(0, 0, width, height).data.some(Boolean);
}).length >= 4"""

LINES = """async ([steps, names]) => {
  const written = await import("/static/js/playground/written.js");
  return steps.map((step, place) => {
    const lines = [[written.lossLine(step, place % 2 === 0), step.loss]];
    step.layers.forEach(({ z, delta, parameters, gradients, updated }, k) =>
      z[0].forEach((sum, unit) => {
        lines.push([written.sumLine(step, k + 1, unit, names[place]), sum]);
        lines.push([written.deltaLine(step, k + 1, unit), delta[0][unit]]);
        parameters.weight[unit].forEach((_, input) => {
          const [of, after] = [gradients, updated].map(({ weight }) => weight[unit][input]);
          lines.push([written.gradientLine(step, k + 1, unit, input, names[place]), of]);
          lines.push([written.updateLine(step, k + 1, unit, input, 0.3), after]);
        });
        lines.push([written.updateLine(step, k + 1, unit, -1, 0.3), updated.bias[unit]]);
      }),
    );
    return lines;
  });
}"""


def check_line(line: str) -> None:
    """Compute a written line from its printed digits."""
    left, printed = re.split(r" = (?=[^=]*$)", line)
    numbers = re.split(r"= |← ", left)[-1]
    numbers = re.sub(
        r"·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: f"e{int(read(f'1·10{m[1]}').log10())}", numbers
    )
    numbers = re.sub(r"ln ([\d.e-]+)", r"ln(\1)", numbers).replace("ln (", "ln(")
    numbers = numbers.replace("½", "0.5").replace("²", "**2")
    assert abs(recomputed(numbers) - float(read(printed))) <= half_unit(printed) * (1 + 1e-9), line


def test_every_written_line_computes_from_its_printed_digits(browser, studio):
    rng = np.random.default_rng(0)
    with visiting(browser, studio) as page:
        requests = Requests(page.request, studio)
        steps, names = [], []
        for place, scale in enumerate([1.0, 1.0, 0.01, 0.3, 5.0, 5.0]):
            sizes = [2, *rng.integers(1, 5, 1 + place // 2).tolist(), 1]
            point = {"x1": 1.37, "x2": -0.052, "label": place % 2}
            asked = {
                "hidden": sizes[1:-1],
                "activation": ["sigmoid", "relu", "tanh"][place % 3],
                "loss": ["squared_error", "cross_entropy"][place % 2],
                "penalty": "l2",
                "penalty_rate": 0.01 * (place % 3),
                "lr": 0.3,
                "points": [point],
                "parameters": [
                    {"weight": rng.normal(0, scale, (n, m)).tolist(), "bias": [0.1] * n}
                    for m, n in itertools.pairwise(sizes)
                ],
            }
            steps.append({**requests.post("playground/backprop", asked), "point": point})
            names.append({"layers": len(sizes) - 1, "features": ["x₁", "x₂"]})
        for lines in page.evaluate(LINES, [steps, names]):
            assert len(lines) > 6
            for line, value in lines:
                check_line(line)
                printed = line.rpartition(" = ")[2]
                assert abs(float(read(printed)) - value) <= half_unit(printed) * (1 + 1e-9), line


def loss(page):
    return page.locator(".legend .value").first


def test_a_network_is_built_trained_and_stepped_through(browser, studio):
    with visiting(browser, studio, "#/playground?data=xor&lr=0.1") as page:
        expect(loss(page)).to_have_text(re.compile(r"\d"))
        initial = loss(page).inner_text()

        page.get_by_role("button", name="Add a neuron to layer 1").click()
        page.get_by_role("button", name="Add a hidden layer").click()
        expect(page).to_have_url(re.compile("hidden=5,2,2"))
        expect(page.get_by_role("button", name="Layer 1, neuron 5")).to_be_visible()
        expect(page.get_by_role("button", name="Layer 3, neuron 2")).to_be_visible()
        expect(page.locator(".edge")).to_have_count(2 * 5 + 5 * 2 + 2 * 2 + 2)
        neuron = page.get_by_role("button", name="Layer 2, neuron 1")
        place = neuron.bounding_box()
        neuron.hover()
        expect(page.locator("figcaption", has_text="Output of layer 2, neuron 1")).to_be_visible()
        expect(page.locator(".reading")).to_contain_text("z²₁ = ")
        assert neuron.bounding_box() == place
        for _ in range(2):
            page.get_by_role("button", name="Remove a neuron from layer 3").click()
        page.get_by_role("button", name="Remove a neuron from layer 1").click()
        expect(page.locator(".edge")).to_have_count(2 * 4 + 4 * 2 + 2)
        expect(loss(page)).to_have_text(initial)
        assert page.url.endswith("?data=xor&lr=0.1")

        page.get_by_role("button", name="Update once").click()
        expect(page.get_by_label("Epoch", exact=True)).to_have_text("1")
        page.evaluate(COUNT)
        page.get_by_role("button", name="Play", exact=True).click()
        expect(page.get_by_label("Epoch", exact=True)).to_have_text(re.compile(r"\d\d"))
        page.evaluate(HIDE, True)
        assert not page.evaluate(GOES_ON)
        page.evaluate(HIDE, False)
        assert page.evaluate(GOES_ON)
        page.get_by_role("button", name="Pause", exact=True).click()
        assert not page.evaluate(GOES_ON)

        page.get_by_role("radio", name="Gradients").check()
        norms = page.locator(".norm")
        expect(norms.first).to_be_visible()
        assert all(read(text) > 0 for text in norms.all_inner_texts()[1:])
        page.get_by_role("button", name="Layer 2, neuron 2").click()
        expect(page.locator("figcaption", has_text="Output of layer 2, neuron 2")).to_be_visible()
        panel = page.get_by_role("region", name="The chosen neuron")
        panel.get_by_role("button", name="w²₂₃").click()
        expect(panel.locator(".lines li").nth(2)).to_contain_text("∂E/∂w²₂₃ = δ²₂ · α¹₃ = ")

        page.get_by_role("button", name="Walk through one step").click()
        walk = page.get_by_role("region", name="One step")
        expect(walk.get_by_role("heading", name="The point")).to_be_focused()
        titles = [walk.get_by_role("heading").inner_text()]
        while walk.get_by_role("button", name="Next").is_visible():
            walk.get_by_role("button", name="Next").click()
            titles.append(walk.get_by_role("heading").inner_text().split(": ")[1])
            if titles[-1] == "Backward, layer 2":
                expect(page.locator(".labels .backward")).to_have_count(2 * 4)
                assert walk.locator(".lines").inner_text().count("δ²₂ = ") == 1
        assert titles[1:] == [
            "Forward, layer 1", "Forward, layer 2", "Forward, the output", "The loss",
            "Backward, the output", "Backward, layer 2", "Backward, layer 1", "The update",
        ]  # fmt: skip
        update = walk.locator(".lines").inner_text()
        check_line(update)
        walk.get_by_role("button", name="Apply the update").click()
        expect(walk).to_be_hidden()
        row = panel.get_by_role("row", name=re.compile("w²₂₃"))
        new = float(read(update.split(" = ")[1]))
        page.wait_for_function(
            "([row, value]) => Math.abs(Number(row.cells[2].textContent.replace('−', '-')) - value)"
            " <= 0.006 * Math.abs(value)",
            arg=[row.element_handle(), new],
        )

        page.get_by_role("radio", name="Own points").check()
        expect(page.get_by_role("radio", name="Add blue")).to_be_checked()
        plane = page.get_by_role("application")
        plane.focus()
        for key in ("Shift+ArrowRight", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        expect(page).to_have_url(re.compile(r"data=own&.*own=50.10.0$"))
        expect(plane.locator("circle.train")).to_have_count(1)
        expect(loss(page)).to_have_text(re.compile(r"\d"))
        begun = loss(page).inner_text()
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(loss(again)).to_have_text(begun)
            expect(again.get_by_role("radio", name="Gradients")).to_be_checked()


def test_a_late_answer_changes_no_other_network_and_a_lost_one_leaves_no_gap(browser, studio):
    train = "**/playground/train"
    held: list[Any] = []
    with visiting(browser, studio, "#/models", refusals=["net::ERR_FAILED"]) as page:
        for path in ("playground", "playground/points?*count=120*"):
            page.route(f"**/api/{path}", lambda route: route.abort(), times=1)
        page.get_by_role("link", name="Playground").click()
        expect(page.get_by_text("The studio's server does not answer.")).to_be_visible()
        expect(loss(page)).to_have_text(re.compile(r"\d"))
        page.wait_for_function(PAINTED)
        expect(page.locator("#notices")).to_be_empty()

        epoch = page.get_by_label("Epoch", exact=True)
        page.get_by_role("button", name="Play", exact=True).click()
        for name, layers in (("Start again", 3), ("Add a hidden layer", 4)):
            held.clear()
            page.route(train, lambda route: held.append(route), times=1)
            until(lambda: held or page.evaluate("0"))
            answer = held[0].fetch()
            with page.expect_request(train) as sent:
                page.get_by_role("button", name=name).click()
                with suppress(Exception):  # the page has given the request up
                    held[0].fulfill(response=answer)
            begun = sent.value.post_data_json
            assert (begun["step"], begun["parameters"], begun["steps"] > 0) == (0, None, True)
            assert len(begun["hidden"]) + 1 == layers
            expect(epoch).to_have_text(re.compile(r"[1-9]\d"))  # it plays on
            expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
        expect(page.locator("#notices")).to_be_empty()


def test_what_diverges_stops_with_a_message(browser, studio):
    view = "#/playground?activation=relu&loss=cross_entropy&lr=10&penalty=l2&rate=10"
    with visiting(browser, studio, view) as page:
        page.get_by_role("button", name="Play", exact=True).click()
        expect(page.get_by_text("the learning rate 10 is too large here")).to_be_visible()
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
