"""The finding on batch sizes, for tables made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.experiment import TIMES
from tinygrad_cnn.experiments.finding import Verdict
from tinygrad_cnn.experiments.gallery import batches

RISES = "every epoch of gradient descent increases the accuracy"
PLATEAUS = "the accuracy of stochastic gradient descent plateaus"

Pair = tuple[float, float]
Measures = dict[str, dict[float, Pair]]


def trained(
    updates: int, accuracy: Sequence[float], test: Sequence[Pair], within: float = 0.95
) -> Measures:
    """Return the measures of two seeds with the same training accuracy, by epoch.

    Within the first epoch the training accuracy is `within`, which must not count.
    """
    by_epoch: dict[float, Pair] = {k: (value, value) for k, value in enumerate(accuracy)}
    return {
        "updates_per_epoch": {0: (updates, updates)},
        "accuracy": by_epoch | {0.5: (within, within)},
        "test_accuracy": dict(enumerate(test)),
    }


def times_of(seconds: dict[str, float], busy: bool = False) -> Measures:
    return {f"seconds of {name}": {1: (value, value)} for name, value in seconds.items()} | {
        "other load": {1: (float(busy), float(busy))}
    }


LOW, GOOD = (0.5, 0.5), (0.92, 0.94)

# Gradient descent always rises at 0.3; at its best rate, 1, it rises, stays and falls. It takes 3
# updates of 2 s at 0.3 and 1 at 1; batches of 64 take an epoch of 10 updates of 0.1 s.
DEPENDS = table("batches", {
    "batch all, rate 0.3": trained(1, (0.1, 0.2, 0.3, 0.4), [LOW, LOW, LOW, GOOD]),
    "batch all, rate 1": trained(1, (0.1, 0.4, 0.4, 0.3), [LOW, GOOD, GOOD, GOOD]),
    "batch all, rate 3": trained(1, (0.1, 0.2, 0.3, 0.4), [LOW, LOW, LOW, LOW]),
    "batch 64, rate 0.3": trained(10, (0.1, 0.4, 0.5, 0.6), [LOW, (0.5, 0.9), GOOD, GOOD]),
    "batch 64, rate 1": trained(10, (0.1, 0.4, 0.5, 0.6), [LOW, GOOD, GOOD, (0.9, 0.9)]),
    "batch 1, rate 0.01": trained(100, (0.1, 0.4, 0.5, 0.504), [LOW, LOW, LOW, LOW]),
    "batch 1, rate 0.03": trained(100, (0.1, 0.4, 0.5, 0.51), [LOW, LOW, LOW, LOW]),
    "batch 1, rate 0.3": trained(100, (0.1, 0.6, 0.5, 0.45), [LOW, LOW, LOW, (0.6, 0.7)]),
    "batch 1, rate 0.3, decaying": trained(100, (0.1, 0.4, 0.5, 0.6), [LOW, LOW, LOW, (0.7, 0.9)]),
    TIMES: times_of({"all": 2.0, "64": 0.1, "1": 0.05}),
})  # fmt: skip
# Gradient descent is the fastest, and rises in every epoch; single examples go on rising, and decay
# helps in one seed only.
HOLDS = table("batches", {
    "batch all, rate 0.3": trained(1, (0.1, 0.2, 0.3, 0.4), [LOW, LOW, GOOD, GOOD]),
    "batch all, rate 1": trained(1, (0.1, 0.2, 0.3, 0.4), [LOW, LOW, GOOD, (0.99, 0.99)]),
    "batch all, rate 3": trained(1, (0.1, 0.2, 0.3, 0.4), [LOW, LOW, LOW, GOOD]),
    "batch 64, rate 0.3": trained(10, (0.1, 0.4, 0.5, 0.6), [LOW, LOW, GOOD, GOOD]),
    "batch 64, rate 1": trained(10, (0.1, 0.4, 0.5, 0.6), [LOW, LOW, LOW, GOOD]),
    "batch 1, rate 0.3": trained(100, (0.1, 0.4, 0.5, 0.6), [LOW, LOW, LOW, (0.6, 0.7)]),
    "batch 1, rate 0.3, decaying": trained(100, (0.1, 0.4, 0.5, 0.6), [LOW, LOW, LOW, (0.5, 0.9)]),
    TIMES: times_of({"all": 2.0, "64": 1.0, "1": 0.05}),
})  # fmt: skip
# Gradient descent falls and stays; single examples end as high in the last two epochs as in the two
# before; the machine was busy.
BUSY = table("batches", {
    "batch all, rate 0.3": trained(1, (0.1, 0.3, 0.2, 0.2), [LOW, LOW, LOW, GOOD]),
    "batch 1, rate 0.3": trained(
        100, (0.1, 0.2, 0.3, 0.4, 0.4, 0.6, 0.45, 0.55), [LOW, LOW, LOW, LOW]
    ),
    "batch 1, rate 0.3, decaying": trained(100, (0.1, 0.4, 0.5, 0.6), [LOW, LOW, LOW, (0.4, 0.4)]),
    TIMES: times_of({"all": 2.0, "1": 0.05}, busy=True),
})  # fmt: skip


def test_claims_that_depend_on_the_rate() -> None:
    finding = batches.finding(DEPENDS)
    head, rows, _, words = finding.text.split("\n\n")
    assert " The best rate is the lowest or highest tried for 64 (1), 1 (0.3). " in head
    assert rows.split("\n")[2:] == [
        "| all | 0.3 | 3 | 6 | 93.0 % (92.0 to 94.0) | 100.0 %, 0.0 %, 0.0 % | +10.0 |",
        "| all | 1 | 1 | 2 | 93.0 % (92.0 to 94.0) | 33.3 %, 33.3 %, 33.3 % | -10.0 |",
        "| 64 | 0.3 | 1.5 (1 to 2) | 1.5 (1 to 2) | 93.0 % (92.0 to 94.0) | "
        "100.0 %, 0.0 %, 0.0 % | +10.0 |",
        "| 64 | 1 | 1 | 1 | 90.0 % | 100.0 %, 0.0 %, 0.0 % | +10.0 |",
        "| 1 | 0.3 | never | never | 65.0 % (60.0 to 70.0) | 33.3 %, 0.0 %, 66.6 % | -5.0 |",
        "| 1 | 0.3, decaying | never (3 to never) | never (15 to never) | 80.0 % (70.0 to 90.0) | "
        "100.0 %, 0.0 %, 0.0 % | +10.0 |",
    ]
    assert words == (
        "At rate 0.3, batches of 64 are the fastest; gradient descent takes 4.5 (3 to 6) times as "
        "long. Each at its best rate, batches of 64 are the fastest; gradient descent takes 2 "
        "times as long. With single examples, decay changes the final test accuracy by +15.0 "
        "(+10.0 to +20.0) points: the constant rate 0.3 limits it."
    )
    assert finding.verdicts == (
        Verdict(
            RISES,
            "depends",
            "at rate 0.3, 100.0 % of the epochs do, 0.0 % fall; "
            "at rate 1, 33.3 % of the epochs do, 33.3 % fall",
        ),
        Verdict(
            PLATEAUS,
            "depends",
            "late gain, a plateau below 0.5 points: "
            "+0.4 at rate 0.01; +1.0 at rate 0.03; -5.0 at rate 0.3",
        ),
    )


def test_gradient_descent_that_is_the_fastest_and_always_rises() -> None:
    finding = batches.finding(HOLDS)
    assert " lowest or highest tried for 64 (0.3), 1 (0.3). " in finding.text
    assert finding.text.endswith(
        "At rate 0.3, gradient descent is the fastest. Each at its best rate, gradient descent is "
        "the fastest. With single examples, decay changes the final test accuracy by +5.0 (-10.0 "
        "to +20.0) points: the constant rate 0.3 is not shown to limit it."
    )
    rises, plateaus = finding.verdicts
    assert (rises.outcome, plateaus.outcome) == ("holds", "does not hold")
    assert rises.figure.endswith("; at rate 1, 100.0 % of the epochs do, 0.0 % fall")


def test_seconds_of_a_busy_machine_are_not_measured() -> None:
    finding = batches.finding(BUSY)
    assert "| all | 0.3 | 3 | not measured | " in finding.text
    assert (
        "At rate 0.3, no batch size reaches it in seconds that were measured. Each at its best"
        in finding.text
    )
    rises, plateaus = finding.verdicts
    assert (rises.outcome, plateaus.outcome) == ("does not hold", "holds")
    assert rises.figure == "at rate 0.3, 33.3 % of the epochs do, 33.3 % fall"
    assert plateaus.figure.endswith(": +0.0 at rate 0.3")


def test_every_flip_of_the_finding_is_seen() -> None:
    assert_flips_are_seen(batches, [DEPENDS, HOLDS, BUSY])
