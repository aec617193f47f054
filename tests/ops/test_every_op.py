"""What holds for every op: all that its declaration promises, and what a reference computes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import settings
from support.references import REFERENCES

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_op
from tinygrad_cnn.check.cases import unchecked
from tinygrad_cnn.check.ops import EXAMPLES

OURS = [name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")]
BY_ADJOINTS = {
    "avgpool_gradient",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "conv_transpose2d",
    "gather_windows",
    "scatter_windows",
}
"""The ops whose forward is checked as the adjoint of another's: in the tests of their family."""


def test_every_derivative_of_every_op_has_a_case() -> None:
    package = Path(tg.__path__[0])
    for file in package.rglob("*.py"):
        if "\n@op(" in file.read_text(encoding="utf-8"):
            inside = file.relative_to(package.parent).with_suffix("")
            importlib.import_module(".".join(inside.parts))
    registered = {name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")}
    assert registered == set(OURS)
    assert [name for name, _ in unchecked() if name in registered] == []


def test_every_op_has_a_derivative_and_a_reference() -> None:
    assert [name for name in OURS if not tg.OPS[name].derivatives] == []
    assert set(REFERENCES) | BY_ADJOINTS == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_op_does_what_its_declaration_promises(name: str) -> None:
    profile = settings()
    report = check_op(
        tg.OPS[name],
        reference=REFERENCES.get(name),
        examples=max(EXAMPLES, profile.max_examples),
        seed=0 if profile.derandomize else None,
    )
    assert report.worst < (1e-12 if tg.OPS[name].complex_step else 1e-9)
