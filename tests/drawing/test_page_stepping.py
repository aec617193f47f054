"""Stepping through the page in a browser: what it shows is what flowed."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import printed
from support.browser import opened
from support.traced import Traced, lenet, perceptron

import tinygrad_cnn as tg
from tinygrad_cnn.drawing.page.embedding import EXACT

MADE: dict[str, Callable[[], Traced]] = {"lenet": lenet, "perceptron": perceptron}


@pytest.fixture(scope="module", params=MADE)
def traced(request) -> Traced:
    return MADE[request.param]()


@pytest.fixture(scope="module")
def file(traced: Traced, tmp_path_factory) -> Path:
    return traced.drawing.render(tmp_path_factory.mktemp("page") / "backprop.html")


def embedded(page, figure) -> np.ndarray:
    """Return the array that a figure shows, from the bytes that the page holds."""
    place = int(figure.get_attribute("data-array"))
    entry = page.evaluate("place => data.arrays[place]", place)
    values = np.frombuffer(base64.b64decode(entry["bytes"]), entry["dtype"]).reshape(entry["shape"])
    return (values - 128.0) * entry["scale"] if entry["dtype"] == "uint8" else values


def read(text: str) -> float:
    """Return a number as the page writes it: "−1.234·10⁻⁵"."""
    plain = text.strip().replace("−", "-").replace("·10", "e")
    return float(plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))


def to_four_digits(values) -> list[float]:
    return [float(f"{x:.4g}") for x in np.ravel(values)]


def check_bytes(page, figure, expected: np.ndarray) -> None:
    """Check the array of a figure: exact, unless it is so large that the page rounds it."""
    shown = embedded(page, figure)
    if expected.size <= EXACT:
        assert shown.tobytes() == expected.tobytes()
    else:
        np.testing.assert_allclose(shown, expected, atol=abs(expected).max() / 250)


def check_shown(page, figure, expected: np.ndarray) -> None:
    """Check a figure against the array it should be of: its bytes, its words, its pixels."""
    check_bytes(page, figure, expected)
    cells = figure.locator("td, .single").all_inner_texts()
    if cells:
        assert [read(cell) for cell in cells] == to_four_digits(expected)
    if expected.size == 1:
        return
    norm = np.linalg.norm(expected.astype(float))
    words = figure.locator(".statistics").inner_text()
    shown = words.split("norm ")[1].split(" · ")[0]
    np.testing.assert_allclose(read(shown), norm, rtol=6e-4)  # the page adds up in another order
    if not cells:
        low, high = words.split(" · norm")[0].split(" to ")
        assert [read(low), read(high)] == to_four_digits([expected.min(), expected.max()])
        check_picture(page, figure, expected)


def check_picture(page, figure, expected: np.ndarray) -> None:
    """Point at places of a picture, and hold what it says of them against the array."""
    picture = figure.locator("canvas")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    pointed = 0
    for x, y in [(0.5, 0.5), (0.13, 0.31), (0.77, 0.06), (0.001, 0.001)]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        said = figure.locator(".readout").inner_text()
        if said:  # not in a gap between tiles
            index, sign, value = re.split(r"\] ([=≈]) ", said.removeprefix("["))
            place = tuple(map(int, index.split(", ")))
            if sign == "=":
                assert read(value) == to_four_digits(expected[place])[0]
            else:
                assert abs(read(value) - expected[place]) <= abs(expected).max() / 250
            pointed += 1
    assert pointed


def test_stepping_to_the_end_shows_the_gradient_of_every_parameter(browser, traced, file):
    with opened(browser, file) as page:
        steps = len(traced.watch.results) + len(traced.watch.gradients)
        for _ in range(steps):
            page.locator("#next").click()
        assert page.locator("#next").is_disabled()
        assert page.locator("h2").inner_text() == "The gradients in .grad"
        shown = page.locator("section[data-leaf]")
        names = shown.locator("h3").all_inner_texts()
        assert sorted(names) == sorted(traced.parameters)
        for name, section in zip(names, shown.all(), strict=True):
            check_shown(page, section.locator("figure"), traced.parameters[name].grad)


def test_every_backward_step_shows_what_arrives_and_what_is_sent(browser, traced, file):
    watch = traced.watch
    with opened(browser, file) as page:
        for _ in watch.results:
            page.keyboard.press("ArrowRight")
        for number, ((op, gradient), sent) in enumerate(
            zip(watch.gradients, watch.contributions, strict=True), start=1
        ):
            place = f"Backward {number} of {len(watch.gradients)}"
            assert page.locator(".phase").inner_text().lower() == place.lower()
            assert page.locator("h2").inner_text().split(" in ")[0] == op
            arriving, *sections = page.locator("#panel section:has(figure)").all()
            check_bytes(page, arriving.locator("figure").last, gradient)
            assert len(sections) == page.locator("#canvas .flowing").count() == len(sent)
            for section, expected in zip(sections, sent, strict=True):
                figure = section.locator("figure").last
                assert "passed on" in figure.inner_text()
                check_bytes(page, figure, expected)
            page.keyboard.press("ArrowRight")


def test_every_forward_step_shows_its_result_and_lights_up_its_node(browser, traced, file):
    with opened(browser, file) as page:
        for op, result in traced.watch.results:
            figure = page.locator("#panel figure").last
            check_bytes(page, figure, result)
            current = page.locator("#canvas [aria-current=step]")
            assert current.count() == 1
            assert current.get_attribute("aria-label").startswith(op)
            page.keyboard.press("ArrowRight")


def test_formulas_and_equations_of_the_text_stand_beside_the_numbers(browser, tmp_path):
    traced = perceptron()
    file = traced.drawing.render(tmp_path / "backprop.html")
    with opened(browser, file) as page:
        page.locator("#step").fill("9")
        panel = page.locator("#panel").inner_text()
        assert page.locator("h2").inner_text() == "softmax in softmax"
        for text in (tg.softmax.formula, "eq 16, 36", tg.softmax.derivatives["x"].formula, "eq 35"):
            assert text in panel
        local = page.locator("figure", has_text="the local derivative")
        shown = [read(cell) for cell in local.locator("td").all_inner_texts()]
        Y = next(y for op, y in traced.watch.results if op == "softmax").ravel().astype(float)
        np.testing.assert_allclose(shown, (np.diag(Y) - np.outer(Y, Y)).ravel(), rtol=1e-3)


def test_contributions_that_meet_are_shown_with_their_sum(browser, tmp_path):
    x = tg.Tensor([1.0, -2.0, 3.0], requires_grad=True, name="x")
    with tg.trace() as trace:
        y = tg.tanh(x)
        (y * y + y).sum().backward()
    drawing = trace.draw()
    with opened(browser, drawing.render(tmp_path / "backprop.html")) as page:
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        figures = page.locator(".sum figure").all()
        *parts, total = [embedded(page, figure) for figure in figures]
        t = np.tanh(x.data)
        assert len(parts) == 3
        np.testing.assert_allclose(np.sum(parts, axis=0), total, rtol=1e-6)
        np.testing.assert_allclose(total, 2 * t + 1, rtol=1e-6)
        words = [figure.locator("figcaption").inner_text() for figure in figures]
        assert ["its a" in words[0], "its b" in words[1], "add" in words[2]] == [True] * 3
        assert "the sum of 3" in words[3]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_who_adds_the_printed_contributions_gets_the_printed_sum(browser, tmp_path, dtype):
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((8, 8)), dtype=dtype, requires_grad=True, name="x")
    with tg.trace() as trace:
        (x * rng.standard_normal((8, 8)) * x + 1e-3 * x * x - 0.3 * x).sum().backward()
    with opened(browser, trace.draw().render(tmp_path / "backprop.html")) as page:
        page.keyboard.press("End")
        *parts, total = [
            [printed.read(cell) for cell in figure.locator("td").all_inner_texts()]
            for figure in page.locator(".sum figure").all()
        ]
        shown = page.locator(".sum figure").last
        assert shown.locator(".symbol").inner_text().startswith("= ")
        for *added, text in zip(*parts, shown.locator("td").all_inner_texts(), strict=True):
            apart = float(abs(sum(added) - printed.read(text)))
            assert apart <= printed.half_unit(text)
        assert len(parts) == 5
        assert len(total) == 64


def test_a_sum_that_adding_has_rounded_is_about_the_printed_one(browser, tmp_path):
    w = tg.Tensor(1.0, requires_grad=True, name="w")
    with tg.trace() as trace:
        (w * 1e8 + w * 1.2345 - w * 1e8).backward()
    with opened(browser, trace.draw().render(tmp_path / "backprop.html")) as page:
        page.keyboard.press("End")
        assert page.locator(".sum .symbol").last.inner_text() == "≈ ∂E/∂w"


def test_a_parameter_used_twice_shows_both_contributions(browser, tmp_path):
    w = tg.Tensor(3.0, requires_grad=True, name="w")
    with tg.trace() as trace:
        (w * w).backward()
    with opened(browser, trace.draw().render(tmp_path / "backprop.html")) as page:
        page.keyboard.press("End")
        singles = page.locator("section[data-leaf] .single").all_inner_texts()
        assert [read(text) for text in singles] == [3.0, 3.0, 6.0]
        assert w.grad == 6.0


def test_an_error_between_two_calls_is_the_last_step(browser, tmp_path):
    x = tg.Tensor([1.0], requires_grad=True, name="x")
    with pytest.raises(KeyError), tg.trace() as trace:
        {}[tg.exp(x).item()]
    with opened(browser, trace.draw().render(tmp_path / "backprop.html")) as page:
        page.keyboard.press("End")
        assert page.locator(".phase").text_content() == "Forward 2 of 2"
        assert page.locator("#panel .error").inner_text().startswith("KeyError: 2.718")


def test_a_forward_that_failed_is_stepped_through_up_to_its_error(browser, tmp_path):
    x = tg.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    with pytest.raises(ValueError, match="matmul"), tg.trace() as trace:
        tg.matmul(tg.exp(x), x)
    with opened(browser, trace.draw().render(tmp_path / "backprop.html")) as page:
        page.keyboard.press("End")
        assert (
            page.locator("#panel .error").inner_text().startswith("ValueError: matmul: a has shape")
        )
        assert page.locator("#halves").inner_text() == "forward"
