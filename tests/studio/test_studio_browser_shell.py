"""What holds on every screen: late answers, lost answers, many tabs, an outage, hostile names."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from itertools import product

from support.studio import TOKEN, add_model, running_studio, until
from support.studio_browser import (
    Requests,
    draw,
    expect,
    go,
    picture_of,
    tiny_run,
    verdict,
    visiting,
)
from support.studio_models import opened

from tinygrad_cnn.studio.store import models

RIGHT_TO_LEFT = "שלום"
CUT = "(element) => element.scrollWidth - element.clientWidth"
HOSTILE = f"<img src=/stolen onerror=\"alert('stolen')\"> {RIGHT_TO_LEFT}"
TURNED = """
(word) => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ALL);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE && !node.parentElement.closest("pre"))
      texts.push(node.data);
    for (const { name, value } of node.attributes ?? []) if (name !== "value") texts.push(value);
  }
  return texts.filter((text) => text.replace(/\u2068[^\u2068\u2069]*\u2069/g, "").includes(word));
}
"""
"""Lists texts in which the word would turn those around it."""
ROUNDS = 4  # visits of every view

LOADS = """
async ({ seeds, moments }) => {
  const at = document.querySelector("script[src$='main.js']").src.replace("main.js", "requests.js");
  const { load } = await import(at);
  let seed = 0;
  const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
  async function right() {
    const state = { a: 0, b: 0 }; // on the server
    let shown = null;
    let wanted = null;
    const open = [];
    const loading = load(
      (name) => {
        const value = state[name];
        return new Promise((resolve) => open.push(() => resolve({ name, value })));
      },
      (answer) => (shown = answer),
      { live: random() < 0.5 },
    );
    const answer = async () => {
      if (open.length) open.splice(Math.floor(random() * open.length), 1)[0]();
      for (let turn = 0; turn < 10; turn += 1) await null;
    };
    for (let moment = 0; moment < moments; moment += 1) {
      const [what, name] = [random(), random() < 0.5 ? "a" : "b"];
      if (what < 0.3) loading.want((wanted = name));
      else if (what < 0.5) {
        state[name] += 1;
        if (name === wanted) loading.want(wanted); // an event says that something has changed
      } else if (what < 0.7) {
        const value = (state[name] += 1); // an event says what has changed
        loading.since(() => shown?.name === name && shown.value < value && (shown.value = value));
      } else await answer();
    }
    while (open.length) await answer();
    return wanted === null || (shown.name === wanted && shown.value === state[wanted]);
  }
  const wrong = [];
  for (const each of Array(seeds).keys()) {
    seed = each + 1;
    if (!(await right())) wrong.push(each);
  }
  return wrong;
}
"""

WRITES = """
async (outcomes) => {
  const at = document.querySelector("script[src$='main.js']").src.replace("main.js", "requests.js");
  const { write } = await import(at);
  const shown = [];
  const then = { answered: (answer) => shown.push(answer), refused: () => {} };
  const send = (done, place) =>
    write("a thing", async () => (done ? place : Promise.reject(new Error("refused"))), then);
  await Promise.all(outcomes.map(send));
  return shown;
}
"""


def unharmed(page):
    """Fail if anything of the name has become more than text."""
    assert page.locator("img, script:not([src])").count() == 0
    assert page.locator("[onerror]").count() == 0
    assert page.evaluate(TURNED, RIGHT_TO_LEFT) == []


@contextmanager
def late(page, address, method="GET"):
    """Hold back the first answer of an address until the block ends; yield whether it is made."""
    held = []

    def hold(route):
        if held or route.request.method != method:
            route.fallback()
        else:
            held.append(route)
            held.append(route.fetch())

    page.route(address, hold)
    yield lambda: len(held) == 2
    until(lambda: len(held) == 2 or page.evaluate("0"))
    route, answer = held
    with suppress(Exception):  # the page has given the request up
        route.fulfill(response=answer)
    page.unroute(address, hold)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def asked(page, held):
    """Wait until the page has sent its held requests."""
    until(lambda: held() or page.evaluate("0"))


PRELOADED = """
() => {
  const links = [...document.querySelectorAll("link[rel=modulepreload]")].map(({ href }) => href);
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const [first] = document.querySelectorAll("script");
  const modules = loaded.filter((name) => name.endsWith(".js") && name !== first.src);
  return [links.sort(), modules.sort()];
}
"""


def test_a_load_ends_with_the_newest_state_whatever_the_order_of_answers(browser, studio):
    with visiting(browser, studio, "#/see") as page:
        expect(page.locator("aside .verdict")).to_contain_text(", with")
        preloaded, loaded = page.evaluate(PRELOADED)  # nothing waits for another module first
        assert preloaded == loaded
        assert page.evaluate(LOADS, {"seeds": 300, "moments": 30}) == []
        for outcomes in product([True, False], repeat=3):
            last = [place for place, done in enumerate(outcomes) if done][-1:]
            assert page.evaluate(WRITES, outcomes) == last, outcomes


def test_a_late_answer_changes_neither_a_newer_state_nor_another_choice(browser, studio):
    with visiting(browser, studio) as page:
        requests = Requests(page.request, studio)
        expect(page.get_by_label("Drawing area")).to_be_visible()
        runs = page.get_by_role("table", name="Runs").get_by_role("row")
        chip = page.locator("#training")

        with late(page, "**/api/runs") as held:  # the list of before the run
            go(page, "Train")
            asked(page, held)
            run = tiny_run(requests, "late", epochs=200)
            expect(chip).to_be_visible()
        expect(runs.filter(has_text="late")).to_contain_text("Running")

        with late(page, "**/api/state") as held:  # the state of while it ran
            requests.post(f"runs/{run}/pause")
            asked(page, held)
            requests.post(f"runs/{run}/cancel")
            expect(runs.filter(has_text="late")).to_contain_text("Canceled")
        expect(chip).to_be_hidden()

        with late(page, "**/api/drawings?*") as held:
            go(page, "Teach")
            asked(page, held)
            requests.post("drawings?label=4", picture_of(4))
        expect(page.get_by_role("button", name=re.compile("^Drawing .*a 4$"))).to_be_visible()

        go(page, "See")
        expect(page.locator("aside .verdict")).to_contain_text(", with")
        with late(page, "**/api/explain/layers", "POST") as held:  # of another picture
            pick(page, 0)
            asked(page, held)
            shown = pick(page, 5)
            expect(page.locator("aside .verdict")).to_contain_text(f"{shown}, with")
        expect(page.locator("aside .verdict")).to_contain_text(f"{shown}, with")


def pick(page, place):
    """Pick a test image, and return its digit."""
    page.get_by_role("button", name="Pick a test image").click()
    image = page.get_by_role("dialog").get_by_role("button", name="Test image").nth(place)
    digit = image.get_attribute("aria-label")[-1]
    image.click()
    return digit


def test_a_label_is_stored_once_on_the_drawing_that_was_shown(browser, studio):
    with visiting(browser, studio) as page:
        requests = Requests(page.request, studio)
        first, second = (requests.post("drawings", picture_of(index))["id"] for index in (6, 7))
        label = lambda id: requests.get(f"drawings/{id}")["label"]  # noqa: E731
        page.goto(f"{studio.url}/#/teach?drawing={first}")
        title = page.locator(".labeling h2")
        choice = page.get_by_role("radio", name="3", exact=True)
        choice.focus()

        choice.press("Space")
        for _ in range(4):
            page.keyboard.press("ArrowRight")  # to 7: each moves the choice
        expect(page.get_by_role("radio", name="7", exact=True)).to_be_checked()
        assert label(first) is None
        sent = []
        page.on("request", lambda request: sent.append(request.method))
        with late(page, f"**/api/drawings/{first}", "PATCH") as held:
            page.keyboard.press("Enter")
            asked(page, held)
            page.get_by_role("radio", name="8", exact=True).check()
            page.get_by_role("button", name="Store as an 8").click()  # waits for the first answer
            assert label(first) == 7
            assert sent.count("PATCH") == 1
        expect(title).to_have_text("It is an 8")
        assert label(first) == 8

        with late(page, f"**/api/drawings/{first}", "PATCH") as held:
            page.get_by_role("radio", name="2", exact=True).check()
            page.get_by_role("button", name="Store as a 2").click()
            asked(page, held)
            page.get_by_role("button", name=f"Drawing {second}, no label").click()
        expect(title).to_have_text("Which digit is it?")
        expect(page.get_by_role("button", name=f"Drawing {first}, a 2")).to_be_visible()
        assert (label(first), label(second)) == (2, None)


def test_what_is_sent_again_since_its_answer_was_lost_is_stored_once(browser, studio):
    with visiting(browser, studio, refusals=["net::ERR_CONNECTION_RESET"]) as page:
        requests = Requests(page.request, studio)
        before = requests.get("drawings")["total"]
        lost = []

        def lose(route):
            if route.request.method == "POST" and not lost:
                lost.append(route.fetch().json()["id"])
                route.abort("connectionreset")
            else:
                route.fallback()

        page.route("**/api/drawings?*", lose)
        go(page, "Teach")
        expect(page.get_by_role("heading", name="Which digit is it?")).to_be_visible()
        draw(page, 3)
        page.keyboard.press("3")
        expect(page.get_by_text("Stored as a 3")).to_be_visible()
        assert lost
        assert requests.get("drawings")["total"] == before + 1


def test_eight_tabs_are_told_of_everything_whichever_is_closed(browser, studio):
    with visiting(browser, studio) as page:
        tabs = [page, *(page.context.new_page() for _ in range(7))]
        for tab in tabs[1:]:
            tab.goto(f"{studio.url}/#/draw")
        for tab in tabs:
            expect(tab.get_by_label("Drawing area")).to_be_visible()
        run = tiny_run(Requests(page.request, studio), "watched", epochs=200)
        for tab in tabs:
            expect(tab.locator("#training")).to_contain_text("Training, epoch")
        for tab in (tabs[0], tabs[-1]):  # the first to connect, and the last
            tab.close()
        requests = Requests(page.context.request, studio)
        requests.post(f"runs/{run}/cancel")
        for tab in tabs[1:-1]:
            expect(tab.locator("#training")).to_be_hidden()
            assert tab.evaluate("fetch('/api/models').then(({ ok }) => ok)")  # each is answered


def test_every_view_lets_go_of_all_that_it_held(browser, studio):
    with visiting(browser, studio, "#/constructor") as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
        expect(page.locator("nav [aria-current]")).to_have_count(0)
        page.get_by_role("link", name="Draw a digit").click()
        picks_twice(page)
        takes_a_stroke_back_while_it_is_drawn(page)
        metrics = page.context.new_cdp_session(page)
        metrics.send("Performance.enable")
        found = []
        for _ in range(ROUNDS):
            for view in ("See", "Train", "Playground", "Teach", "Models", "Draw"):
                go(page, view)
                expect(page).to_have_title(re.compile(f"^{view} "))
            expect(page.get_by_label("Drawing area")).to_be_visible()
            metrics.send("HeapProfiler.collectGarbage")
            told = {
                each["name"]: each["value"]
                for each in metrics.send("Performance.getMetrics")["metrics"]
            }
            found.append((told["JSEventListeners"], told["Nodes"]))
        half = ROUNDS // 2
        for counts in zip(*found, strict=True):
            assert max(counts[half:]) <= 1.1 * max(counts[:half]), found


def picks_twice(page):
    """More images are asked for twice at once, and come once."""
    page.get_by_role("button", name="Pick a test image").click()
    images = page.get_by_role("dialog").get_by_role("button", name="Test image")
    expect(images).to_have_count(60)
    with late(page, "**/api/images?*offset=60*") as held:
        page.get_by_role("button", name="More").dblclick()
        asked(page, held)
    expect(images).to_have_count(120)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    names = images.evaluate_all("found => found.map(one => one.getAttribute('aria-label'))")
    assert len(set(names)) == len(names) == 120
    page.keyboard.press("Escape")


def takes_a_stroke_back_while_it_is_drawn(page):
    """The rest of the movement draws nothing."""
    sheet = page.get_by_label("Drawing area")
    box = sheet.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=4)
    page.keyboard.press("Control+z")
    page.mouse.move(box["x"] + 300, box["y"] + 100, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    expect(page.get_by_text("Draw a digit", exact=True).and_(page.locator("p"))).to_be_visible()
    assert sheet.evaluate(
        "found => found.getContext('2d').getImageData(0, 0, 560, 560).data"
        ".every((part, place, all) => part === all[place % 4])"
    )


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
        expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
        for box in page.get_by_role("checkbox").all()[:2]:
            box.check()
        expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
        unharmed(page)
        page.get_by_role("button", name="Show Python").click()
        expect(page.get_by_role("dialog", name="Python of")).to_contain_text("import")
        unharmed(page)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Roll back").click()
        expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)
        unharmed(page)
        page.keyboard.press("Escape")
        page.get_by_role("link", name=f"{HOSTILE} 2").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog", name=re.compile(r"Delete .* 2\W?\?"))).to_be_visible()
        unharmed(page)
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

        page.goto(f"{studio.url}/#/see")
        expect(page.get_by_label("Model", exact=True)).to_contain_text(HOSTILE)
        unharmed(page)
        page.goto(f"{studio.url}/#/teach?drawing={drawing}")
        expect(page.get_by_role("button", name=HOSTILE)).to_be_visible()
        expect(page.get_by_label("Model", exact=True)).to_contain_text(HOSTILE)
        unharmed(page)
        page.goto(f"{studio.url}/#/train")
        expect(page.get_by_role("row").filter(has_text=HOSTILE).first).to_contain_text("Done")
        expect(page.get_by_role("checkbox", name=HOSTILE)).to_be_checked()
        unharmed(page)
        page.goto(f"{studio.url}/#/draw?input={HOSTILE}&model={HOSTILE}&temperature={HOSTILE}")
        expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()
        unharmed(page)

        listed = [each["id"] for each in requests.get("models")["models"]][:2]
        for each in listed:
            requests.patch(f"models/{each}", {"name": "W" * 118 + f"{each:02}"})
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{studio.url}/#/models?compare={listed[0]},{listed[1]}")
        expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
        for sheet in page.locator("html, .comparison .scroll").all():
            assert sheet.evaluate(CUT) <= 0
        other = next(each for each in listed if each != model)
        page.goto(f"{studio.url}/#/models?model={other}")
        page.get_by_role("button", name="Delete").click()
        assert page.get_by_role("dialog").evaluate(CUT) <= 0
    assert not [url for url in asked if "/stolen" in url]


def test_the_page_recovers_by_itself_when_the_server_was_away(browser, studio):
    """The last test here, for it ends the server of the others."""
    context = browser.new_context()  # the browser's console reports an outage, too
    context.request.get(f"{studio.url}/?token={TOKEN}")
    forgotten = add_model(studio.data_dir, "forgotten", promoted=False)
    pages = [context.new_page() for _ in range(3)]
    drawn, gone, listed = pages
    for page in (drawn, gone):
        page.goto(f"{studio.url}/#/draw")
        expect(page.get_by_label("Drawing area")).to_be_visible()
    listed.goto(f"{studio.url}/#/models")
    expect(listed.get_by_role("link", name="forgotten")).to_be_visible()
    studio.kill()
    with opened(studio.data_dir / "studio.db") as store, store.session() as session:
        models.delete(session, forgotten)
    lost = "The connection to the server is lost; trying again."
    for page in pages:
        expect(page.get_by_text(lost)).to_be_visible()
    drawn.bring_to_front()
    draw(drawn, 3)
    notices = drawn.get_by_role("region", name="Messages")
    expect(notices).to_contain_text("The studio's server does not answer.")
    gone.bring_to_front()
    go(gone, "See")  # a view that the browser has not loaded yet
    expect(gone).to_have_url(re.compile("#/see"))
    port = int(studio.url.rpartition(":")[2])
    with running_studio(studio.data_dir.parent, port=port):
        for page in pages:
            expect(page.get_by_text(lost)).to_be_hidden()
        expect(verdict(drawn)).to_have_text("3")
        expect(notices).to_be_empty()
        expect(gone.locator("aside .verdict")).to_contain_text(", with")
        expect(listed.get_by_role("link", name="forgotten")).to_be_hidden()
        tiny_run(Requests(context.request, studio), "after")
        for page in pages:
            expect(page.locator("#training")).to_be_visible()
    context.close()
