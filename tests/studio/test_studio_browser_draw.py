"""The sheet: what is drawn, taken back, uploaded or picked is what the network is shown."""

from __future__ import annotations

import re

import numpy as np
from support.studio import until
from support.studio_browser import (
    Requests,
    curve,
    draw,
    expect,
    figure,
    go,
    picture_of,
    verdict,
    violations,
    visiting,
)
from support.studio_strokes import SENT, as_inputs

import tinygrad_cnn as tg

LABELS = tg.data.digits().test.labels

WRITTEN = re.compile("/api/drawings[?/]")

SCREENS = ((390, 844), (360, 640), (844, 390), (640, 400), (720, 450), (960, 540))
"""Phones, upright and turned, and usual screens at a zoom of 200 %, in pixels of CSS."""


def shares(page):
    bars = page.get_by_role("list", name="Probabilities").get_by_role("listitem")
    return [figure(text[1:]) for text in bars.all_inner_texts()]


def test_strokes_are_taken_back_and_put_again(browser, studio):
    with visiting(browser, studio) as page:
        draw(page, 3)
        expect(verdict(page)).to_have_text("3")
        page.keyboard.press("Control+z")
        expect(verdict(page)).to_have_text("–")
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()
        page.get_by_role("button", name="Redo").click()
        expect(verdict(page)).to_have_text("3")
        page.get_by_role("button", name="Clear").click()
        expect(verdict(page)).to_have_text("–")
        page.get_by_role("button", name="Undo").click()
        expect(verdict(page)).to_have_text("3")


def test_a_drawing_stays_while_somebody_looks_elsewhere(browser, studio):
    with visiting(browser, studio) as page:
        draw(page, 3)
        expect(verdict(page)).to_have_text("3")
        found = []  # of the whole drawing: while it was drawn, answers were about less
        for view in ("See", "Teach"):
            go(page, view)
            expect(page.get_by_role("heading", level=1)).not_to_have_text("Draw a digit")
            go(page, "Draw")
            expect(verdict(page)).to_have_text("3")
            found.append(shares(page))
        assert found[0] == found[1]


def test_strokes_are_sent_in_the_width_of_their_size_without_what_the_eraser_covers(
    browser, studio
):
    """Neither place, size nor pen changes the input; erased ink is as if it had never been."""

    def stroke(corners, size=0.085, scale=1.0, left=0.0, erases=False):
        points = [
            {"x": left + scale * x / 100, "y": left + scale * y / 100, "pressure": 1}
            for x, y in curve(corners)
        ]
        return {"kind": "stroke", "points": points, "size": size, "erases": erases}

    seven, bar = "30,20 50,20 70,20 58,40 46,80", "10,55 26,55 42,55"
    drawings = {
        "plain": [stroke(seven)],
        "small": [stroke(seven, scale=0.15, left=0.7)],
        "thin": [stroke(seven, size=0.05)],
        "scribble": [stroke(bar), stroke(bar, 0.13, erases=True), stroke(seven)],
        "cut": [stroke(seven), stroke("48,90 44,60", 0.2, erases=True)],
        "bar": [stroke(seven), stroke(bar)],
        "dot": [stroke("50,50 50.5,50")],
    }
    with visiting(browser, studio) as page:
        pictures = page.evaluate(SENT, list(drawings.values()))
        found = dict(zip(drawings, as_inputs(pictures), strict=True))
    plain = found.pop("plain").astype(int)
    apart = {name: abs(pixels - plain).mean() for name, pixels in found.items()}
    assert max(apart[name] for name in ("small", "thin", "scribble")) < 2, apart
    assert min(apart[name] for name in ("cut", "bar", "dot")) > 10, apart
    assert 40 < np.count_nonzero(plain > 127) < 90  # the lines are two to three pixels wide


def test_the_drawing_and_its_prediction_are_in_sight_together(browser, studio):
    with visiting(browser, studio, width=390, height=844) as page:
        for width, height in (
            (390, 844),
            (360, 640),
            (844, 390),
            (640, 400),
            (720, 450),
            (960, 540),
        ):
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("scrollTo(0, 0)")
            draw(page, 3)
            expect(verdict(page)).to_have_text("3")
            assert page.evaluate("scrollY") == 0, "drawing needs scrolling"
            sheet, digit, words, bars = (
                found.bounding_box()
                for found in (
                    page.get_by_label("Drawing area"),
                    verdict(page),
                    page.get_by_text("Confident, with"),
                    page.get_by_role("list", name="Probabilities"),
                )
            )
            assert sheet["width"] == sheet["height"] >= 240
            bar = page.get_by_role("navigation", name="Views").bounding_box()
            top, bottom = (bar["y"] + bar["height"], height) if bar["y"] < 100 else (0, bar["y"])
            for box in (sheet, digit, words, bars):
                assert top <= box["y"] <= bottom - box["height"], (width, height, box)
                assert 0 <= box["x"] <= width - box["width"], (width, height, box)
            for box in (digit, words, bars):
                below = box["y"] >= sheet["y"] + sheet["height"]
                assert below or box["x"] >= sheet["x"] + sheet["width"], (width, height, box)
            page.get_by_role("button", name="Clear").click()


def test_a_higher_temperature_is_less_sure_of_the_same_digit(browser, studio):
    with visiting(browser, studio) as page:
        draw(page, 7)
        expect(verdict(page)).to_have_text("7")
        found = []
        for value in ("-2", "0", "2"):
            page.get_by_label("Temperature").fill(value)
            found.append(max(shares(page)))
        assert found == sorted(found, reverse=True)
        assert found[0] > found[2]
        expect(verdict(page)).to_have_text("7")


def test_a_picture_of_a_file_is_shown_and_read(browser, studio):
    with visiting(browser, studio) as page:
        for index in range(3):
            contents = {"name": "a.png", "mimeType": "image/png", "buffer": picture_of(index)}
            page.get_by_label("Picture of a digit").set_input_files([contents])
            expect(verdict(page)).to_have_text(str(LABELS[index]))


def test_what_is_no_picture_is_refused_with_a_reason(browser, studio):
    with visiting(browser, studio) as page:
        contents = {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}
        page.get_by_label("Picture of a digit").set_input_files([contents])
        expect(page.get_by_role("region", name="Messages")).to_contain_text("could not be read")


def test_a_test_image_is_shown_as_it_is_and_the_link_keeps_it(browser, studio):
    with visiting(browser, studio) as page:
        page.get_by_role("button", name="Pick a test image").click()
        page.get_by_role("dialog").get_by_role("radio", name="9").check()
        image = page.get_by_role("button", name=re.compile(r"^Test image \d+, a 9$")).nth(3)
        image.click()
        expect(verdict(page)).to_have_text("9")
        expect(page).to_have_url(re.compile(r"#/draw\?.*input=[\w-]{1046}"))
        before = shares(page)
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(verdict(again)).to_have_text("9")
            assert shares(again) == before


def test_a_drawing_is_stored_with_a_label_only_and_the_next_is_drawn_without_leaving(
    browser, studio
):
    with visiting(browser, studio) as page:
        requests = Requests(page.request, studio)
        before = requests.get("drawings")["total"]
        draw(page, 3)
        expect(verdict(page)).to_have_text("3")
        page.get_by_role("link", name="Wrong? Teach it").click()
        expect(page.get_by_text("The model predicts a 3 (")).to_be_visible()
        assert requests.get("drawings")["total"] == before
        area, empty = (
            page.get_by_label("Drawing area"),
            page.get_by_text("Draw a digit, then press"),
        )
        held = []

        def hold(route):
            if route.request.method == "GET":
                route.fallback()
            else:
                held.append(route)

        page.route(WRITTEN, hold)
        page.keyboard.press("3")
        until(lambda: held or page.evaluate("0"))
        page.keyboard.press("4")  # while it is stored
        held.pop().continue_()
        page.unroute(WRITTEN, hold)
        expect(page.get_by_text("Stored as a 3")).to_be_visible()
        expect(empty).to_be_visible()
        expect(area).to_be_focused()
        page.keyboard.press("3")  # of nothing
        draw(page, 7)
        page.get_by_role("button", name="7", exact=True).click()
        expect(page.get_by_text("Stored as a 7")).to_be_visible()
        expect(area).to_be_focused()
        back = page.get_by_role("button", name="Take it back")
        page.route(WRITTEN, hold)
        back.click()
        until(lambda: held or page.evaluate("0"))
        expect(back).to_be_disabled()
        held.pop().continue_()
        page.unroute(WRITTEN, hold)
        expect(page.get_by_text("The model predicts a 7 (")).to_be_visible()
        assert requests.get("drawings")["total"] == before + 1
        page.reload()
        expect(page.get_by_text("The model predicts a 7 (")).to_be_visible()
        page.get_by_label("Epochs").press("9")  # of a field
        area.focus()
        page.keyboard.press("7")
        expect(empty).to_be_visible()
        stored = requests.get("drawings")
        assert stored["total"] == before + 2
        assert [drawing["label"] for drawing in stored["drawings"][:2]] == [7, 3]
        newest = stored["drawings"][0]["id"]
        page.get_by_role("button", name=f"Drawing {newest}, a 7").click()
        chosen = page.get_by_role("region", name="The chosen drawing")
        expect(chosen).to_be_visible()
        expect(back).to_be_visible()
        page.evaluate("id => fetch(`/api/drawings/${id}`, { method: 'DELETE' })", newest)
        expect(chosen).to_be_hidden()
        expect(back).to_be_hidden()
        expect(page).not_to_have_url(re.compile("drawing="))


def test_a_cell_of_the_confusion_matrix_opens_its_images_which_lead_to_their_layers(
    browser, studio
):
    with visiting(browser, studio) as page:
        report = Requests(page.request, studio).get("models/1")["report"]
        wrong = report["worst"][0]
        label, predicted = wrong["label"], wrong["predicted"]
        page.goto(f"{studio.url}/#/models?model=1")
        page.get_by_role("button", name="0 predicted as a 0:").focus()
        for key, count in (("ArrowDown", label), ("ArrowRight", predicted)):
            for _ in range(count):
                page.keyboard.press(key)
        page.keyboard.press("Enter")
        cell = page.get_by_role("dialog", name=re.compile(f"{label}, predicted as an? {predicted}"))
        images = cell.get_by_role("link", name=re.compile(r"^Image \d+"))
        expect(images).to_have_count(report["confusion"][label][predicted])
        assert not violations(page)
        page.reload()
        expect(images.first).to_be_visible()
        images.first.click()
        expect(page).to_have_url(re.compile(f"#/see.*label={label}"))
        expect(cell).to_have_count(0)
