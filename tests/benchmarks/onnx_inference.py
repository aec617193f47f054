"""Files in wheels, run here and by onnxruntime in turns: the table of docs/onnx-files.md.

    TINYGRAD_CNN_ONNX_FILES=SITE-PACKAGES python tests/benchmarks/onnx_inference.py [WORD]

Both compute one input, without recording. Set PYTHONPATH to the repository and to its tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

import numpy as np
from support import onnx_files

import tinygrad_cnn as tg
from tinygrad_cnn.bench.timing import Pace, TimedCall, alternate, ratio


def ours(model: tg.nn.Module, x: np.ndarray) -> Callable[[], None]:
    """Return a call of our module."""

    def call() -> None:
        with tg.no_grad():
            model(x)

    return call


def main(word: str = "") -> None:
    """Print the table."""
    print("| file | input | threads | ours, ms | onnxruntime, ms | ours ÷ onnxruntime |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for wheel in onnx_files.WHEELS:
        path = onnx_files.find(wheel.path)
        if path is None or word not in wheel.name:
            continue
        x = onnx_files.random_input(path, wheel.timed)
        model = tg.onnx.load(path).eval()
        for threads in (1, 2):
            runtime = onnx_files.session(path, threads)
            given = {runtime.get_inputs()[0].name: x}
            with tg.num_threads(threads):
                sides = {
                    "ours": TimedCall(ours(model, x)),
                    "theirs": TimedCall(lambda: runtime.run(None, given)),  # noqa: B023
                }
                rounds = list(alternate(sides, Pace(patience=20)))
            mine, theirs = ([r.seconds[side] for r in rounds] for side in ("ours", "theirs"))
            size = "×".join(map(str, x.shape))
            busy = " (busy)" if any(r.busy for r in rounds) else ""
            print(
                f"| {wheel.name} | {size} | {threads} | {1e3 * median(mine):.1f} "
                f"| {1e3 * median(theirs):.1f} | {ratio(mine, theirs):.1f}{busy} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:2])
