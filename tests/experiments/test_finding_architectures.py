"""The finding on architectures, from tables made by hand."""

from __future__ import annotations

from typing import Any

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Verdict
from tinygrad_cnn.experiments.gallery import architectures
from tinygrad_cnn.experiments.results import Results

ACCURATE = "more convolutions: higher accuracy (“more complex problems”)"
SLOWER = "more convolutions: “increased computation time”"
LOW, HIGH = [0.1, 0.2], [0.3, 0.4]  # the accuracies of two seeds
WIDE, WIDER = [0.1, 0.4], [0.3, 0.5]  # they overlap
ACCURACIES = {
    "channels 2": WIDE, "channels 16": WIDER,
    "kernel 1": HIGH, "kernel 7": LOW,
    "usual": WIDER, "pooling stride": WIDE,
    "width 16": LOW, "width 256": LOW,
}  # fmt: skip
SMALL = "depth 0", "channels 2", "kernel 1", "width 16"
LARGE = "depth 3", "channels 16", "kernel 7", "pooling stride", "width 256"


def of(before: list[float], after: list[float], milliseconds: dict[float, list[float]]) -> Results:
    """Return a table with these accuracies of the depths 0 and 3.

    The small architectures have 10 multiply-adds, the large ones 1000, the others 100.
    `milliseconds` are those of an update, in two seeds, by the number of multiply-adds.
    """
    values: dict[str, dict[str, Any]] = {"times": {}}
    accuracies = {**ACCURACIES, "depth 0": before, "depth 3": after}
    for name in architectures.VARIANTS:
        work = 10.0 if name in SMALL else 1000.0 if name in LARGE else 100.0
        values[name] = {
            "multiply_adds": {0: [work, work]},
            "parameters": {0: [7.0, 7.0]},
            "test_accuracy": {0: [0.0, 0.0], 6: accuracies.get(name, HIGH)},
        }
        taken = [each / 1e3 for each in milliseconds[work]]
        values["times"][f"seconds of {name}"] = {1: taken}
    return table("architectures", values)


RISING = {10.0: [1.0, 1.0], 100.0: [2.0, 2.0], 1000.0: [4.0, 4.0]}
FALLING = {10.0: [4.0, 4.0], 100.0: [2.0, 2.0], 1000.0: [1.0, 1.0]}
MIXED = {10.0: [1.0, 1.0], 100.0: [1.0, 1.0], 1000.0: [0.5, 4.0]}


def test_more_convolutions_are_more_accurate_and_slower() -> None:
    found = architectures.finding(of(LOW, HIGH, RISING))
    assert (
        found.text
        == """\
The base architecture (a ring) has depth 2, channels 8, kernel 5, pooling maximum, width 64; the \
others differ in one of these.

| architecture | multiply-adds | parameters | ms of an update | accuracy |
| :-- | --: | --: | --: | --: |
| depth 0 | 10 | 7 | 1 | 15.0 % (10.0 to 20.0) |
| depth 1 | 100 | 7 | 2 | 35.0 % (30.0 to 40.0) |
| usual | 100 | 7 | 2 | 40.0 % (30.0 to 50.0) |
| depth 3 | 1,000 | 7 | 4 | 35.0 % (30.0 to 40.0) |
| channels 2 | 10 | 7 | 1 | 25.0 % (10.0 to 40.0) |
| channels 4 | 100 | 7 | 2 | 35.0 % (30.0 to 40.0) |
| channels 16 | 1,000 | 7 | 4 | 40.0 % (30.0 to 50.0) |
| kernel 1 | 10 | 7 | 1 | 35.0 % (30.0 to 40.0) |
| kernel 3 | 100 | 7 | 2 | 35.0 % (30.0 to 40.0) |
| kernel 7 | 1,000 | 7 | 4 | 15.0 % (10.0 to 20.0) |
| pooling average | 100 | 7 | 2 | 35.0 % (30.0 to 40.0) |
| pooling stride | 1,000 | 7 | 4 | 25.0 % (10.0 to 40.0) |
| width 16 | 10 | 7 | 1 | 15.0 % (10.0 to 20.0) |
| width 256 | 1,000 | 7 | 4 | 15.0 % (10.0 to 20.0) |

| change | accuracy, points | ranges overlap | times the time |
| :-- | --: | --: | --: |
| depth 3 instead of 0 | +20.0 | no | 4 |
| channels 16 instead of 2 | +15.0 (+10.0 to +20.0) | yes | 4 |
| kernel 7 instead of 1 | -20.0 | no | 4 |
| pooling stride instead of maximum | -15.0 (-20.0 to -10.0) | yes | 2 |
| width 256 instead of 16 | +0.0 | yes | 4 |

Over all architectures, ten times the multiply-adds take 2 times the time (correlation of the \
logarithms 1.00)."""
    )
    assert found.verdicts == (
        Verdict(ACCURATE, "holds", "depth 3 instead of 0: +20.0 points of accuracy"),
        Verdict(SLOWER, "holds", "depth 3 instead of 0: 4 times the time of an update"),
    )


def test_more_convolutions_are_less_accurate_and_faster() -> None:
    found = architectures.finding(of(HIGH, LOW, FALLING))
    assert "| depth 3 instead of 0 | -20.0 | no | 0.25 |" in found.text
    assert found.text.endswith(
        "ten times the multiply-adds take 0.5 times the time (correlation of the logarithms -1.00)."
    )
    assert found.verdicts == (
        Verdict(ACCURATE, "does not hold", "depth 3 instead of 0: -20.0 points of accuracy"),
        Verdict(SLOWER, "does not hold", "depth 3 instead of 0: 0.25 times the time of an update"),
    )


def test_ranges_that_overlap_show_nothing() -> None:
    accurate, slower = architectures.finding(of(WIDE, WIDER, MIXED)).verdicts
    assert accurate.outcome == "does not hold"
    assert accurate.figure == "depth 3 instead of 0: +15.0 (+10.0 to +20.0) points of accuracy"
    assert slower.outcome == "does not hold"
    assert slower.figure == "depth 3 instead of 0: 2.2 (0.5 to 4) times the time of an update"


def test_flips_are_seen() -> None:
    tables = of(LOW, HIGH, RISING), of(HIGH, LOW, FALLING), of(WIDE, WIDER, MIXED)
    assert_flips_are_seen(architectures, tables)
