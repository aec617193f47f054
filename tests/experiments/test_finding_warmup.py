"""The finding on larger batches, for tables made by hand."""

from __future__ import annotations

import pytest
from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.experiments.finding import Verdict
from tinygrad_cnn.experiments.gallery import warmup
from tinygrad_cnn.experiments.gallery.warmup import FACTORS, KEPT, LINEAR, RULES, WARMED
from tinygrad_cnn.experiments.results import Results
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.train import TrainingDiverged

Pair = tuple[float, float]


def trained(updates: int, *accuracies: Pair) -> dict[str, dict[float, Pair]]:
    """Return the measures of two seeds, one accuracy per epoch."""
    return {
        "updates_per_epoch": {0: (updates, updates)},
        "test_accuracy": dict(enumerate(accuracies)),
    }


def made(**accuracies: tuple[Pair, Pair, Pair]) -> Results:
    """Return a table: for each rule, the accuracies at each factor."""
    base = trained(80, (0.1, 0.1), (0.98, 0.96))
    lower, higher = trained(80, (0.1, 0.1), (0.95, 0.97)), trained(80, (0.1, 0.1), (0.9, 0.92))
    rules = dict(zip(RULES, accuracies.values(), strict=True))
    return table("warmup", {
        "batch 64": base,
        "batch 64, rate 0.025": lower,
        "batch 64, rate 0.1": higher,
        **{
            warmup.label(factor, rule): trained(80 // factor, (0.5, 0.5), rules[rule][k])
            for k, factor in enumerate(FACTORS)
            for rule in RULES
        },
    })  # fmt: skip


# Without warm-up each factor loses more; with it, the batch may double for nothing.
NEEDED = made(
    kept=((0.97, 0.95), (0.96, 0.93), (0.9, 0.88)),
    linear=((0.96, 0.95), (0.9, 0.92), (0.5, 0.3)),
    warmed=((0.98, 0.962), (0.97, 0.94), (0.96, 0.95)),
)
# Scaling gains nothing: the rate that is kept loses least, and the warm-up helps at 8 times only.
USELESS = made(
    kept=((0.98, 0.96), (0.97, 0.96), (0.97, 0.96)),
    linear=((0.97, 0.95), (0.95, 0.94), (0.9, 0.85)),
    warmed=((0.97, 0.94), (0.95, 0.93), (0.92, 0.91)),
)
# The warm-up keeps the accuracy at each factor.
KEEPS = made(
    kept=((0.9, 0.9), (0.8, 0.8), (0.7, 0.7)),
    linear=((0.99, 0.97), (0.985, 0.965), (0.96, 0.99)),
    warmed=((0.98, 0.97), (0.98, 0.95), (0.97, 0.98)),
)


def test_a_warm_up_that_is_needed() -> None:
    finding = warmup.finding(NEEDED)
    _, rows, text = finding.text.split("\n\n")
    assert rows == (
        "| batch | rule | rate | updates of an epoch | final test accuracy | points lost, same "
        "seed |\n"
        "| --: | :-- | --: | --: | --: | --: |\n"
        "| 64 | base | 0.05 | 80 | 97.0 % (96.0 to 98.0) |  |\n"
        "| 128 | rate kept | 0.05 | 40 | 96.0 % (95.0 to 97.0) | 1.0 |\n"
        "| 128 | scaled | 0.1 | 40 | 95.5 % (95.0 to 96.0) | 1.5 (1.0 to 2.0) |\n"
        "| 128 | scaled with warm-up | 0.1 | 40 | 97.1 % (96.2 to 98.0) | -0.1 (-0.2 to 0.0) |\n"
        "| 256 | rate kept | 0.05 | 20 | 94.5 % (93.0 to 96.0) | 2.5 (2.0 to 3.0) |\n"
        "| 256 | scaled | 0.2 | 20 | 91.0 % (90.0 to 92.0) | 6.0 (4.0 to 8.0) |\n"
        "| 256 | scaled with warm-up | 0.2 | 20 | 95.5 % (94.0 to 97.0) | 1.5 (1.0 to 2.0) |\n"
        "| 512 | rate kept | 0.05 | 10 | 89.0 % (88.0 to 90.0) | 8.0 |\n"
        "| 512 | scaled | 0.4 | 10 | 40.0 % (30.0 to 50.0) | 57.0 (48.0 to 66.0) |\n"
        "| 512 | scaled with warm-up | 0.4 | 10 | 95.5 % (95.0 to 96.0) | 1.5 (1.0 to 2.0) |"
    )
    assert text == (
        "With batches of 64, the final accuracy is 96.0 % (95.0 to 97.0) at 0.025 and 91.0 % (90.0 "
        "to 92.0) at 0.1. The rule that loses least: 128: scaled with warm-up; 256: scaled with "
        "warm-up; 512: scaled with warm-up. 8 times the batch with linear scaling and warm-up "
        "loses 1.5 (1.0 to 2.0) points; without warm-up 57.0 (48.0 to 66.0)."
    )
    assert finding.verdicts == (
        Verdict(
            "linear scaling with warm-up keeps the accuracy of small batches",
            "depends",
            "-0.1 (-0.2 to 0.0) points lost at 2 times; 1.5 (1.0 to 2.0) points lost at 4 times; "
            "1.5 (1.0 to 2.0) points lost at 8 times",
        ),
        Verdict(
            "a linearly scaled rate needs a warm-up",
            "holds",
            "+1.6 (+1.2 to +2.0) points at 2 times; +4.5 (+2.0 to +7.0) points at 4 times; +55.5 "
            "(+46.0 to +65.0) points at 8 times",
        ),
    )


def test_scaling_that_gains_nothing() -> None:
    finding = warmup.finding(USELESS)
    assert "least: 128: rate kept; 256: rate kept; 512: rate kept." in finding.text
    assert [verdict.outcome for verdict in finding.verdicts] == ["does not hold", "depends"]


def test_scaling_that_keeps_the_accuracy() -> None:
    finding = warmup.finding(KEEPS)
    assert "least: 128: scaled; 256: scaled; 512: scaled." in finding.text
    assert [verdict.outcome for verdict in finding.verdicts] == ["holds", "does not hold"]


def test_every_flip_of_the_finding_is_seen() -> None:
    assert_flips_are_seen(warmup, [NEEDED, USELESS, KEEPS])


@pytest.mark.parametrize("rule", RULES)
def test_the_rates_of_a_run_are_those_of_its_rule(rule: str, few: str) -> None:
    seen: list[float] = []

    class Watched(SGD):
        def step(self) -> None:
            seen.append(self.lr)
            super().step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warmup, "SGD", Watched)
        variant = warmup.experiment.variants[warmup.label(2, rule)]
        warmup.run(Record(few), seed=0, epochs=4, **variant)
    assert len(seen) == 4 * 4  # 400 images in batches of 128
    first = {KEPT: warmup.RATE, LINEAR: 2 * warmup.RATE, WARMED: warmup.RATE}[rule]
    assert seen[0] == pytest.approx(first)
    peak = max(seen)
    assert seen.index(peak) < 2 * 4 + 1  # at the latest after the warm-up
    assert (peak > first) == (rule == WARMED)
    assert seen[-1] < 0.02 * seen[0]
    assert seen[8:] == sorted(seen[8:], reverse=True)


def test_a_run_that_diverges_counts_as_guessing(few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*args: object, **options: object) -> None:
        raise TrainingDiverged("loss", 1, 1, 9.0)

    monkeypatch.setattr(warmup, "train", train)
    warmup.run(record := Record(few), seed=0, factor=8, rate=9.0, warm_up=0)
    assert record.rows[-1] == (warmup.EPOCHS, "test_accuracy", warmup.GUESSED)
