"""The page for everybody: screen readers, any screen and colors; and what it must never do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import opened
from support.traced import lenet

import tinygrad_cnn as tg

HOSTILE = (
    "<img src=x onerror=\"document.title='stolen'\"></script><script>document.title='stolen'//"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return lenet().drawing.render(tmp_path_factory.mktemp("page") / "backprop.html")


# --- screen readers, screens, colors ------------------------------------------------------------


def test_everything_has_a_role_and_a_name_and_each_step_is_said(browser, file):
    with opened(browser, file) as page:
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title() == "LeNet-5"
        for selector in ("button", "input", "canvas", "#canvas [tabindex]", "section, footer"):
            for found in page.locator(selector).all():
                name = found.evaluate("e => e.ariaLabel ?? e.textContent.trim()")
                assert name or found.get_attribute("aria-labelledby") or selector.startswith("sec")
        page.keyboard.press("End")
        levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((h) => +h.tagName[1])")
        assert levels[:3] == [1, 2, 3]
        assert set(levels[3:]) == {3}
        page.keyboard.press("ArrowLeft")
        said = page.get_by_role("status").inner_text()
        assert said.startswith("Backward 13 of 13: conv2d in conv1. The gradient flowing in is −")
        assert page.get_by_role("slider").get_attribute("aria-valuetext") == said
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [360, 768, 899, 900, 1920])
def test_no_screen_scrolls_sideways_and_what_plays_stays_in_sight(browser, file, width):
    with opened(browser, file, width=width, height=640) as page:
        for key in ("Home", "End", "ArrowLeft"):
            page.keyboard.press(key)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for selector in ("#play", "#step"):
                box = page.locator(selector).bounding_box()
                assert box["y"] + box["height"] <= 640
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser, file, scheme):
    with opened(browser, file, color_scheme=scheme) as page:
        style = page.evaluate_handle("getComputedStyle(document.documentElement)")
        colors = {
            name: style.evaluate("(style, name) => style.getPropertyValue(name)", f"--{name}")
            for name in ("ground", "sheet", "ink", "faint", "ahead", "back")
        }
        grounds = [luminance(colors[name]) for name in ("ground", "sheet")]
        assert (max(grounds) < 0.1) == (scheme == "dark")
        for name in ("ink", "faint", "ahead", "back"):
            for ground in grounds:
                low, high = sorted([luminance(colors[name]), ground])
                assert (high + 0.05) / (low + 0.05) >= 4.5, name


def luminance(color: str) -> float:
    """Return the relative luminance of "#rrggbb", as WCAG defines it."""
    channels = [int(color.strip()[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_sign_of_a_value_is_the_hue_of_its_pixel_in_both_schemes(browser, tmp_path):
    x = tg.Tensor([[-1.0, 0.0, 1.0] * 40], requires_grad=True, name="x")
    with tg.trace() as trace:
        x.sum().backward()
    file = trace.draw().render(tmp_path / "backprop.html")
    for scheme in ("light", "dark"):
        with opened(browser, file, color_scheme=scheme) as page:
            pixels = page.locator("#panel canvas").first.evaluate(
                """(canvas) => [0.5, 1.5, 2.5].map((k) => [...canvas.getContext("2d")
                  .getImageData(Math.floor((k * canvas.width) / 64), 2, 1, 1).data])"""
            )
            (r0, _, b0, _), (r1, g1, b1, _), (r2, _, b2, _) = pixels
            assert b0 > r0 + 60
            assert max(r1, g1, b1) - min(r1, g1, b1) < 20
            assert r2 > b2 + 60


def test_less_motion_is_respected(browser, file):
    with opened(browser, file, reduced_motion="reduce") as page:
        animation = page.locator(".flowing > path").first.evaluate(
            "(path) => getComputedStyle(path).animationName"
        )
        assert animation == "none"
    with opened(browser, file, reduced_motion="no-preference") as page:
        animation = page.locator(".flowing > path").first.evaluate(
            "(path) => getComputedStyle(path).animationName"
        )
        assert animation == "flow"


# --- what must not happen ------------------------------------------------------------------------


def test_names_are_text_wherever_they_are_shown(browser, tmp_path):
    class Model(tg.nn.Module):
        def __init__(self) -> None:
            self.parts = {HOSTILE: Part()}

        def forward(self, x):
            return self.parts[HOSTILE](x)

    class Part(tg.nn.Module):
        def __init__(self) -> None:
            self.weight = tg.nn.Parameter([2.0, 3.0], name=HOSTILE)

        def forward(self, x):
            return tg.sigmoid(self.weight * x).sum()

    model = Model()
    with tg.trace() as trace:
        model(tg.Tensor([1.0, -1.0], name=HOSTILE)).backward()
    file = trace.draw(names=model, title=HOSTILE).render(tmp_path / "backprop.html")
    with opened(browser, file) as page:
        assert page.title() == HOSTILE
        for _ in range(8):
            page.keyboard.press("ArrowRight")
            assert HOSTILE in page.locator("#panel").text_content()
        page.locator("#canvas .node").first.hover()
        page.locator("#depths button").first.click()
        assert page.locator("img:not([role])").count() == 0
        assert page.title() == HOSTILE


def test_the_policy_lets_nothing_else_run_style_or_load(browser, file):
    with pytest.raises(AssertionError, match="Content Security Policy"), opened(browser, file) as p:
        p.evaluate(
            """() => {
              const texts = { script: "window.ran = 1", style: "h1 { color: red }" };
              for (const [tag, text] of Object.entries(texts)) {
                const made = document.createElement(tag);
                made.textContent = text;
                document.head.append(made);
              }
              const button = document.createElement("button");
              button.setAttribute("onclick", "window.ran = 2");
              document.body.append(button);
              button.click();
            }"""
        )
        assert p.evaluate("window.ran === undefined")
        assert p.locator("h1").evaluate("(h) => getComputedStyle(h).color") != "rgb(255, 0, 0)"
        refused = p.evaluate("fetch('https://example.org/').then(() => 'loaded', () => 'refused')")
        assert refused == "refused"
