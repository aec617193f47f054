"""The weight of the studio's pages and their time on a slow network.

Run ``python -m support.studio_page``. A page counts as shown when its heading is painted. The
studio runs on this machine; the browser delays and slows every answer as a network does. "Again"
is a second visit, with what the browser has kept.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from support.browser import chromium
from support.studio import PATIENCE, TOKEN, running_studio

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

VIEWS = ("draw", "see", "train", "teach", "models")
SHOWN = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#view h1")) return;
  observer.disconnect();
  requestAnimationFrame(() =>
    setTimeout(() => (document.documentElement.dataset.shown = performance.now())),
  );
}).observe(document, { childList: true, subtree: true });
"""


class Visit(NamedTuple):
    """One visit of a page.

    Attributes
    ----------
    seconds : float
        From the beginning of the navigation until the page is shown.
    requests : int
        Answers that came over the network until then, even if they said "not modified".
    kilobytes : float
        What they took on the network, with their headers.
    """

    seconds: float
    requests: int
    kilobytes: float


def visit(
    context: BrowserContext, url: str, kilobits: float | None = None, delay: float = 0.0
) -> Visit:
    """Open a page over a network of so many kilobits and milliseconds, and leave it."""
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    if kilobits is not None:
        throughput = kilobits * 1000 / 8
        conditions = {"downloadThroughput": throughput, "uploadThroughput": throughput}
        network.send(
            "Network.emulateNetworkConditions", {"offline": False, "latency": delay, **conditions}
        )
    sizes: dict[str, float] = {}
    finished: list[tuple[str, float]] = []
    network.on("Network.loadingFinished", lambda told: finished.append(
        (told["requestId"], told["encodedDataLength"])
    ))  # fmt: skip
    network.on("Network.requestServedFromCache", lambda told: sizes.update({told["requestId"]: 0}))
    page.add_init_script(SHOWN)
    page.goto(url)
    found = page.wait_for_selector("html[data-shown]", timeout=1000 * PATIENCE)
    seconds = float(found.get_attribute("data-shown") or 0) / 1000
    loaded = [size for id, size in finished if id not in sizes and size > 0]
    page.close()
    return Visit(seconds, len(loaded), sum(loaded) / 1000)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kilobits", type=float, default=400.0, help="per second")
    parser.add_argument("--delay", type=float, default=400.0, help="milliseconds of each answer")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_studio(Path(folder)) as studio,
        chromium() as browser,
    ):
        print(f"{options.kilobits:g} kbit/s, {options.delay:g} ms    first visit     again")
        for view in VIEWS:
            context = browser.new_context()
            context.request.get(f"{studio.url}/?token={TOKEN}")  # leaves the cookie
            url = f"{studio.url}/#/{view}"
            first, again = (visit(context, url, options.kilobits, options.delay) for _ in range(2))
            context.close()
            print(
                f"{view:8} {first.requests:3d} requests {first.kilobytes:6.1f} kB "
                f"{first.seconds:6.2f} s   {again.requests:3d} requests {again.kilobytes:6.1f} kB "
                f"{again.seconds:6.2f} s"
            )


if __name__ == "__main__":
    main()
