"""The finding on activations, from tables made by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

from support.flips import assert_flips_are_seen, table

from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery import activations
from tinygrad_cnn.experiments.results import Results

NEVER = 99
GREATER = "ReLU: “a much greater Δw”"
FASTER = "ReLU: “a much faster back propagation process”"
DEEPER = "more hidden layers: “increased computation time”"


class Side(NamedTuple):
    """The values of an activation in two seeds.

    `epochs` are those to 92 %, `first` and `last` the gradients of the first layer in the first and
    last epoch, `backward` and `update` seconds. With 8 layers, `first` and the seconds are `deep`
    times as large.
    """

    epochs: list[int]
    first: list[float]
    last: list[float]
    backward: list[float]
    update: list[float]
    deep: list[float]


QUICK = Side([1, 1], [8.0] * 2, [2.0] * 2, backward=[0.1] * 2, update=[0.5] * 2, deep=[10.0] * 2)
SLOW = Side([2, 3], [2.0] * 2, [4.0] * 2, backward=[0.2] * 2, update=[1.0] * 2, deep=[2.0] * 2)
MIXED = Side([1, NEVER], [1.0, 4.0], [2.0, 8.0], [0.1, 0.4], [1.0, 1.0], deep=[0.5, 2.0])


def of(sigmoid: Side, tanh: Side, relu: Side) -> Results:
    """Return a table of three epochs, with ten updates per epoch."""
    values: dict[str, dict[str, Any]] = {"times": {"updates_per_epoch": {0: [10.0, 10.0]}}}
    for activation, side in (("sigmoid", sigmoid), ("tanh", tanh), ("relu", relu)):
        for depth in activations.LAYERS:
            variant = f"{activation}, {depth}"
            factors = side.deep if depth == "8 layers" else [1.0, 1.0]
            first, backward, update = (
                [factor * value for factor, value in zip(factors, values_, strict=True)]
                for values_ in (side.first, side.backward, side.update)
            )
            values[variant] = {
                "test_accuracy": {
                    epoch: [0.92 if epoch >= reached else 0.5 for reached in side.epochs]
                    for epoch in range(4)
                },
                "gradient_1": {1: first, 2: [3.0, 5.0], 3: side.last},
            }
            values["times"][f"seconds of {variant}"] = {1: update}
            values["times"][f"seconds of backward of {variant}"] = {1: backward}
    return table("activations", values)


def test_relu_is_faster_but_for_the_backward_pass_with_8_layers() -> None:
    assert activations.finding(of(SLOW, MIXED, QUICK)) == Finding(
        """\
Epochs and seconds to a test accuracy of 92 % (learning rate 0.1, batches of 32, at most 15 epochs):

| hidden layers | sigmoid | tanh | relu |
| :-- | --: | --: | --: |
| 1 layer | 2 (2 to 3); 25 (20 to 30) s | in 1 of 2 seeds | 1; 5 s |
| 2 layers | 2 (2 to 3); 25 (20 to 30) s | in 1 of 2 seeds | 1; 5 s |
| 4 layers | 2 (2 to 3); 25 (20 to 30) s | in 1 of 2 seeds | 1; 5 s |
| 8 layers | 2 (2 to 3); 50 (40 to 60) s | in 1 of 2 seeds | 1; 50 s |

ReLU's values over the sigmoid's: norm of the first layer's gradient, and time:

| hidden layers | gradient, first epoch | gradient, last epoch | backward pass | update |
| :-- | --: | --: | --: | --: |
| 1 layer | 4 | 0.5 | 0.5 | 0.5 |
| 2 layers | 4 | 0.5 | 0.5 | 0.5 |
| 4 layers | 4 | 0.5 | 0.5 | 0.5 |
| 8 layers | 20 | 0.5 | 2.5 | 2.5 |

In every seed, the gradient is larger with ReLU at every depth in the first epoch, and at no depth \
in the last; ReLU needs fewer epochs than the sigmoid at every depth, and than tanh at no depth; \
and its backward pass takes less time than the sigmoid's at 1 layer, 2 layers, 4 layers. An update \
with ReLU takes 10 times as long with 8 layers as with 1 layer.""",
        (
            Verdict(
                GREATER, "holds",
                "first epoch, first layer: 4 times the sigmoid's gradient with 1 layer, 20 times "
                "with 8 layers",
            ),
            Verdict(
                FASTER, "depends",
                "fewer epochs to 92 % than the sigmoid at every depth; a backward pass takes 0.5 "
                "to 2.5 times as long",
            ),
            Verdict(
                DEEPER, "holds", "an update with 8 layers takes 10 times as long as with 1 layer"
            ),
        ),
    )  # fmt: skip


def test_the_sigmoid_is_faster_but_for_the_backward_pass_with_8_layers() -> None:
    found = activations.finding(of(QUICK, SLOW, SLOW))
    assert (
        "| 8 layers | 1; 50 s | 2 (2 to 3); 50 (40 to 60) s | 2 (2 to 3); 50 (40 to 60) s |"
        in found.text
    )
    assert "| 8 layers | 0.05 | 2 | 0.4 | 0.4 |" in found.text
    assert found.text.endswith("""
In every seed, the gradient is larger with ReLU at no depth in the first epoch, and at every depth \
in the last; ReLU needs fewer epochs than the sigmoid at no depth, and than tanh at no depth; and \
its backward pass takes less time than the sigmoid's at 8 layers. An update with ReLU takes 2 \
times as long with 8 layers as with 1 layer.""")
    assert found.verdicts[:2] == (
        Verdict(
            GREATER, "does not hold",
            "first epoch, first layer: 0.25 times the sigmoid's gradient with 1 layer, 0.05 times "
            "with 8 layers",
        ),
        Verdict(
            FASTER, "depends",
            "fewer epochs to 92 % than the sigmoid at no depth; a backward pass takes 0.4 to 2 "
            "times as long",
        ),
    )  # fmt: skip


def test_what_differs_between_seeds_holds_at_no_depth() -> None:
    found = activations.finding(of(SLOW, SLOW, MIXED))
    assert found.text.count("at no depth") == 5
    assert [verdict.outcome for verdict in found.verdicts] == ["does not hold"] * 3
    assert found.verdicts[2].figure == (
        "an update with 8 layers takes 1.2 (0.5 to 2) times as long as with 1 layer"
    )


def test_flips_are_seen() -> None:
    tables = of(SLOW, MIXED, QUICK), of(QUICK, SLOW, SLOW), of(SLOW, SLOW, MIXED)
    assert_flips_are_seen(activations, tables)
