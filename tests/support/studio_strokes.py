"""How well models read drawn strokes, and how often they notice that a sign is not a digit.

PYTHONPATH=tests python -m support.studio_strokes

It trains two first models, one as the studio does and one on the embedded digits alone, shows both
the strokes of `support.strokes`, redrawn as the Draw view sends them and as they were drawn, and
prints the accuracies by style, size, tilt and hand.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from support.browser import chromium
from support.strokes import Drawn, digits, others
from support.studio import running_studio
from support.studio_browser import visiting
from tinygrad_cnn.data import as_mnist, load
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.studio.novelty import Detector
from tinygrad_cnn.studio.predictor import LoadedModel
from tinygrad_cnn.studio.training.requests import settings_of, train_request
from tinygrad_cnn.train import RunFolder, TrainedModel, TrainingRun

if TYPE_CHECKING:
    from playwright.sync_api import Page

SENT = """(drawings) => Promise.all(drawings.map(async (marks) => {
  const { pngOf } = await import("/static/js/draw/redraw.js");
  const picture = await pngOf(marks);
  return btoa(String.fromCharCode(...new Uint8Array(await picture.arrayBuffer())));
}))"""

AS_DRAWN = """async (drawings) => {
  const { render } = await import("/static/js/draw/render.js");
  const context = new OffscreenCanvas(280, 280).getContext("2d", { willReadFrequently: true });
  const texts = [];
  for (const marks of drawings) {
    render(context, marks, { ink: "#000000", ground: "#ffffff" });
    const picture = await context.canvas.convertToBlob();
    texts.push(btoa(String.fromCharCode(...new Uint8Array(await picture.arrayBuffer()))));
  }
  return texts;
}"""


def inputs(page: Page, drawings: Sequence[Drawn], script: str = SENT) -> NDArray[np.uint8]:
    """Return the network inputs (N, 1, 28, 28) that a page of the studio makes of drawings."""
    return as_inputs(page.evaluate(script, [drawn.marks() for drawn in drawings]))[:, np.newaxis]


def as_inputs(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return the network inputs (N, 28, 28) of pictures in base64."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))).convert("L") for text in texts]
    return np.stack([as_mnist(np.asarray(one, np.float32) / 255, "drawn") for one in pictures])


def right(
    model: TrainedModel, images: NDArray[np.uint8], drawings: Sequence[Drawn]
) -> NDArray[np.bool_]:
    """Return which drawings a model reads correctly."""
    read = model.probabilities(images).argmax(axis=1)
    return np.equal(read, [drawn.label for drawn in drawings])


def noticed(
    model: TrainedModel, detector: Detector, images: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Return which inputs (N, 1, 28, 28) are found unlike the training images."""
    loaded = LoadedModel(1, model.model, model.settings, detector)
    scores = [loaded.predict(pixels).score for pixels in images[:, 0]]
    return np.greater(np.array(scores, float), detector.threshold)


def main() -> None:
    drawings, signs = digits(), others()
    with (
        TemporaryDirectory() as folder,
        running_studio(Path(folder)) as studio,
        chromium() as browser,
        visiting(browser, studio) as page,
    ):
        redrawn, drawn = inputs(page, drawings), inputs(page, drawings, AS_DRAWN)
        shown = inputs(page, signs)
    before, after = _trained("digits"), _trained("european-digits")
    columns = {
        "before": right(before, drawn, drawings),
        "redrawn": right(before, redrawn, drawings),
        "and trained": right(after, redrawn, drawings),
    }
    print(f"{len(drawings)} drawings".ljust(24) + "".join(name.rjust(13) for name in columns))
    parts: dict[str, Callable[[Drawn], Any]] = {
        "all": lambda one: "",
        "size": lambda one: one.size,
        "tilt": lambda one: one.tilt,
        "hand": lambda one: one.hand,
        "digit": lambda one: one.label,
        "style": lambda one: one.style,
    }
    for part, key in parts.items():
        keys = [key(one) for one in drawings]
        for value in dict.fromkeys(sorted(keys)):
            shares = [found[np.equal(keys, value)].mean() for found in columns.values()]
            print(f"{part} {value}".ljust(24) + "".join(f"{share:13.1%}" for share in shares))
    split = load("european-digits")
    detector = Detector.fit(after.model, after.settings, split.train, split.test)
    assert detector is not None
    print("\nunlike the training images".ljust(25) + "share".rjust(13))
    print("test images".ljust(24) + f"{detector.false_positive_rate:13.1%}")
    print("drawn digits".ljust(24) + f"{noticed(after, detector, redrawn).mean():13.1%}")
    marked = noticed(after, detector, shown)
    print(f"all {len(signs)} other signs".ljust(24) + f"{marked.mean():13.1%}")
    names = np.array([sign.style for sign in signs])
    for name in dict.fromkeys(names.tolist()):
        print(name.ljust(24) + f"{marked[names == name].mean():13.1%}")


def _trained(data: str) -> TrainedModel:
    """Train a model as the studio trains its first one."""
    split = load(data)
    run = TrainingRun(settings_of(train_request("lenet5", data, epochs=4), split), split)
    with TemporaryDirectory() as folder, num_threads(1):
        run.train(RunFolder.create(Path(folder) / "run"))
    run.model.eval()
    return TrainedModel(run.model, run.settings)


if __name__ == "__main__":
    main()
