"""The finding of `mnist` on tables made by hand."""

from __future__ import annotations

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.gallery import mnist
from tinygrad_cnn.experiments.gallery.frameworks import OURS, THEIRS
from tinygrad_cnn.experiments.results import Results

Runs = list[list[float]]  # the test accuracy of each seed at each epoch

EARLY: Runs = [[0.99, 0.985, 0.995], [0.97, 0.99, 0.995], [0.99, 0.99, 0.985]]  # epochs 1, 2, 1
LATE: Runs = [[0.9, 0.99, 0.985], [0.9, 0.985, 0.99], [0.9, 0.99, 0.985]]  # epochs 2, 3, 2
NEVER: Runs = [[0.9, 0.99, 0.985], [0.9, 0.985, 0.985], [0.9, 0.99, 0.985]]  # epochs 2, never, 2


def results(ours: Runs, theirs: Runs, seconds: tuple[float, float], load: float = 0.0) -> Results:
    """A table in which the third epoch is busy in all seeds, and the others if `load` is high."""
    measures = {"other load": {1: [load] * 3, 2: [load] * 3, 3: [9.0] * 3}}
    for side, runs, each in ((OURS, ours, seconds[0]), (THEIRS, theirs, seconds[1])):
        measures |= {
            f"test accuracy of {side}": {
                epoch: [run[epoch - 1] for run in runs] for epoch in (1, 2, 3)
            },
            f"seconds of {side}": {1: [each] * 3, 2: [each] * 3, 3: [99.0] * 3},
        }
    return table("mnist", {mnist.BOTH: measures})


FOR_US = results(EARLY, LATE, (2.0, 4.0))
AGAINST_US = results(LATE, EARLY, (8.0, 4.0))
BETWEEN = results(EARLY, LATE, (6.0, 4.0))  # 1.5 times 1/2, 2/3, 1/2
WE_DO_NOT = results(NEVER, LATE, (2.0, 4.0))
THEY_DO_NOT = results(EARLY, NEVER, (2.0, 4.0))
BUSY = results(EARLY, LATE, (2.0, 4.0), load=9.0)
TABLES = [FOR_US, AGAINST_US, BETWEEN, WE_DO_NOT, THEY_DO_NOT, BUSY]


def told(results: Results) -> list[str]:
    """The rows of the table, the last sentence and the verdict."""
    finding = mnist.finding(results)
    (verdict,) = finding.verdicts
    assert verdict.claim == "MNIST to 99 % takes no longer than in PyTorch"
    lines = finding.text.split("\n")
    return [*lines[4:6], lines[-1], f"{verdict.outcome}: {verdict.figure}"]


def test_how_it_is_measured() -> None:
    assert mnist.finding(FOR_US).text.startswith(
        "LeNet-5 with ReLU and max pooling, gradient descent in batches of 64, with a learning "
        "rate that falls from 0.1 to 0 in 20 epochs; images move by up to 1 pixel, at random. "
        "Weights, order and images are the same for both, which take turns epoch by epoch on one "
        "thread: this package compiled, with the extra `fast` if it is installed, PyTorch eager, "
        "in its channels-last layout. Seconds to "
        "99 % are epochs times the median seconds of an epoch.\n\n"
        "|  | epochs to 99 % | seconds of an epoch | seconds to 99 % | final |\n"
    )


def test_we_are_faster() -> None:
    assert told(FOR_US) == [
        "| tinygrad_cnn | 1 (1 to 2) | 2.0 | 2 (2 to 4) | 99.50 % (98.50 to 99.50) |",
        "| torch | 2 (2 to 3) | 4.0 | 8 (8 to 12) | 98.50 % (98.50 to 99.00) |",
        "Our seconds divided by PyTorch's: 0.50 for an epoch, 0.25 (0.25 to 0.33) to 99 %.",
        "holds: ratio 0.25 (0.25 to 0.33)",
    ]


def test_we_are_slower() -> None:
    assert told(AGAINST_US) == [
        "| tinygrad_cnn | 2 (2 to 3) | 8.0 | 16 (16 to 24) | 98.50 % (98.50 to 99.00) |",
        "| torch | 1 (1 to 2) | 4.0 | 4 (4 to 8) | 99.50 % (98.50 to 99.50) |",
        "Our seconds divided by PyTorch's: 2.00 for an epoch, 4.00 (3.00 to 4.00) to 99 %.",
        "does not hold: ratio 4.00 (3.00 to 4.00)",
    ]


def test_we_are_slower_for_an_epoch_alone() -> None:
    assert told(BETWEEN)[2:] == [
        "Our seconds divided by PyTorch's: 1.50 for an epoch, 0.75 (0.75 to 1.00) to 99 %.",
        "holds: ratio 0.75 (0.75 to 1.00)",
    ]


def test_a_seed_in_which_we_do_not_reach_it_counts_against_us() -> None:
    assert told(WE_DO_NOT)[0].startswith("| tinygrad_cnn | 2 (2 to never) | 2.0 | 4 (4 to never) |")
    assert told(WE_DO_NOT)[-1] == "depends: ratio 0.50 (0.50 to never)"


def test_a_seed_in_which_pytorch_does_not_reach_it_is_left_out() -> None:
    assert told(THEY_DO_NOT)[1].startswith("| torch | 2 (2 to never) | 4.0 | 8 (8 to never) |")
    assert told(THEY_DO_NOT)[-1] == "holds: ratio 0.25"


def test_on_a_busy_machine_no_seconds_are_given() -> None:
    assert told(BUSY) == [
        "| tinygrad_cnn | 1 (1 to 2) | not measured | not measured | 99.50 % (98.50 to 99.50) |",
        "| torch | 2 (2 to 3) | not measured | not measured | 98.50 % (98.50 to 99.00) |",
        "Our seconds divided by PyTorch's: not measured for an epoch, not measured to 99 %.",
        "depends: ratio not measured",
    ]


def test_flips_are_seen() -> None:
    assert_flips_are_seen(mnist, TABLES)
