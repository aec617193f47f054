"""The finding on the cost of recording, from tables made by hand."""

from __future__ import annotations

from typing import Any

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery import overhead
from tinygrad_cnn.experiments.results import Results

FIRST = "perceptron, batch 1"
SAME = "an update gives the same loss as by hand"
RECORDING = "a recorded forward pass takes less than 1.25 times as long as one without recording"
BELOW = "an update takes less than 2 times as long as by hand"


def of(losses: tuple[float, float], ours: dict[str, list[float]], recorded: float = 5) -> Results:
    """Return a table of three seeds.

    Parameters
    ----------
    losses : tuple
        Ours and by hand, after the first update of the first network; otherwise both are 1.
    ours : dict
        Our microseconds for each batch size; by hand it is 10. With the convolutional network, both
        take ten times as long.
    recorded : float
        Microseconds of a recorded forward pass; without recording it is 4.
    """
    values: dict[str, Any] = {}
    for label, variant in overhead.VARIANTS.items():
        factor = 1e-6 if variant["network"] == "perceptron" else 1e-5
        seconds = [factor * each for each in ours[label.rpartition(" ")[2]]]
        values[label] = {
            "loss of tinygrad_cnn": {1: [losses[0] if label == FIRST else 1.0] * 3, 2: [1.0] * 3},
            "loss of by hand": {1: [losses[1] if label == FIRST else 1.0] * 3, 2: [1.0] * 3},
            "bytes of tinygrad_cnn": {0: [2000.0] * 3},
            "bytes of by hand": {0: [1000.0] * 3},
            "seconds of tinygrad_cnn": {1: seconds},
            "seconds of by hand": {1: [10 * factor] * 3},
            "seconds of forward, recorded": {1: [recorded * factor] * 3},
            "seconds of forward, not recorded": {1: [4 * factor] * 3},
        }
    return table("overhead", values)


MIXED = of(
    (1.5, 1.0),
    {"1": [30, 40, 50], "8": [11, 12, 30], "64": [9, 10, 11], "512": [4, 5, 6]},
)
SLOW = of((0.5, 1.0), {"1": [30] * 3, "8": [40] * 3, "64": [15, 20, 20], "512": [30] * 3})
FAST = of((1.0, 1.0), {"1": [5] * 3, "8": [5] * 3, "64": [5] * 3, "512": [10] * 3}, recorded=2)


def test_the_package_is_slower_with_small_batches_only() -> None:
    assert overhead.finding(MIXED) == Finding(
        """\
The losses of 20 updates do not agree with those by hand: the largest relative difference is \
5e-01. Times and peak memory of an update:

| network | by hand, µs | tinygrad_cnn, µs | ratio of times | forward pass, recorded over not \
| ratio of peak memory |
| :-- | --: | --: | --: | --: | --: |
| perceptron, batch 1 | 10 | 40 (30 to 50) | 4 (3 to 5) | 1.25 | 2 |
| perceptron, batch 8 | 10 | 12 (11 to 30) | 1.2 (1.1 to 3) | 1.25 | 2 |
| perceptron, batch 64 | 10 | 10 (9 to 11) | 1 (0.9 to 1.1) | 1.25 | 2 |
| perceptron, batch 512 | 10 | 5 (4 to 6) | 0.5 (0.4 to 0.6) | 1.25 | 2 |
| convolutional, batch 1 | 100 | 400 (300 to 500) | 4 (3 to 5) | 1.25 | 2 |
| convolutional, batch 8 | 100 | 120 (110 to 300) | 1.2 (1.1 to 3) | 1.25 | 2 |
| convolutional, batch 64 | 100 | 100 (90 to 110) | 1 (0.9 to 1.1) | 1.25 | 2 |
| convolutional, batch 512 | 100 | 50 (40 to 60) | 0.5 (0.4 to 0.6) | 1.25 | 2 |

In every seed, the perceptron network's update takes longer than by hand at batch sizes 1, 8, and \
less time at 512. In every seed, the convolutional network's update takes longer than by hand at \
batch sizes 1, 8, and less time at 512.""",
        (
            Verdict(SAME, "does not hold", "difference at most 5e-01"),
            Verdict(BELOW, "depends", "0.5 to 4 times"),
            Verdict(RECORDING, "does not hold", "1.25 to 1.25 times"),
        ),
    )


def test_the_package_is_slower_with_every_batch_size() -> None:
    found = overhead.finding(SLOW)
    assert found.text.endswith("at batch sizes 1, 8, 64, 512, and less time at none.")
    assert found.verdicts[1] == Verdict(BELOW, "does not hold", "2 to 4 times")


def test_the_package_is_faster_but_with_the_largest_batch() -> None:
    found = overhead.finding(FAST)
    assert found.text.startswith("The losses of 20 updates agree with those by hand")
    assert found.text.endswith("at batch sizes none, and less time at 1, 8, 64.")
    assert found.verdicts == (
        Verdict(SAME, "holds", "difference at most 0e+00"),
        Verdict(BELOW, "holds", "0.5 to 1 times"),
        Verdict(RECORDING, "holds", "0.5 to 0.5 times"),
    )


def test_flips_are_seen() -> None:
    # A difference has the same absolute value either way
    assert_flips_are_seen(overhead, (MIXED, SLOW, FAST), ["ours / by_hand - 1.0"])
