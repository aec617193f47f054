"""All facts about an op are in its declaration; no other code asks for an op by name."""

from __future__ import annotations

import ast
import codecs
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.core.declaration import Role
from tinygrad_cnn.drawing.heat import HeatKind
from tinygrad_cnn.ops.__main__ import table

ROOT = Path(tg.__file__).parent
NAMES = set(tg.OPS)

NO_OPS = {
    ("bench/figure.py", "log"): "a scale of axes",
    ("check/report.py", "where"): "the heading of a column",
    ("distributed/ranks.py", "max"): "a reduction of MPI",
    ("distributed/ranks.py", "min"): "a reduction of MPI",
    ("distributed/ranks.py", "sum"): "a reduction of MPI",
    ("studio/explain/forward.py", "mean"): "a statistic of batch norm",
    ("studio/explain/terms.py", "mean"): "a statistic of batch norm",
    ("studio/explain/terms.py", "sum"): "a number of the softmax's equation",
    ("studio/explain/weight.py", "mean"): "a statistic of batch norm",
}
"""Strings that equal an op's name and name something else, with the reason."""


def reads_ops(tree: ast.Module) -> bool:
    """Return whether a module has ops in its hands, and so could ask one for its name."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("op", "OPS"))
        or (isinstance(node, ast.Name) and node.id in ("op", "OPS"))
        or (isinstance(node, ast.alias) and node.name in ("op", "Op", "OPS"))
        for node in ast.walk(tree)
    )


def is_list_of_exports(node: ast.stmt) -> bool:
    """Return whether a statement is the list of a module's names, which are not ops there."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def named_ops() -> Iterator[tuple[str, str]]:
    """Yield each file that reads ops and declares none, with the names of ops among its strings.

    Kernels are declared by op, in ``compiler/lowering/``: the extra `fast` may be missing.
    """
    for file in sorted(ROOT.rglob("*.py")):
        path = file.relative_to(ROOT)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        declares = path.parts[0] == "ops" or path.parts[:2] == ("compiler", "lowering")
        if not declares and reads_ops(tree):
            statements = [node for node in tree.body if not is_list_of_exports(node)]
            for node in chain.from_iterable(map(ast.walk, statements)):
                if isinstance(node, ast.Constant) and node.value in NAMES:
                    yield path.as_posix(), str(node.value)


def test_no_file_outside_ops_asks_for_an_op_by_its_name() -> None:
    found = set(named_ops())
    assert found - NO_OPS.keys() == set(), "declare it beside the op (tinygrad_cnn.op)"
    assert NO_OPS.keys() - found == set(), "no longer there"


# --- under other names ---------------------------------------------------------------------------


def turned(text: str) -> str:
    """Return another name of the same length."""
    return codecs.encode(text, "rot13")


class Everything(nn.Module):
    """A model with an op of every role."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.conv = nn.Conv2d(1, 2, 3, rng=rng)
        self.norm = nn.BatchNorm2d(2)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(18, 4, rng=rng)
        self.own = nn.Parameter(np.ones((4, 3), np.float32))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        x = self.pool(tg.relu(self.norm(self.conv(x))))
        x = tg.tanh(self.fc(x.reshape(len(x), -1))) @ self.own + np.float32(1)
        return tg.softmax(tg.sigmoid(x).T, axis=0).T


def shown() -> str:
    """Return every drawing and derivation of a model, as text."""
    model = Everything()
    x = tg.Tensor(np.random.default_rng(1).normal(size=(2, 1, 8, 8)).astype(np.float32))
    texts = []
    heats: tuple[HeatKind | None, ...] = (None, "gradient")
    for loss in (tg.squared_error, tg.cross_entropy):
        E = loss(model(x), np.eye(3, dtype=np.float32)[:2])
        for wrt, _ in model.named_parameters():
            derivation = tg.derive(E, wrt, names=model)
            texts += [str(derivation), derivation.latex()]
        for heat in heats:
            drawing = tg.draw(E, gradients=True, heat=heat)
            texts.append(json.dumps(drawing.graph.to_json()))
    return "\n".join(texts)


def test_drawings_and_derivations_are_the_same_under_other_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = shown()
    assert all(name in expected for name in ("tanh", "squared_error", "batch_norm"))
    for name in NAMES:
        monkeypatch.setattr(tg.OPS[name], "name", turned(name))
    names = "|".join(map(turned, NAMES))
    assert re.sub(rf"\b({names})\b", lambda name: turned(name[0]), shown()) == expected


# --- an op of a stranger -------------------------------------------------------------------------

SOURCE = '''"""Ops of our own."""

import numpy as np

import tinygrad_cnn as tg


@tg.op(formula="x·Φ(x)", latex=r"x\\,\\Phi(x)", equation="99", elementwise=True, role="activation")
def own_gelu(x):
    return x * tg.sigmoid(1.702 * x)


@own_gelu.derivative("x", formula="g·(Φ(x) + x·φ(x))")
def _(g, *, x):
    s = tg.sigmoid(1.702 * x)
    return g * (s + 1.702 * x * s * (1 - s))


@tg.op(formula="min(max(0, x), 6)", elementwise=True, role="activation", dead_at_zero=True)
def own_relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


@own_relu6.residual
def passes(x):
    return (x >= 0) & (x <= 6)


@own_relu6.derivative("x", formula="g·[0 ≤ x ≤ 6]")
def _(g, *, passes):
    return g * passes


@tg.op(formula="x·w + b", role="affine", aliases={"scale": "w", "shift": "b"})
def own_scale(x, scale, shift):
    return x * scale + shift


@own_scale.derivative("x", formula="g·w")
def _(g, *, scale):
    return g * scale


@own_scale.derivative("scale", formula="Σ g·x")
def _(g, *, x):
    return (g * x).sum(axis=0)


@own_scale.derivative("shift", formula="Σ g")
def _(g):
    return g.sum(axis=0)


@own_scale.entry("scale")
def _(y, letters):
    return y[1:], f"x[{', '.join(y)}]"
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with ops of a user, as one file."""
    before = dict(tg.OPS)
    (tmp_path / "ops_of_ours.py").write_text(SOURCE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("ops_of_ours")
    del sys.modules["ops_of_ours"]
    tg.OPS.clear()
    tg.OPS.update(before)


def parameters() -> tuple[tg.Tensor, nn.Parameter, nn.Parameter]:
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.normal(size=(5, 3)), name="x")
    return x, nn.Parameter(rng.normal(size=3)), nn.Parameter(rng.normal(size=3))


def test_an_op_of_one_file_has_its_letters_and_entries_in_derivations(own: Any) -> None:
    x, w, b = parameters()
    derivation = tg.derive(own.own_gelu(own.own_scale(x, w, b)).sum(), w)
    written = derivation.written
    assert written is not None
    assert written.formula.text() == "Σₙ (Φ(z¹ₙᵢ) + z¹ₙᵢ·φ(z¹ₙᵢ)) · xₙᵢ"
    assert [str(factor.top) for factor in derivation.product] == ["E", "α¹", "z¹"]
    assert str(derivation.wrt) == "w¹"
    assert "eq 99" not in str(derivation)  # of the forward; the derivative has none
    assert derivation.agrees()


@pytest.mark.parametrize("role", get_args(Role))
def test_an_op_with_one_operand_may_have_any_role(role: Role, own: Any) -> None:
    @tg.op(formula="2·x", role=role)
    def own_double(x: Any) -> Any:
        return 2 * x

    @own_double.derivative("x", formula="2·g")
    def _(g: Any) -> Any:
        return 2 * g

    x, w, b = parameters()
    derivation = tg.derive(tg.tanh(own_double(own.own_scale(x, w, b))).sum(), w)
    assert derivation.agrees()
    norms = [factor.norm for factor in derivation.product]
    assert norms[2] == pytest.approx(2 * np.sqrt(x.size))


def test_the_norm_of_an_affine_op_of_ones_own_is_that_of_its_jacobian(own: Any) -> None:
    x, w, b = parameters()
    of_w, of_b = (tg.derive(own.own_scale(x, w, b).sum(), wrt) for wrt in (w, b))
    assert of_w.product[-1].norm == pytest.approx(np.linalg.norm(x.numpy()))
    assert of_b.product[-1].norm == pytest.approx(np.sqrt(x.size))


def test_an_op_of_one_file_is_drawn(own: Any) -> None:
    x, w, b = parameters()
    with tg.trace() as trace:
        E = own.own_relu6(own.own_gelu(own.own_scale(x, w, b))).sum()
    calls = {node.op: node for node in tg.draw(E).graph.nodes if node.op}
    assert calls["own_gelu"].formula == "x·Φ(x)"
    assert calls["own_gelu"].equation == "99"
    assert calls["own_gelu"].dead is None
    negative = float(np.mean(own.own_gelu(own.own_scale(x, w, b)).numpy() < 0))
    assert 0 < negative < 1
    assert calls["own_relu6"].dead == pytest.approx(negative)
    traced = [node.dead for node in trace.draw(E).graph.nodes if node.op == "own_relu6"]
    assert traced == pytest.approx([negative])


def test_an_op_of_one_file_has_its_place_in_the_table_of_ops(own: Any) -> None:
    page = table("ops_of_ours")
    assert "## ops_of_ours\n\nOps of our own.\n" in page
    assert "| `own_gelu(x)` | x·Φ(x) (eq 99) | | |\n| | | for x | g·(Φ(x) + x·φ(x)) |\n" in page
    assert "own_gelu" not in table()
