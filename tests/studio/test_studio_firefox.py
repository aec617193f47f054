"""The studio in Firefox: drawing, eight tabs, an outage; where Firefox is installed."""

from __future__ import annotations

from pathlib import Path

import httpx2 as httpx
from support.firefox import firefox
from support.machine import lengthy
from support.studio import BEARER, TOKEN, running_studio

RUN = {"model": "mlp", "data": "digits", "hidden": [8], "epochs": 200}
VIEWS = ("see", "train", "playground", "teach", "models")


@lengthy
def test_firefox_draws_hears_in_every_tab_and_recovers(tmp_path: Path) -> None:
    with firefox() as browser:
        with running_studio(tmp_path) as studio:
            first = browser.tab(f"{studio.url}/?token={TOKEN}")
            first.expect("document.querySelector('.sheet canvas')")
            box = "document.querySelector('.sheet canvas').getBoundingClientRect()"
            left, top, side = (first.evaluate(f"{box}.{name}") for name in ("x", "y", "width"))
            first.drag([(left + side / 2, top + side * (20 + 6 * i) / 100) for i in range(11)])
            first.expect("document.querySelector('.answer').textContent === '1'")
            tabs = [first, *(browser.tab(f"{studio.url}/#/{view}") for view in VIEWS * 2)][:8]
            for tab in tabs:
                tab.expect("document.querySelector('#view h1')")
            run = httpx.post(f"{studio.url}/api/runs", json=RUN, headers=BEARER).json()["id"]
            for tab in tabs:
                tab.expect("!document.getElementById('training').hidden")
            tabs.pop(0).close()  # the first to connect
            httpx.post(f"{studio.url}/api/runs/{run}/cancel", headers=BEARER).raise_for_status()
            for tab in tabs:
                tab.expect("document.getElementById('training').hidden")
            assert browser.errors == []
            studio.kill()
            for tab in tabs:
                tab.expect("!document.getElementById('lost').hidden")
            tabs[0].evaluate("location.hash = '#/draw'")  # not yet loaded in this tab
        port = int(studio.url.rpartition(":")[2])
        with running_studio(tmp_path, port=port):
            for tab in tabs:
                tab.expect("document.getElementById('lost').hidden")
            tabs[0].expect("document.querySelector('.sheet canvas')")
            for tab in tabs:
                tab.expect("document.querySelector('.outage') === null")
