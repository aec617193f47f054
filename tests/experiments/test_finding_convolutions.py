"""The finding on convolution algorithms, from tables made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery import convolutions
from tinygrad_cnn.experiments.results import Results

LOOPS = "nested loops, the definition taken literally, are the slowest algorithm"
ENGINE = "the engine is the fastest algorithm"
FASTER = "another is faster in every seed at: "
IN_LOOPS = ("usual sizes", "kernel 1")


def of(**over: Mapping[str, list[float]]) -> Results:
    """Return a table of three seeds, with loops at the usual sizes and with kernels of 1×1.

    Parameters
    ----------
    **over : mapping
        By method, the seconds at some sizes as multiples of the engine's; at the others, loops take
        100 times as long, im2col 4 times and FFT 8 times. The engine takes 2 µs, with 64 channels
        4096. The best rate of products is such that 1 channel takes 1 µs, and 64 take 4096.
    """
    values: dict[str, Any] = {}
    for label in convolutions.SIZES:
        engine = 4096e-6 if label == "channels 64" else 2e-6
        values[label] = {
            "seconds of engine": {1: [engine] * 3},
            "bytes of engine": {0: [1000.0] * 3},
        }
        usual = {"nested_loops": 100.0, "im2col": 4.0, "FFT": 8.0}
        for name, factor in usual.items():
            method = name.replace("_", " ")
            if method == "nested loops" and label not in IN_LOOPS:
                continue
            factors = over.get(name, {}).get(label, [factor] * 3)
            values[label][f"seconds of {method}"] = {1: [engine * each for each in factors]}
            values[label][f"bytes of {method}"] = {0: [5000.0] * 3}
    rates = [16.2e9, 8.1e9, 8.1e9]
    return table("convolutions", {**values, "times": {"multiply_adds_per_second": {0: rates}}})


FAST = of()
MIXED = of(
    im2col={"kernel 21": [0.5, 0.6, 0.9], "image 8": [0.5, 2, 2], "kernel 1": [9, 9, 90]},
    FFT={"kernel 21": [0.4] * 3, "kernel 15": [0.5, 0.5, 1], "channels 1": [1, 2, 2]},
    nested_loops={"kernel 1": [10, 50, 60]},
)
UNSURE = of(
    im2col={label: [0.5, 0.5, 2.0] for label in convolutions.SIZES},
    FFT={label: [3.0] * 3 for label in convolutions.SIZES},
    nested_loops={"usual sizes": [1, 2, 9], "kernel 1": [1, 2, 9]},
)


def test_the_engine_is_fastest_at_some_sizes() -> None:
    at = "kernel 21 (im2col), kernel 21 (FFT)"
    assert convolutions.finding(MIXED) == Finding(
        f"""\
2 images on one thread; unless stated, 32×32 pixels, kernels of 3×3 and 8 channels. At these sizes \
the times, divided by the engine's, are: nested loops 100.0, im2col 4.0, FFT 8.0. Another \
algorithm is faster than the engine in every seed at: {at}; in some seeds at: image 8 (im2col), \
kernel 15 (FFT). The multiply-adds divided by the machine's rate of matrix products, 16.2·10⁹ per \
second, predict 0.5 of the engine's time with channels 1, and 1 with channels 64. At kernel 21, \
im2col's peak memory is 5 times the engine's.""",
        (
            Verdict(LOOPS, "depends", "50 to 100 times the engine's time"),
            Verdict(
                ENGINE,
                "depends",
                f"in every seed at 12 of 16 sizes; {FASTER}{at}",
            ),
        ),
    )


def test_the_engine_is_fastest_at_every_size() -> None:
    found = convolutions.finding(FAST)
    assert "in every seed at: none; in some seeds at: none." in found.text
    assert found.verdicts == (
        Verdict(LOOPS, "holds", "100 to 100 times the engine's time"),
        Verdict(
            ENGINE,
            "holds",
            f"in every seed at 16 of 16 sizes; {FASTER}none",
        ),
    )


def test_the_engine_is_slower_than_im2col_in_two_of_three_seeds() -> None:
    found = convolutions.finding(UNSURE)
    assert "nested loops 2.0 (1.0 to 9.0), im2col 0.5 (0.5 to 2.0), FFT 3.0." in found.text
    assert "in every seed at: none; in some seeds at: image 8 (im2col), " in found.text
    assert found.verdicts == (
        Verdict(LOOPS, "does not hold", "2 to 2 times the engine's time"),
        Verdict(
            ENGINE,
            "does not hold",
            f"in every seed at 0 of 16 sizes; {FASTER}none",
        ),
    )


def test_flips_are_seen() -> None:
    assert_flips_are_seen(convolutions, (MIXED, FAST, UNSURE))
