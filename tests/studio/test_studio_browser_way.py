"""A person's whole way: from a studio where nothing is trained to a promoted lesson, and back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.strokes import digits, others
from support.studio import running_studio
from support.studio_browser import (
    LEARNING,
    draw,
    expect,
    figure,
    go,
    lead,
    shift,
    verdict,
    visiting,
)
from support.studio_models import opened
from support.studio_strokes import inputs, noticed, right

from tinygrad_cnn.studio import model_files
from tinygrad_cnn.studio.novelty import Detector
from tinygrad_cnn.studio.store import models


def test_from_the_first_training_to_a_promoted_lesson_and_back(browser, tmp_path):
    with (
        running_studio(tmp_path, trained=False) as studio,
        visiting(browser, studio, refusals={409}) as page,
    ):
        watch_the_first_training(page)
        read_the_strokes(page, studio)
        expect(said_of(page, 3)).to_have_text("3")
        page.get_by_role("link", name="Wrong? Teach it").click()
        for place in range(4):
            teach(page, 3, "8", moved=2 * place)  # nonsense: it must get worse
        teach(page, 7, "7", moved=0)
        name = learn(page)
        insist(page, name)
        assert promoted(page) == name
        expect(said_of(page, 3)).to_have_text("8")
        roll_back(page)
        assert promoted(page) != name
        expect(said_of(page, 3)).to_have_text("3")


def watch_the_first_training(page):
    """Draw while the first model learns: it answers as soon as it can, and nothing moves."""
    expect(page.get_by_role("heading", name="Training the first model")).to_be_visible()
    expect(page.locator("#training")).to_have_text(re.compile(r"Training, epoch \d of 4"))
    now = re.compile(r"Epoch \d of 4, batch \d+ of \d+, loss \d")
    expect(page.get_by_text(now)).to_be_visible()
    draw(page, 3)
    expect(page.get_by_role("row", name=re.compile(r"Epoch 1 \d\d\.\d %"))).to_be_visible()
    page.get_by_text("You can already draw").wait_for(state="detached", timeout=1000 * LEARNING)
    expect(verdict(page)).to_have_text("3")
    bars = page.get_by_role("list", name="Probabilities").get_by_role("listitem")
    shares = [figure(text[1:]) for text in bars.all_inner_texts()]
    assert len(shares) == 10
    assert max(shares) == shares[3] > 50
    assert sum(shares) == pytest.approx(100, abs=1)
    expect(page.locator("#training")).to_be_hidden()
    moved, what = shift(page)
    assert moved < 0.01, what


def read_the_strokes(page, studio):
    """Of digits in many styles and hands, of any size and tilted, the first model reads most."""
    drawings = digits()
    with opened(studio.data_dir / "studio.db") as store, store.reading() as session:
        promoted_one = models.promoted(session)
    first, detector = model_files.read(promoted_one.weights), Detector.unpack(promoted_one.detector)
    encoded = inputs(page, drawings)
    found = right(first, encoded, drawings)
    assert len(drawings) >= 200
    missed = [one.style for one, read in zip(drawings, found, strict=True) if not read]
    assert np.mean(found) >= 0.95, missed
    for label in (1, 7):
        assert np.mean(found[[one.label == label for one in drawings]]) >= 0.85, label
    small = [one.size < 0.3 for one in drawings]
    assert np.mean(found[small]) >= 0.93
    assert np.mean(noticed(first, detector, encoded)) < 0.05
    signs = others(times=1)
    marked = noticed(first, detector, inputs(page, signs))
    assert np.mean(marked) > 0.35
    assert np.mean(marked[[one.style in ("cross", "hash", "two lines") for one in signs]]) > 0.6
    page.get_by_role("button", name="Clear").click()
    for corners in ("22,20 78,80", "77,20 23,80"):
        lead(page, corners)
    expect(page.get_by_text("Unlike anything it learned from.")).to_be_visible()
    page.get_by_role("button", name="Why?").click()
    why = page.get_by_role("dialog", name="Why a drawing that is not a digit gets a probability")
    expect(why).to_contain_text(re.compile(r"above the threshold of \d\.\d\. Only \d\.\d\s%"))
    page.keyboard.press("Escape")


def said_of(page, digit, moved=0):
    """Draw a digit on an empty sheet, and return where the screen says what it is."""
    go(page, "Draw")
    page.get_by_role("button", name="Clear").click()
    expect(verdict(page)).to_have_text("–")
    draw(page, digit, moved)
    expect(verdict(page)).to_have_text(re.compile(r"^\d$"))
    return verdict(page)


def teach(page, digit, label, moved):
    """Draw a digit, unless it is there already, say what it is, and see it stored."""
    if moved or digit == 7:
        draw(page, digit, moved)
    expect(page.get_by_text(f"The model predicts a {digit} (")).to_be_visible()
    page.keyboard.press(label)
    article = "an" if label == "8" else "a"
    expect(page.get_by_text(f"Stored as {article} {label}")).to_be_visible()
    expect(page.get_by_text("Draw a digit, then press its key")).to_be_visible()


def learn(page):
    """Fine-tune on the drawings alone, see before and after, and return the new model's name."""
    expect(page.get_by_text("4 drawings to learn, 1 held out for validation.")).to_be_visible()
    form = page.get_by_role("form", name="Fine-tune")
    for field, value in {"Replayed digits": 0, "Epochs": 20, "Learning rate": 0.02}.items():
        form.get_by_label(field).fill(str(value))
    form.get_by_role("button", name="Fine-tune").click()
    outcome = page.locator(".outcome")
    expect(outcome.get_by_role("status")).to_have_text("Done")
    rows = outcome.get_by_role("row")
    expect(rows.nth(2)).to_contain_text(re.compile(r"Held-out drawings \(1\)1 of 1[01] of 1"))
    before, after, change = map(figure, rows.nth(1).get_by_role("cell").all_inner_texts())
    assert before > 90 > after
    assert change == pytest.approx(after - before, abs=0.11)
    return outcome.get_by_role("heading").inner_text()


def insist(page, name):
    """Promote a model that is worse: once not, once all the same."""
    promote = page.get_by_role("button", name="Promote", exact=True)
    question = page.get_by_role("dialog", name=f"{name} is less accurate")
    promote.click()
    expect(question).to_contain_text(re.compile(r"its accuracy is \d+\.\d\d %"))
    question.get_by_role("button", name="Keep the promoted model").click()
    expect(question).to_have_count(0)
    assert promoted(page) != name
    go(page, "Teach")
    expect(page.locator(".outcome").get_by_role("status")).to_have_text("Done")
    promote.click()
    question.get_by_role("button", name="Promote anyway").click()
    expect(page.get_by_text(f"{name} is promoted.")).to_be_visible()
    expect(page.get_by_role("button", name="Promoted")).to_be_disabled()


def promoted(page):
    """Return the name of the model that the list shows as promoted."""
    go(page, "Models")
    row = page.get_by_role("table", name="Models").get_by_role("row").filter(has_text="promoted")
    expect(row).to_have_count(1)
    return row.get_by_role("link").inner_text()


def roll_back(page):
    go(page, "Models")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text(re.compile("is promoted again.$"))).to_be_visible()
