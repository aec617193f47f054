"""Files in wheels, run here and by onnxruntime in turns: the table of docs/onnx-files.md.

    TINYGRAD_CNN_ONNX_FILES=SITE-PACKAGES python tests/benchmarks/onnx_inference.py [THREADS]

Both compute one input, without recording. The table has the fastest of 15 runs of each: with one
thread, the default, in processor time, which other programs on the machine lengthen little; with
more threads in time on the clock. Set PYTHONPATH to the repository and to its tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter, process_time, sleep
from typing import Any

from support import onnx_files

import tinygrad_cnn as tg

RUNS = 15


def fastest(calls: list[Callable[[], Any]], clock: Callable[[], float]) -> list[float]:
    """Return the milliseconds of the fastest run of each call; they take turns."""
    found = [float("inf")] * len(calls)
    for _ in range(RUNS):
        for i, call in enumerate(calls):
            call()  # not timed: brings its arrays into the cache
            start = clock()
            call()
            found[i] = min(found[i], 1e3 * (clock() - start))
            sleep(0.03)  # until no thread of it spins
    return found


def main(threads: int = 1) -> None:
    """Print the table."""
    clock = process_time if threads == 1 else perf_counter
    print("| file | input | threads | ours, ms | onnxruntime, ms | ours ÷ onnxruntime |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for wheel in onnx_files.WHEELS:
        path = onnx_files.find(wheel.path)
        if path is None:
            continue
        x = onnx_files.random_input(path, wheel.timed)
        model, runtime = tg.onnx.load(path), onnx_files.session(path, threads)
        given = {runtime.get_inputs()[0].name: x}
        with tg.num_threads(threads), tg.no_grad():
            calls = [lambda: model(x), lambda: runtime.run(None, given)]  # noqa: B023
            mine, theirs = fastest(calls, clock)
        size = "×".join(map(str, x.shape))
        print(
            f"| {wheel.name} | {size} | {threads} | {mine:.1f} | {theirs:.1f} "
            f"| {mine / theirs:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
