"""The table of layers: counts against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn

RNG = np.random.default_rng(0)


def test_lenet_has_the_parameters_and_multiply_adds_worked_out_by_hand() -> None:
    summary = nn.LeNet5(rng=RNG).summary((1, 28, 28))
    counted = {row.name: (row.parameters, row.multiply_adds) for row in summary.rows}
    assert {name: counts for name, counts in counted.items() if counts[0]} == {
        "conv1": (6 * 1 * 5 * 5 + 6, 28 * 28 * 6 * 25),
        "conv2": (16 * 6 * 5 * 5 + 16, 10 * 10 * 16 * 6 * 25),
        "fc1": (400 * 120 + 120, 400 * 120),
        "fc2": (120 * 84 + 84, 120 * 84),
        "fc3": (84 * 10 + 10, 84 * 10),
    }
    assert summary.parameters == 61_706
    assert summary.multiply_adds == 416_520


def test_rows_tell_name_kind_and_output_shape_in_order() -> None:
    rows = nn.LeNet5(rng=RNG, pooling="average").summary().rows
    assert [(row.name, row.kind, row.output_shape) for row in rows[:4]] == [
        ("conv1", "Conv2d", (6, 28, 28)),
        ("activation1", "ReLU", (6, 28, 28)),
        ("pool1", "AvgPool2d", (6, 14, 14)),
        ("conv2", "Conv2d", (16, 10, 10)),
    ]


def test_the_table_is_aligned() -> None:
    lines = str(nn.LeNet5(rng=RNG).summary()).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert lines[-1].split() == ["total", "61,706", "416,520"]
    assert len({len(line) for line in lines}) == 1
    assert repr(nn.LeNet5(rng=RNG).summary()) == "\n".join(lines)


def test_without_an_input_shape_only_parameters_are_counted() -> None:
    summary = nn.Sequential(nn.Linear(3, 2, rng=RNG)).summary()
    assert summary.parameters == 8
    assert summary.multiply_adds is None
    assert "multiply-adds" not in str(summary)


class Odd(nn.Module):
    """A layer called twice, one shared, one never called, and a parameter and an op of its own."""

    def __init__(self) -> None:
        self.layer = nn.Linear(4, 4, rng=RNG)
        self.shared = nn.Linear(4, 4, rng=RNG)
        self.shared.weight = self.layer.weight
        self.unused = nn.Linear(4, 9, rng=RNG)
        self.matrix = nn.Parameter(np.ones((4, 2), np.float32))

    def forward(self, x: Any) -> Any:
        return self.layer(self.layer(x)) @ self.matrix


def test_repeated_shared_unused_and_own_are_counted_right() -> None:
    rows = {row.name: row for row in Odd().summary((4,)).rows}
    assert rows["layer"].multiply_adds == 2 * 16
    assert rows["shared"].parameters == 4  # its bias: the weight is counted at its first owner
    assert (rows["unused"].parameters, rows["unused"].output_shape) == (45, None)
    assert (rows[""].parameters, rows[""].multiply_adds) == (8, 8)
    assert rows[""].output_shape == (2,)


def test_it_changes_nothing_and_draws_nothing() -> None:
    model = nn.VGG(3, 1, 8, (2,), 5, True, 0.5, rng=np.random.default_rng(0))
    model.features[1].training = False
    dropout = model.classifier[3]
    before, bits = model.state_dict(), dropout.rng.bit_generator.state
    assert model.summary().multiply_adds == 64 * 9 * 2 + 64 * 18 * 2 + 32 * 5 + 5 * 3
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert dropout.rng.bit_generator.state == bits
    assert [module.training for module in model.features][:3] == [True, False, True]
    with pytest.raises(ValueError, match="expects 1"):
        model.summary((2, 8, 8))
    assert model.training
    y = model(np.ones((2, 1, 8, 8), np.float32))
    assert y.node.scope == "classifier.4"


def test_a_double_model_can_be_summarized() -> None:
    with tg.default_dtype("float64"):
        model = nn.Linear(3, 2, rng=RNG)
    assert model.summary((3,)).multiply_adds == 6
