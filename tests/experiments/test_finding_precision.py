"""The finding on dtypes, from tables made by hand."""

from __future__ import annotations

from typing import Any

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery import precision
from tinygrad_cnn.experiments.results import Results

SINGLE = [0.1, 0.2, 0.4]  # losses of three seeds: 0.1, 0.2 and 0.3 from each other
CLOSE = [0.11, 0.22, 0.43]  # 0.01, 0.02 and 0.03 from SINGLE
FAR = [2.1, 4.2, 6.4]  # 2, 4 and 6 from SINGLE
LESS = "float64 changes the test loss less than another seed does"
SLOWER = "float64 takes more time"


def of(perceptron: list[float], lenet: list[float], seconds: list[float]) -> Results:
    """Return a table with these losses in float64, and the seconds of an update of the perceptron.

    An update of LeNet-5 takes twice as long. In float32 any update takes 1 s.
    """
    twice = [2 * each for each in seconds]
    runs = {
        "perceptron, float32": (SINGLE, 0.90, [1.0] * 3),
        "perceptron, float64": (perceptron, 0.95, seconds),
        "LeNet-5, float32": (SINGLE, 0.90, [1.0] * 3),
        "LeNet-5, float64": (lenet, 0.95, twice),
    }
    values: dict[str, dict[str, Any]] = {
        variant: {
            "test_loss": {0: [9.0, 8.0, 7.0], 1: losses},
            "test_accuracy": {0: [0.1] * 3, 1: [accuracy] * 3},
        }
        for variant, (losses, accuracy, _) in runs.items()
    }
    values["times"] = {f"seconds of {variant}": {1: run[2]} for variant, run in runs.items()}
    return table("precision", values)


def text(network: str, apart: str, cost: str) -> str:
    return (
        f"{network}: the final test loss differs by {apart} between the dtypes with the same seed, "
        "and by 0.2 (0.1 to 0.3) between two seeds. The test accuracy is 90.00 % in float32 and "
        f"95.00 % in float64. An update takes {cost} times as long in float64."
    )


def test_float32_suffices_and_is_faster() -> None:
    close = "0.02 (0.01 to 0.03)"
    assert precision.finding(of(CLOSE, CLOSE, [2.0] * 3)) == Finding(
        text("Perceptron", close, "2") + "\n\n" + text("LeNet-5", close, "4"),
        (
            Verdict(LESS, "holds", "perceptron: 0.1 times as much; LeNet-5: 0.1 times as much"),
            Verdict(SLOWER, "holds", "perceptron: 2 times as long; LeNet-5: 4 times as long"),
        ),
    )


def test_float64_is_needed_and_faster() -> None:
    far = "4 (2 to 6)"
    assert precision.finding(of(FAR, FAR, [0.2] * 3)) == Finding(
        text("Perceptron", far, "0.2") + "\n\n" + text("LeNet-5", far, "0.4"),
        (
            Verdict(
                LESS,
                "does not hold",
                "perceptron: 2e+01 times as much; LeNet-5: 2e+01 times as much",
            ),
            Verdict(
                SLOWER, "does not hold", "perceptron: 0.2 times as long; LeNet-5: 0.4 times as long"
            ),
        ),
    )


def test_it_depends_on_the_network() -> None:
    assert precision.finding(of(FAR, CLOSE, [0.9, 2.0, 2.0])).verdicts == (
        Verdict(LESS, "depends", "perceptron: 2e+01 times as much; LeNet-5: 0.1 times as much"),
        Verdict(
            SLOWER, "depends",
            "perceptron: 2 (0.9 to 2) times as long; LeNet-5: 4 (1.8 to 4) times as long",
        ),
    )  # fmt: skip


def test_flips_are_seen() -> None:
    tables = of(CLOSE, CLOSE, [2.0] * 3), of(FAR, CLOSE, [0.9, 2.0, 2.0])
    assert_flips_are_seen(precision, tables)
