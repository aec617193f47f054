"""The finding on losses, for tables made by hand."""

from __future__ import annotations

from collections.abc import Mapping

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Verdict
from tinygrad_cnn.experiments.gallery import losses
from tinygrad_cnn.experiments.gallery.losses import ENTROPY, RATES, SQUARED
from tinygrad_cnn.experiments.results import Results

Pair = tuple[float, float]
CLAIM = "with the squared error each step carries the factor S(1 − S)"


def results_of(
    best: Mapping[tuple[str, str], float], gradients: Mapping[str, tuple[Pair, Pair, Pair]],
    gain: float = 0.04,
) -> Results:  # fmt: skip
    """Return a table whose accuracy is 0.9 at the best rates, and lower at the others.

    At the best rate cross-entropy gains `gain` more, in seed 1 only.
    """
    return table("losses", {
        f"{loss}, {start}, rate {rate:g}": {
            "test_accuracy": {
                0: (0.1, 0.1),
                1: (0.5, 0.9),
                2: (0.9, 0.9 + gain * (loss == ENTROPY))
                if rate == best[loss, start]
                else (0.8, 0.7 + 0.1 * (loss == ENTROPY)),
            },
            "wrong_factor": {0: (0.01, 0.02), 1: (0.3, 0.3)},
            "wrong_gradient": {0: (0.1, 0.2), 2: (0.4, 0.5)},
            "gradient_by_truth": dict(zip((0.05, 0.55, 0.95), gradients[loss], strict=True)),
        }
        for loss, rates in RATES.items()
        for start in ("Glorot", "N(0, 1)")
        for rate in rates
    })  # fmt: skip


# Over cross-entropy's: 0.1 where S is low, 0.8 or 1 in the middle, 0.5 where it is high.
FACTOR = results_of(
    {(SQUARED, "Glorot"): 2, (ENTROPY, "Glorot"): 1, (SQUARED, "N(0, 1)"): 16,
     (ENTROPY, "N(0, 1)"): 0.1},
    {SQUARED: ((0.2, 0.2), (0.8, 1.0), (0.1, 0.1)), ENTROPY: ((2.0, 2.0), (1.0, 1.0), (0.2, 0.2))},
)  # fmt: skip
# As high where S is high as in the middle, in one of two seeds.
HIGH = results_of(
    {(SQUARED, "Glorot"): 2, (ENTROPY, "Glorot"): 1, (SQUARED, "N(0, 1)"): 4,
     (ENTROPY, "N(0, 1)"): 2},
    {SQUARED: ((0.2, 0.2), (0.8, 1.0), (0.5, 0.8)), ENTROPY: ((2.0, 2.0), (1.0, 1.0), (1.0, 1.0))},
    gain=-0.02,
)  # fmt: skip
# As high where S is low.
LOW = results_of(
    {(SQUARED, "Glorot"): 2, (ENTROPY, "Glorot"): 1, (SQUARED, "N(0, 1)"): 0.5,
     (ENTROPY, "N(0, 1)"): 4},
    {SQUARED: ((0.5, 0.8), (0.8, 1.0), (0.2, 0.2)), ENTROPY: ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))},
)  # fmt: skip


def test_the_factor_is_seen_where_the_gradient_is_smallest_at_both_ends() -> None:
    finding = losses.finding(FACTOR)
    head, rows, gradients, leads = finding.text.split("\n\n")
    assert head.endswith(
        "(squared error: 0.5, 1, 2, 4, 8, 16; cross-entropy: 0.1, 0.25, 0.5, 1, 2, 4). The best "
        "rate is the lowest or highest tried for squared error, N(0, 1); cross-entropy, N(0, 1)."
    )
    assert rows.split("\n")[2:] == [
        "| squared error, Glorot | 2 | 90.0 % | 2 (1 to 2) | 0.015 (0.01 to 0.02) | "
        "0.15 (0.1 to 0.2) | 0.45 (0.4 to 0.5) |",
        "| cross-entropy, Glorot | 1 | 92.0 % (90.0 to 94.0) | 2 (1 to 2) | 0.015 (0.01 to 0.02) | "
        "0.15 (0.1 to 0.2) | 0.45 (0.4 to 0.5) |",
        "| squared error, N(0, 1) | 16 | 90.0 % | 2 (1 to 2) | 0.015 (0.01 to 0.02) | "
        "0.15 (0.1 to 0.2) | 0.45 (0.4 to 0.5) |",
        "| cross-entropy, N(0, 1) | 0.1 | 92.0 % (90.0 to 94.0) | 2 (1 to 2) | "
        "0.015 (0.01 to 0.02) | 0.15 (0.1 to 0.2) | 0.45 (0.4 to 0.5) |",
    ]
    ratios = "0.1 where S = 0.05; 0.9 (0.8 to 1) where S = 0.55; 0.5 where S = 0.95"
    assert gradients.endswith(f"by the probability S of the true class: {ratios}.")
    assert leads == (
        "Cross-entropy's lead in test accuracy, in points: from Glorot +5.0 (+0.0 to +10.0) at the "
        "rate 0.5 for both, +2.0 (+0.0 to +4.0) at the best rates; from N(0, 1) +5.0 (+0.0 to "
        "+10.0) at the rate 0.5 for both, +2.0 (+0.0 to +4.0) at the best rates."
    )
    figure = f"‖∂E/∂z‖ over that of cross-entropy: {ratios}"
    assert finding.verdicts == (Verdict(CLAIM, "holds", figure),)


def test_the_factor_is_not_seen_where_the_gradient_is_as_large_at_one_end() -> None:
    for results in (HIGH, LOW):
        (verdict,) = losses.finding(results).verdicts
        assert (verdict.claim, verdict.outcome) == (CLAIM, "does not hold")
    text = losses.finding(HIGH).text
    assert ". No best rate is the lowest or highest tried.\n" in text
    assert "-1.0 (-2.0 to +0.0) at the best rates; from N(0, 1)" in text


def test_every_flip_of_the_finding_is_seen() -> None:
    assert_flips_are_seen(losses, [FACTOR, HIGH, LOW])
