"""``tinygrad-cnn derive``: the chain rule on the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Call = Callable[..., Result]


def test_the_page_of_a_new_model(call: Call, few_file: str) -> None:
    result = call("derive", "mlp", "--wrt", "fc.0.weight", "--data", few_file)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("∂E/∂w¹ for w¹ = fc.0.weight of shape (30, 784), along 1 path")
    assert "∂E/∂w¹ₖⱼ = Σᵢ (S(z²)ᵢ − tᵢ) · w²ᵢₖ · α¹ₖ·(1 − α¹ₖ) · xⱼ" in result.output
    assert "equals the fc.0.weight.grad that backward() computes: yes" in result.output


def test_the_page_of_a_trained_model(call: Call, run: Path) -> None:
    result = call("derive", run, "--wrt", "conv1.weight", "--depth", "1", "--images", "2")
    assert result.exit_code == 0, result.output
    assert "∂conv1/∂conv1.weight" in result.output


@pytest.mark.parametrize(
    ("form", "begins"), [("latex", r"\begin{aligned}"), ("markdown", "**∂E/∂b²** for $b^{2}$")]
)
def test_other_formats(call: Call, few_file: str, form: str, begins: str) -> None:
    result = call("derive", "mlp", "--wrt", "fc.1.bias", "--data", few_file, "--format", form)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet"], "model is 'lenet', expected"),
        (["lenet5"], "--wrt is missing, expected a parameter of lenet5: conv1.weight, conv1.bias,"),
        (["lenet5", "--wrt", "fc4.weight"], "did you mean 'fc"),
        (
            ["lenet5", "--wrt", "fc1.bias", "--format", "pdf"],
            "'--format': 'pdf', expected one of text, latex, markdown",
        ),
        (
            ["lenet5", "--wrt", "fc1.bias", "--depth", "-1"],
            "'--depth': '-1', expected an integer >= 0",
        ),
    ],
)
def test_bad_input_is_one_line(
    call: Call, few_file: str, arguments: list[str], message: str
) -> None:
    result = call("derive", *arguments, "--data", few_file)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
