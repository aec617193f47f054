"""The finding of `frameworks` on tables made by hand."""

from __future__ import annotations

import numpy as np
from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.gallery import frameworks
from tinygrad_cnn.experiments.gallery.frameworks import KINKED, SMOOTH
from tinygrad_cnn.experiments.results import Results

EPS = float(np.finfo("f4").eps)
Side = dict[str, list[float]]

ALIKE: Side = {"tinygrad_cnn": [2 + 6 * EPS, 2.0, 2.0], "torch": [2.0] * 3}  # three roundings
APART: Side = {"tinygrad_cnn": [2.5, 2.0, 2.0], "torch": [2.0] * 3}  # at update 1
EQUAL: Side = {"tinygrad_cnn": [0.90, 0.94], "torch": [0.91, 0.94]}  # 1 point; 4 between seeds
UNEQUAL: Side = {"tinygrad_cnn": [0.90, 0.94], "torch": [0.90, 0.89]}  # 5 points
FASTER: Side = {"tinygrad_cnn": [1.0, 3.0], "torch": [2.0, 6.0]}
SLOWER: Side = {"tinygrad_cnn": [2.0, 6.0], "torch": [1.0, 3.0]}
MIXED: Side = {"tinygrad_cnn": [2.0, 3.0], "torch": [1.0, 6.0]}


def network(losses: Side, accuracies: Side, seconds: Side, load: float = 0.0) -> dict:
    """A network's measures. The first seed parts at the third update, if `losses` ever part."""
    late = {"tinygrad_cnn": losses["tinygrad_cnn"][::-1], "torch": losses["torch"]}
    measures = {"other load": {1: [load] * 2, 2: [9.0] * 2}}
    for side in frameworks.SIDES:
        measures |= {
            f"first loss of {side}": {
                update: [late[side][update - 1], losses[side][update - 1]] for update in (1, 2, 3)
            },
            f"test accuracy of {side}": {1: [0.1, 0.2], 2: accuracies[side]},
            f"seconds of {side}": {1: seconds[side], 2: [9.0, 9.0]},
        }
    return measures


def results(smooth: dict, kinked: dict) -> Results:
    return table("frameworks", {SMOOTH: smooth, KINKED: kinked})


FOR_US = results(network(ALIKE, EQUAL, FASTER), network(APART, EQUAL, FASTER))
AGAINST_US = results(network(APART, UNEQUAL, SLOWER), network(APART, UNEQUAL, SLOWER))
BETWEEN = results(network(ALIKE, UNEQUAL, MIXED), network(ALIKE, EQUAL, FASTER))
BUSY = results(network(ALIKE, EQUAL, FASTER, load=9.0), network(ALIKE, EQUAL, FASTER, load=9.0))


TABLES = [FOR_US, AGAINST_US, BETWEEN, BUSY]


def verdicts(results: Results) -> list[str]:
    return [f"{each.outcome}: {each.figure}" for each in frameworks.finding(results).verdicts]


def test_one_network_parts_and_we_are_faster() -> None:
    text = frameworks.finding(FOR_US).text
    assert text.startswith(
        "LeNet-5 with the same weights, the same batches in the same order and plain gradient "
        "descent, one thread. The frameworks take turns epoch by epoch; PyTorch has its "
        "channels-last layout. With tanh and averages the losses of the first 100 updates differ "
        "by at most 3 float32 roundings. With ReLU and maxima the losses first differ by more than "
        "1e-05 of the loss at update 2 (1 to 3). After 5 epochs:\n\n"
    )
    row = "92.00 % (90.00 to 94.00) | 92.50 % (91.00 to 94.00) | 2 (1 to 3) | 4 (2 to 6) | 0.50 |"
    assert f"| tanh and averages | {row}" in text
    assert f"| ReLU and maxima | {row}" in text
    assert verdicts(FOR_US) == [
        "depends: up to 4e-07 of the loss with tanh and averages; "
        "up to 2e-01 of the loss with ReLU and maxima",
        "holds: up to 1.00 points apart with tanh and averages, our runs 4.00; "
        "up to 1.00 points apart with ReLU and maxima, our runs 4.00",
        "holds: ratio 0.50 with tanh and averages; ratio 0.50 with ReLU and maxima",
    ]


def test_both_networks_part_and_we_are_slower() -> None:
    text = frameworks.finding(AGAINST_US).text
    parted = "the losses first differ by more than 1e-05 of the loss at update 2 (1 to 3)."
    assert text.count(parted) == 2
    assert text.count("| 4 (2 to 6) | 2 (1 to 3) | 2.00 |") == 2
    assert verdicts(AGAINST_US) == [
        "does not hold: up to 2e-01 of the loss with tanh and averages; "
        "up to 2e-01 of the loss with ReLU and maxima",
        "does not hold: up to 5.00 points apart with tanh and averages, our runs 4.00; "
        "up to 5.00 points apart with ReLU and maxima, our runs 4.00",
        "does not hold: ratio 2.00 with tanh and averages; ratio 2.00 with ReLU and maxima",
    ]


def test_one_network_or_one_seed_decides_otherwise() -> None:
    assert verdicts(BETWEEN) == [
        "holds: up to 4e-07 of the loss with tanh and averages; "
        "up to 4e-07 of the loss with ReLU and maxima",
        "depends: up to 5.00 points apart with tanh and averages, our runs 4.00; "
        "up to 1.00 points apart with ReLU and maxima, our runs 4.00",
        "depends: ratio 1.25 (0.50 to 2.00) with tanh and averages; ratio 0.50 with ReLU and "
        "maxima",
    ]


def test_on_a_busy_machine_no_seconds_are_given() -> None:
    text = frameworks.finding(BUSY).text
    assert text.count("| not measured | not measured | not measured |") == 2
    assert verdicts(BUSY)[-1].startswith("depends: ratio not measured with")


def test_flips_are_seen() -> None:
    absolute = "ours - theirs → theirs - ours"  # each time within np.abs
    assert_flips_are_seen(frameworks, TABLES, equivalent=[absolute])
