"""The finding on the temperature, for tables made by hand."""

from __future__ import annotations

import math

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Verdict
from tinygrad_cnn.experiments.gallery import temperature
from tinygrad_cnn.experiments.gallery.temperature import TEMPERATURES, VARIANTS
from tinygrad_cnn.experiments.results import Results

CLAIM = "a smaller temperature favors the greater z"
SECOND = VARIANTS[1]  # T = 0.25

Values = dict[float, tuple[float, float]]
CERTAIN: Values = {t: (0.1 * (k + 1), 0.3 * (k + 1)) for k, t in enumerate(TEMPERATURES)}
SAME: Values = dict.fromkeys(TEMPERATURES, (0.9, 0.8))


def results_of(entropy: Values, accuracy: Values, best: str) -> Results:
    """Return a table in which gradients are 2/T, three times that at T = 0.1, half at T = 10.

    The variant `best` ends with the highest accuracy; networks trained at T = 4 have diverged. The
    calibration error is lowest at T = 2.
    """
    factors = {0.1: 3.0, 10.0: 0.5}
    rows = {
        variant: {
            "logit_gradient": {0: (2 / t * factors.get(t, 1.0), 2 / t)},
            "test_accuracy": {0: (0.1, 0.99), 10: (0.9, 0.7) if variant == best else (0.5, 0.7)},
            "entropy": {10: (0.3, 0.5)},
            "ece": {10: (0.02, 0.04)},
        }
        for variant, t in zip(VARIANTS, TEMPERATURES, strict=True)
    }
    rows["T = 4"]["test_accuracy"][10] = (math.nan, math.nan)
    rows["T = 1"] |= {
        "entropy_at": entropy,
        "test_accuracy_at": accuracy,
        "ece_at": {t: (0.01, 0.03) if t == 2.0 else (0.05, 0.07) for t in TEMPERATURES},
    }
    return table("temperature", rows)


FAVORS = results_of(CERTAIN, SAME, best=SECOND)
# In one seed the entropy at T = 10 is below that at T = 4, and one accuracy differs.
NOT = results_of(CERTAIN | {10.0: (0.5, 2.1)}, SAME | {0.5: (0.9, 0.85)}, best=VARIANTS[-1])


def test_a_smaller_temperature_that_favors_the_greater_z() -> None:
    finding = temperature.finding(FAVORS)
    _, rows, words = finding.text.split("\n\n")
    assert rows.split("\n")[2:4] == [
        "| 0.1 | 2.00 (1.00 to 3.00) | 60.0 % (50.0 to 70.0) | 0.4 (0.3 to 0.5) | "
        "3.0 % (2.0 to 4.0) | 85.0 % (80.0 to 90.0) | 0.2 (0.1 to 0.3) | 6.0 % (5.0 to 7.0) |",
        "| 0.25 | 1.00 | 80.0 % (70.0 to 90.0) | 0.4 (0.3 to 0.5) | "
        "3.0 % (2.0 to 4.0) | 85.0 % (80.0 to 90.0) | 0.4 (0.2 to 0.6) | 6.0 % (5.0 to 7.0) |",
    ]
    assert words == (
        "Evaluated at T, the accuracy is the same at every T; the calibration error is smallest at "
        "T = 2. Before training, ‖∂E/∂z‖·T is 0.50 to 3.00 times its value at T = 1; if the "
        "gradient were proportional to 1/T, all would be 1. Trained with the same learning rate "
        "(0.1), the median accuracy is highest at T = 0.25."
    )
    figure = "entropy 0.2 (0.1 to 0.3) at T = 0.1, 1.4 (0.7 to 2.1) at T = 10"
    assert finding.verdicts == (Verdict(CLAIM, "holds", figure),)


def test_a_smaller_temperature_that_does_not_favor_the_greater_z() -> None:
    finding = temperature.finding(NOT)
    assert "accuracy is not the same at every T, by up to 5.0 points;" in finding.text
    assert finding.text.endswith("the median accuracy is highest at T = 10.")
    figure = "entropy 0.2 (0.1 to 0.3) at T = 0.1, 1.3 (0.5 to 2.1) at T = 10"
    assert finding.verdicts == (Verdict(CLAIM, "does not hold", figure),)


def test_every_flip_of_the_finding_is_seen() -> None:
    assert_flips_are_seen(temperature, [FAVORS, NOT])
