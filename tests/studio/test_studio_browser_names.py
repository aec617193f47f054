"""Names are text: whatever somebody calls a drawing, a model or a run, no page runs it."""

from __future__ import annotations

from support.studio_browser import Requests, expect, picture_of, tiny_run, visiting

HOSTILE = "<img src=/stolen onerror=\"alert('stolen')\">"


def unharmed(page):
    """Fail if anything of the name has become more than text."""
    assert page.locator("img, script:not([src])").count() == 0
    assert page.locator("[onerror]").count() == 0


def test_a_hostile_name_is_text_wherever_it_stands(browser, studio):
    asked = []
    with visiting(browser, studio, "#/draw") as page:
        page.context.on("request", lambda request: asked.append(request.url))
        requests = Requests(page.request, studio)
        model = requests.get("models")["promoted"]
        requests.patch(f"models/{model}", {"name": HOSTILE})
        weights = page.request.get(f"{requests.url}models/{model}/weights").body()
        page.request.post(
            f"{requests.url}models",
            params={"name": f"{HOSTILE} 2"},
            data=weights,
            headers={"Content-Type": "application/octet-stream"},
        )
        drawing = requests.post("drawings?label=3", picture_of(0))["id"]
        requests.patch(f"drawings/{drawing}", {"name": HOSTILE})
        tiny_run(requests, HOSTILE)

        page.goto(f"{studio.url}/#/models?model={model}")
        expect(page.get_by_role("heading", name=HOSTILE, exact=True)).to_be_visible()
        for box in page.get_by_role("checkbox").all()[:2]:
            box.check()
        expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
        unharmed(page)
        page.get_by_role("button", name="Show Python").click()
        expect(page.get_by_role("dialog", name=f"Python of {HOSTILE}")).to_contain_text("import")
        unharmed(page)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Roll back").click()
        expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)
        unharmed(page)
        page.keyboard.press("Escape")
        page.get_by_role("link", name=f"{HOSTILE} 2").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog", name=f"Delete {HOSTILE} 2?")).to_be_visible()
        unharmed(page)
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

        page.goto(f"{studio.url}/#/see")
        expect(page.get_by_label("Network")).to_contain_text(HOSTILE)
        unharmed(page)
        page.goto(f"{studio.url}/#/teach?drawing={drawing}")
        expect(page.get_by_role("button", name=HOSTILE)).to_be_visible()
        expect(page.get_by_label("Model")).to_contain_text(HOSTILE)
        unharmed(page)
        page.goto(f"{studio.url}/#/train")
        expect(page.get_by_role("row").filter(has_text=HOSTILE).first).to_contain_text("Done")
        expect(page.get_by_role("checkbox", name=HOSTILE)).to_be_checked()
        unharmed(page)
        page.goto(f"{studio.url}/#/draw?input={HOSTILE}&model={HOSTILE}&temperature={HOSTILE}")
        expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()
        unharmed(page)
    assert not [url for url in asked if "/stolen" in url]
