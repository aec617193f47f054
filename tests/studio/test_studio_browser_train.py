"""Trainings on the page: steered, watched, compared, and there again when the page is."""

from __future__ import annotations

import re

import pytest
from support.studio import BEARER, until
from support.studio_browser import (
    Requests,
    expect,
    figure,
    go,
    shift,
    tiny_run,
    violations,
    visiting,
)

DRAWN = re.compile("L")
"""A path that leads somewhere."""


@pytest.fixture(autouse=True)
def ended(browser, studio):
    """Let no training go on when its test is over: the next one's would wait for it."""
    yield
    requests = Requests(browser.new_context(extra_http_headers=BEARER).request, studio)
    for run in requests.get("runs")["runs"]:
        if run["ended"] is None:
            requests.post(f"runs/{run['id']}/cancel")


def chart(page, title):
    return page.locator("figure.chart").filter(has=page.get_by_role("heading", name=title))


def steps_of(requests, run_id):
    """Return how many batches a run has done, as far as it has told."""
    points = requests.get(f"runs/{run_id}/points")["points"]
    return max((point["step"] for point in points), default=0)


def runs(page):
    return page.get_by_role("table", name="Runs").locator("tbody").get_by_role("row")


def run_of(page, name):
    """Return the row of a run; others may mention its name."""
    box = page.get_by_role("checkbox", name=f"Show {name} on the charts")
    return runs(page).filter(has=box)


def cancel(page, name):
    """Cancel a run: once not, once all the same."""
    question = page.get_by_role("dialog", name=f"Cancel {name}?")
    for answer in ("Keep it", "Cancel the run"):
        page.get_by_role("button", name=f"Cancel {name}").click()
        expect(question).to_contain_text(re.compile("lost"))
        question.get_by_role("button", name=answer).click()
        expect(question).to_have_count(0)


def test_a_run_is_paused_stepped_resumed_and_cancelled_and_a_reload_shows_it_again(browser, studio):
    with visiting(browser, studio, "#/train") as page:
        form = page.get_by_role("form", name="New run")
        expect(form.get_by_label("Activation")).to_have_value("relu")
        form.get_by_label("Model").select_option(label="Perceptron")
        form.get_by_label("Hidden layers").fill("32, 16")
        form.get_by_label("Epochs").fill("200")
        form.get_by_label("Name").fill("long")
        form.get_by_role("button", name="Start training").click()
        row = run_of(page, "long")
        expect(row).to_contain_text("Running, epoch")
        expect(chart(page, "Loss").locator(".plot path.line")).to_have_attribute(
            "d", re.compile(r"L")
        )
        requests = Requests(page.request, studio)
        other = tiny_run(requests, "other", epochs=200)
        expect(run_of(page, "other")).to_contain_text("Running, epoch")
        third = tiny_run(requests, "third")
        row.get_by_role("button", name="Pause long").click()
        expect(row).to_contain_text("Paused, epoch")
        expect(row).to_contain_text("1 run waits for its place")
        waiting = "Queued: waits for long (paused) or other"
        expect(run_of(page, "third")).to_contain_text(waiting)
        for run in (third, other):
            requests.post(f"runs/{run}/cancel")
        expect(row).not_to_contain_text("waits")

        run_id = next(run["id"] for run in requests.get("runs")["runs"] if run["name"] == "long")
        before = steps_of(requests, run_id)
        row.get_by_role("button", name="Step long").click()
        until(lambda: steps_of(requests, run_id) == before + 1)
        expect(row).to_contain_text("Paused, epoch")

        row.get_by_role("button", name="Resume long").click()
        until(lambda: steps_of(requests, run_id) > before + 1)
        expect(row).to_contain_text("Running, epoch")
        cancel(page, "long")
        expect(row).to_contain_text("Canceled")
        expect(page.locator("#training")).to_be_hidden()

        value = chart(page, "Loss").locator(".legend .value")
        expect(value).to_have_text(re.compile(r"\d"))
        page.reload()
        expect(chart(page, "Loss").locator(".plot path.line")).to_have_attribute(
            "d", re.compile(r"L")
        )
        expect(value).to_have_text(re.compile(r"\d"))
        shown = value.inner_text()
        with page.context.new_page() as again:
            again.goto(page.url)
            expect(chart(again, "Loss").locator(".legend .value")).to_have_text(shown)


def test_two_runs_stand_on_one_chart_or_side_by_side_and_are_sorted_by_results(browser, studio):
    with visiting(browser, studio, "#/draw") as page:
        requests = Requests(page.request, studio)
        names = ("relu", "sigmoid")
        ids = [tiny_run(requests, name, activation=name) for name in names]
        page.goto(f"{studio.url}/#/train?runs={ids[0]}")
        for name in ("sigmoid", "relu"):
            expect(run_of(page, name)).to_contain_text("Done")
        page.get_by_role("checkbox", name="Show sigmoid on the charts").check()
        loss = chart(page, "Loss")
        expect(loss).to_have_count(1)
        expect(loss.locator(".legend li")).to_have_text([re.compile("relu"), re.compile("sigmoid")])
        lines = loss.locator(".plot path.line")
        expect(lines).to_have_count(2)
        for line in lines.all():
            expect(line).to_have_attribute("d", DRAWN)
        assert lines.nth(0).get_attribute("d") != lines.nth(1).get_attribute("d")
        page.get_by_role("radio", name="Side by side").check()
        expect(loss).to_have_count(2)
        axes = [svg.locator(".axes").text_content() for svg in loss.all()]
        assert axes[0] == axes[1]
        expect(page).to_have_url(re.compile(f"runs={ids[0]},{ids[1]}&apart=1"))
        done = {name: requests.get(f"runs/{id}") for name, id in zip(names, ids, strict=True)}
        results = {name: run["result"] for name, run in done.items()}
        for name, run in done.items():
            report = requests.get(f"models/{run['model_id']}")["report"]
            assert results[name]["test_accuracy"] == pytest.approx(report["accuracy"])
            assert results[name]["test_loss"] == pytest.approx(report["loss"], rel=1e-5)
            assert results[name]["parameters"] == report["parameters"]
        sort_by_results(page, results)
        expect(loss).to_have_count(2)


def sort_by_results(page, results):
    """Sort the runs by each result, with the keyboard: best first, then the other way round.

    Runs of other tests may stand between them.
    """
    own = page.locator("b", has_text=re.compile(f"^({'|'.join(results)})$"))
    rows = runs(page).filter(has=own)
    names = rows.locator("b")
    for column, result, best in (("Accuracy", "test_accuracy", max), ("Loss", "test_loss", min)):
        head = page.get_by_role("columnheader", name=column)
        first = best(results, key=lambda name, result=result: results[name][result])
        way = "descending" if best is max else "ascending"
        head.get_by_role("button").press("Enter")
        expect(head).to_have_attribute("aria-sort", way)
        expect(names.first).to_have_text(first)
        page.reload()
        expect(head).to_have_attribute("aria-sort", way)
        expect(names.first).to_have_text(first)
        figures = rows.first.get_by_role("cell").all_inner_texts()[:4]
        shown = [figure(text) for text in figures]
        expected = results[first]
        assert shown[0] == pytest.approx(100 * expected["test_accuracy"], abs=0.06)
        assert shown[1] == pytest.approx(expected["test_loss"], rel=1e-2)
        assert shown[2] == round(expected["seconds"])
        assert shown[3] == expected["parameters"] == 28 * 28 * 8 + 8 + 8 * 10 + 10
        head.get_by_role("button").press("Enter")
        expect(names.first).not_to_have_text(first)
    head.get_by_role("button").press("Enter")
    expect(names).to_have_text(["sigmoid", "relu", *names.all_inner_texts()[2:]])  # newest first
    assert "sort" not in page.url


def test_the_comparison_of_the_text_starts_two_runs_and_shows_both(browser, studio):
    with visiting(browser, studio, "#/train") as page:
        page.get_by_role("button", name="Sigmoid against ReLU").click()
        names = [f"{activation}, four layers" for activation in ("Sigmoid", "ReLU")]
        expect(chart(page, "Loss").locator(".legend li")).to_have_text(
            [re.compile(name) for name in names]
        )
        gradients = page.get_by_role("heading", name="Gradient norm")
        expect(gradients).to_have_count(2)
        for name in names:  # at once
            expect(run_of(page, name)).to_contain_text("Running")
        for line in chart(page, "Loss").locator(".plot path.line").all():
            expect(line).to_have_attribute("d", DRAWN)
        for name in names:
            cancel(page, name)
            expect(run_of(page, name)).to_contain_text("Canceled")


def test_what_is_entered_stays_and_what_is_wrong_is_refused_at_its_field(browser, studio):
    with visiting(browser, studio, "#/train", refusals={422}) as page:
        form = page.get_by_role("form", name="New run")
        rate, decay = form.get_by_label("Learning rate"), form.get_by_label("Weight decay")
        expect(rate).to_have_value("0.005")
        expect(decay).to_have_value("0.01")
        rate.fill("0.02")
        form.get_by_label("Optimizer").select_option(label="SGD")
        form.get_by_label("Model").select_option(label="VGG")
        expect(decay).to_have_value("0")  # follows the defaults: it was not entered
        go(page, "Draw")
        go(page, "Train")
        for again in (lambda: None, page.reload):
            again()
            expect(rate).to_have_value("0.02")
            expect(form.get_by_label("Optimizer")).to_have_value("sgd")
        form.get_by_role("button", name="Default 0.1", exact=True).click()
        expect(rate).to_have_value("0.1")

        form.get_by_label("Epochs").fill("0")
        form.get_by_label("Dropout").fill("1")
        form.get_by_role("button", name="Start training").click()
        for label, words in {"Epochs": "at least 1", "Dropout": "less than 1"}.items():
            expect(form.get_by_label(label)).to_have_accessible_description(f"Expected {words}.")
        expect(form.get_by_label("Dropout")).to_be_focused()
        assert not violations(page)
        form.get_by_label("Epochs").fill("2")
        form.get_by_label("Dropout").fill("0.25")
        form.get_by_label("Batch norm").select_option(label="Yes")
        form.get_by_label("Augmentation").select_option(label="Scale")
        form.get_by_label("Options").fill("optimizer.momentum=0.5 schedule.patience=2")
        form.get_by_label("Name").fill("typed")
        form.get_by_role("button", name="Start training").click()
        expect(form.get_by_text("onecycle has no option 'patience'")).to_be_visible()
        form.get_by_label("Schedule").select_option(label="Plateau")
        form.get_by_role("button", name="Start training").click()
        cancel(page, "typed")
        request = Requests(page.request, studio).get("runs")["runs"][0]["request"]
        expected = {"batch_norm": True, "dropout": 0.25, "augment": "scale", "weight_decay": 0}
        assert {name: request[name] for name in expected} == expected
        assert request["optimizer_options"] == {"momentum": 0.5}
        assert request["schedule_options"] == {"patience": 2}


def test_nothing_moves_while_a_training_runs(browser, studio):
    with visiting(browser, studio, "#/draw") as page:
        run_id = tiny_run(Requests(page.request, studio), "steady", epochs=8, hidden=[32])
        page.goto(f"{studio.url}/#/train?runs={run_id}")
        row = run_of(page, "steady")
        expect(row).to_be_visible()
        expect(chart(page, "Loss")).to_be_visible()
        shift(page, forget=True)
        expect(row).to_contain_text("Done")
        expect(chart(page, "Accuracy").locator("circle")).to_have_count(8)
        moved, what = shift(page)
        assert moved < 0.01, what
