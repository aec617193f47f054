"""The finding on learning rates, for tables made by hand."""

from __future__ import annotations

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Verdict
from tinygrad_cnn.experiments.gallery import rates

NAN = float("nan")


def trained(*accuracies: tuple[float, float], loss: float = 0.2, stopped: float = 0.0):
    """Return the measures of two seeds with ten updates per epoch, one accuracy per epoch."""
    last = len(accuracies) - 1
    return {
        "updates_per_epoch": {0: (10, 10)},
        "test_accuracy": dict(enumerate(accuracies)),
        "test_loss": {last: (0.2, loss)},
        "diverged": {last: (0, stopped)},
    }


def found(rate: float, updates: int) -> dict[str, dict[float, tuple[float, float]]]:
    return {"found_rate": {0: (rate, rate)}, "finder_updates": {0: (updates, updates)}}


# 0.1 is better than 0.01 in both seeds, seed 1 diverges at 1 and stops at 3.
FEWER = table("rates", {
    "rate 0.01": trained((0.1, 0.1), (0.5, 0.5), (0.6, 0.8)),
    "rate 0.1": trained((0.1, 0.1), (0.94, 0.9), (0.95, 0.95)),
    "rate 1": trained((0.1, 0.1), (0.5, 0.5), (0.7, 0.2), loss=3.0),
    "rate 3": trained((0.1, 0.1), (0.2, 0.9), loss=0.2, stopped=2.0),
    "rate finder": trained((0.1, 0.1), (0.94, 0.94), (0.93, 0.94)) | found(0.05, 8),
})  # fmt: skip
# The ranges of the two rates overlap, nothing diverges, and the finder ends higher.
ALIKE = table("rates", {
    "rate 0.01": trained((0.1, 0.1), (0.94, 0.94), (0.7, 0.97)),
    "rate 0.1": trained((0.1, 0.1), (0.9, 0.9), (0.6, 0.8)),
    "rate finder": trained((0.1, 0.1), (0.9, 0.9), (0.9, 0.99)) | found(0.02, 3),
})  # fmt: skip
# Every rate diverges.
LOST = table("rates", {
    "rate 1": trained((0.1, 0.1), (0.3, 0.4), loss=3.0),
    "rate 3": trained((0.1, 0.1), (0.2, 0.2), loss=3.0),
    "rate finder": trained((0.1, 0.1), (0.4, 0.5)) | found(0.02, 3),
})  # fmt: skip


def test_a_rate_that_lowers_the_accuracy() -> None:
    finding = rates.finding(FEWER)
    assert finding.text.split("\n\n")[1:] == [
        "| rate | final test accuracy | updates to 93 % | diverged |\n"
        "| :-- | --: | --: | --: |\n"
        "| 0.01 | 70.0 % (60.0 to 80.0) | never | 0 of 2 |\n"
        "| 0.1 | 95.0 % | 15 (10 to 20) | 0 of 2 |\n"
        "| 1 | 45.0 % (20.0 to 70.0) | never | 1 of 2 |\n"
        "| 3 | 15.0 % (10.0 to 20.0) | never | 1 of 2 |\n"
        "| finder | 93.5 % (93.0 to 94.0) | 18 | 0 of 2 |",
        "A run has diverged if its loss is NaN or ends above that of guessing, ln 10 = 2.303; runs "
        "diverge at 1, 3. The finder finds 0.05 in 8 updates, included above. Its final test "
        "accuracy differs by -1.5 (-2.0 to -1.0) points from that of the best fixed rate, 0.1.",
    ]
    assert finding.verdicts == (
        Verdict(
            "the learning rate can lower the overall accuracy",
            "holds",
            "70.0 % (60.0 to 80.0) at rate 0.01, 95.0 % at rate 0.1",
        ),
    )


def test_a_rate_that_is_not_shown_to_lower_the_accuracy() -> None:
    finding = rates.finding(ALIKE)
    assert "diverge at no rate. The finder finds 0.02 in 3 updates" in finding.text
    assert "by +11.0 (+2.0 to +20.0) points from that of the best fixed rate, 0.01." in finding.text
    assert finding.verdicts == (
        Verdict(
            "the learning rate can lower the overall accuracy",
            "does not hold",
            "70.0 % (60.0 to 80.0) at rate 0.1, 83.5 % (70.0 to 97.0) at rate 0.01",
        ),
    )


def test_every_flip_of_the_finding_is_seen() -> None:
    assert_flips_are_seen(rates, [FEWER, ALIKE, LOST])
