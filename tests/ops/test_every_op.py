"""What holds for every op: all that its declaration promises, and what a reference computes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from support.machine import repeats
from support.mistakes import MISTAKES
from support.references import REFERENCES

import tinygrad_cnn as tg
from tinygrad_cnn import ops
from tinygrad_cnn.check import check_op
from tinygrad_cnn.check.cases import missing_calls
from tinygrad_cnn.check.ops import EXAMPLES
from tinygrad_cnn.engine import chunks

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


def test_all_files_with_ops_are_imported() -> None:
    package = Path(tg.__path__[0])
    for file in package.rglob("*.py"):
        if "\n@op(" in file.read_text(encoding="utf-8"):
            inside = file.relative_to(package.parent).with_suffix("")
            importlib.import_module(".".join(inside.parts))
    assert {
        name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")
    } == set(OURS)


def missing_parts(op: tg.Op[..., Any]) -> Iterator[str]:
    """Yield the missing parts of an op of the package."""
    name, file = op.name, f"{op.__module__.replace('.', '/')}.py"
    if not op.formula or not op.latex:
        yield f"{file}: @op(formula=..., latex=...) of {name}"
    if ">>> " not in (inspect.getdoc(op) or ""):
        yield f"{file}: a docstring of {name} with an example, which runs as a doctest"
    if name not in ops.__all__:
        yield f"tinygrad_cnn/ops/__init__.py: {name!r} in __all__"
    if not op.derivatives:
        yield f'{file}: @{name}.derivative("{op.parameters[0]}", formula=..., latex=...)'
    for of, rule in op.derivatives.items():
        if not rule.formula or not rule.latex:
            yield f'{file}: @{name}.derivative("{of}", formula=..., latex=...)'
    if op.derivatives and (calls := missing_calls(op)):
        yield f"{file}: {calls}"
    if name not in {*REFERENCES, *BY_ADJOINTS}:
        yield f"tests/support/references.py: {name!r}: the forward, in NumPy or SciPy"
    if name not in {mistake.checked for mistake in MISTAKES}:
        yield f"tests/support/mistakes.py: a Mistake in {name}, which its check must find"


@pytest.mark.parametrize("name", OURS)
def test_declaration_is_complete(name: str) -> None:
    missing = list(missing_parts(tg.OPS[name]))
    assert not missing, "\n".join([f"{name} is not complete; add", *missing])


@pytest.mark.usefixtures("ops_of_its_own")
def test_missing_parts_are_named() -> None:
    @tg.op(formula="", elementwise=True)
    def half(x: Any) -> Any:
        return x / 2

    assert len(list(missing_parts(half))) == 6
    half.derivative("x", formula="g / 2")(lambda g: g / 2)
    texts = "\n".join(missing_parts(half))
    assert texts.count("\n") == 5
    for text in ("@op(formula=..., latex=...) of half", "an example", "'half' in __all__",
                 '@half.derivative("x", formula=..., latex=...)', "references.py: 'half'",
                 "mistakes.py: a Mistake in half"):  # fmt: skip
        assert text in texts
    pick = tg.op(formula="x[k]")(lambda x, k: x[k])
    pick.derivative("x", formula="g")(lambda g: g)
    assert "def _(draw, s):" in "\n".join(missing_parts(pick))


@pytest.mark.parametrize("name", OURS)
def test_op_does_what_its_declaration_promises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SIZE", 1 << 12)  # so that large calls compute in chunks
    profile = settings()
    report = check_op(
        tg.OPS[name],
        reference=REFERENCES.get(name),
        examples=max(repeats(EXAMPLES // 2, EXAMPLES), profile.max_examples),
        seed=0 if profile.derandomize else None,
    )
    assert report.worst < (1e-12 if tg.OPS[name].complex_step else 1e-9)
