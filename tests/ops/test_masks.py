"""A branch that an op did not take has the derivative 0, whatever flows in: a mask selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.drawing import at_least

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays, shapes

Array = np.ndarray[Any, Any]
Function = Callable[[tg.Tensor], Any]
INF = np.inf


def held(x: tg.Tensor) -> Array:
    return x.numpy() > 0


def rows(x: tg.Tensor, *others: float) -> tg.Tensor:
    """Return a row for each value: it, and constants beside it."""
    constants = [np.full(x.shape, other) for other in others]
    return tg.stack([x, *constants], axis=1)


def windows(x: tg.Tensor, *others: float) -> tg.Tensor:
    """Return `rows` as images: (n, 1 + others) → (1, 1, n, 1 + others)."""
    return rows(x, *others).reshape(1, 1, x.shape[0], 1 + len(others))


BRANCHES: dict[str, dict[str, Function]] = {
    "relu": {"": tg.relu, "½ at 0": lambda x: tg.relu(x, 0.5)},
    "leaky_relu": {"slope 0": lambda x: tg.leaky_relu(x, 0.0)},
    "elu": {"slope 0": lambda x: tg.elu(x, 0.0)},
    "hardtanh": {
        "low": lambda x: tg.hardtanh(x, 0.0, 9.0),
        "high": lambda x: -tg.hardtanh(-x, -9.0, 0.0),
    },
    "abs": {"at 0": lambda x: tg.abs(x * held(x))},
    "clip": {
        "low": lambda x: tg.clip(x, 0.0, None),
        "high": lambda x: -tg.clip(-x, None, 0.0),
        "both": lambda x: tg.clip(x, 0.0, 9.0),
    },
    "maximum": {"a": lambda x: tg.maximum(x, 0.0), "b": lambda x: tg.maximum(0.0, x)},
    "minimum": {"a": lambda x: -tg.minimum(-x, 0.0), "b": lambda x: -tg.minimum(0.0, -x)},
    "where": {
        "a": lambda x: tg.where(held(x), x, 0.0),
        "b": lambda x: tg.where(tg.Tensor(~held(x)), 0.0, x),
        "arrays": lambda x: tg.where(held(x), x, np.zeros(x.shape)),
    },
    "dropout": {"": lambda x: tg.dropout(x, held(x), 0.5)},
    "max": {"": lambda x: tg.max(rows(x, 0.0, -5.0), axis=1)},
    "min": {"": lambda x: -tg.min(rows(-x, 5.0, 0.0), axis=1)},
    "maxpool": {
        "apart": lambda x: tg.maxpool(windows(x, 0.0), (1, 2)),
        "overlapping": lambda x: tg.maxpool(windows(x, 0.0, -5.0), (1, 2), 1)[..., 0],
        "between": lambda x: tg.maxpool(windows(x, 0.0, -5.0), (1, 2), (1, 3)),
        "of relu": lambda x: tg.maxpool(windows(tg.relu(x), 0.0), (1, 2)),
    },
    "mod": {"0 mod b": lambda x: tg.mod(100.0 * held(x), tg.sigmoid(x) + 1.0)},
    "pow": {"0ᵇ": lambda x: tg.pow(2.0 * held(x), tg.sigmoid(x) + 1.0)},
}
"""By op: functions that are 0 where x is not above 0, for there another branch is taken."""
BORDERS: dict[str, Function] = {
    "√y": tg.sqrt,
    "ln y": tg.log,
    "1/y": lambda y: 1.0 / y,
    "y^½": lambda y: y**0.5,
    "y⁻¹": lambda y: y**-1,
    "y^1½": lambda y: y**1.5,
    "ln √y": lambda y: tg.log(tg.sqrt(y)),
    "√Σy": lambda y: tg.sqrt(y.reshape(-1, 1).sum(axis=1)),
}
"""Functions whose first or second derivative is infinite at 0."""
FUNCTIONS = [(op, kind) for op, kinds in BRANCHES.items() for kind in kinds]


def derivatives(f: Function, x: Array) -> list[Array]:
    """Return the first and second derivatives of ``f(x).sum()``, each summed before the next."""
    leaf = tg.Tensor(x, requires_grad=True)
    with np.errstate(all="ignore"):
        (first,) = tg.grad(f(leaf).sum(), leaf, create_graph=True)
        (second,) = tg.grad(first.sum(), leaf) if first.requires_grad else [np.zeros_like(x)]
    return [first.numpy(), second]


def test_every_op_with_a_branch_is_here() -> None:
    ours = [op for op in tg.OPS.values() if op.__module__.startswith("tinygrad_cnn.ops.")]
    branching = {op.name for op in ours if op.residuals}
    assert set(BRANCHES) == branching | {"where", "dropout"}  # whose branch is an argument


@pytest.mark.parametrize(("op", "kind"), FUNCTIONS)
@example(x=np.array([-2.0, -0.5, 0.25, 4.0]), dtype="f4", border="√y")
@at_least(25)
@given(
    x=arrays(shapes(min_dims=1, max_dims=1), nonzero=True),
    dtype=st.sampled_from(["f4", "f8"]),
    border=st.sampled_from(list(BORDERS)),
)
def test_a_branch_not_taken_gets_0_of_an_infinite_gradient(
    op: str, kind: str, x: Array, dtype: str, border: str
) -> None:
    """Where it is taken, the derivatives are those of these places alone."""
    f, h = BRANCHES[op][kind], BORDERS[border]
    x = x.astype(dtype)
    taken = x > 0
    found = derivatives(lambda x: h(f(x)), x)
    alone = derivatives(lambda x: h(f(x)), x[taken]) if taken.any() else [x[taken]] * 2
    for derivative, expected in zip(found, alone, strict=True):
        np.testing.assert_array_equal(derivative[~taken], 0.0)
        np.testing.assert_array_equal(derivative[taken], expected)


# name, function, first and second derivatives at (−2, −½, ¼, 4): PyTorch 2.13, float64
OF_PYTORCH: list[tuple[str, Function, list[float], list[float]]] = [
    ("√relu", lambda x: tg.sqrt(tg.relu(x)), [0, 0, 1, 0.25], [0, 0, -2, -0.03125]),
    ("1/relu", lambda x: 1 / tg.relu(x), [0, 0, -16, -0.0625], [0, 0, 128, 0.03125]),
    ("ln max", lambda x: tg.log(tg.maximum(x, 0.0)), [0, 0, 4, 0.25], [0, 0, -16, -0.0625]),
    ("√clip", lambda x: tg.sqrt(tg.clip(x, 0.0, 1.0)), [0, 0, 1, 0], [0, 0, -2, 0]),
    (
        "√maxpool",
        lambda x: tg.sqrt(tg.maxpool(tg.relu(x).reshape(1, 1, 2, 2), (1, 2))),
        [0, 0, 0, 0.25],
        [0, 0, 0, -0.03125],
    ),
    ("√where", lambda x: tg.sqrt(tg.where(x > 0, x, 0.0)), [0, 0, 1, 0.25], [0, 0, -2, -0.03125]),
    ("√relu¹", lambda x: tg.sqrt(tg.relu(x) ** 1.0), [0, 0, 1, 0.25], [0, 0, -2, -0.03125]),
]


@pytest.mark.parametrize(
    ("f", "first", "second"),
    [case[1:] for case in OF_PYTORCH],
    ids=[case[0] for case in OF_PYTORCH],
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_derivatives_behind_a_mask_are_pytorchs(
    f: Function, first: list[float], second: list[float], dtype: str
) -> None:
    found = derivatives(f, np.array([-2.0, -0.5, 0.25, 4.0], dtype))
    np.testing.assert_array_equal(found, [first, second])


@pytest.mark.parametrize("f", [f for _, f, *_ in OF_PYTORCH], ids=[n for n, *_ in OF_PYTORCH])
def test_a_sweep_behind_a_mask_makes_no_nan_on_the_way(f: Function) -> None:
    leaf = tg.Tensor([-2.0, -0.5, 0.25, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"), tg.detect_nan():
        f(leaf).sum().backward()
    assert np.isfinite(leaf.grad).all()


@pytest.mark.parametrize("shape", [(8, 4, 6, 6), (64, 16, 24, 24)])
@pytest.mark.parametrize(
    "options", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}], ids=str
)
def test_a_network_behind_a_square_root_has_finite_gradients(
    shape: tuple[int, ...], options: dict[str, int]
) -> None:
    """Also where the engine uses threads, and memory with the images last."""
    rng = np.random.default_rng(0)
    w = tg.Tensor(rng.standard_normal((4, shape[1], 3, 3)).astype("f4"), requires_grad=True)
    maps = tg.relu(tg.conv2d(rng.standard_normal(shape).astype("f4"), w, padding=1) - 5.0)
    with np.errstate(divide="ignore"):
        tg.sqrt(tg.maxpool(maps, **options)).sum().backward()
    assert w.grad is not None
    assert np.isfinite(w.grad).all()
    assert w.grad.any()


# --- logits −∞ -----------------------------------------------------------------------------------

OF_LOGITS: dict[str, Function] = {
    "√softmax": lambda x: tg.sqrt(tg.softmax(x)),
    "softmax^¾": lambda x: tg.softmax(x) ** 0.75,
    "logsumexp": tg.logsumexp,
    "√logsumexp": lambda x: tg.sqrt(tg.logsumexp(x)),
    "log_softmax": lambda x: tg.where(x > -INF, tg.log_softmax(x), 0.0) * tg.relu(x),
    "cross_entropy": lambda x: tg.cross_entropy(x[None], (x.numpy() > -INF)[None] / 3),
}


@pytest.mark.parametrize("f", OF_LOGITS.values(), ids=OF_LOGITS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_logit_of_minus_infinity_changes_no_derivative(f: Function, dtype: str) -> None:
    rest = np.array([0.25, 1.0, -0.5], dtype)
    expected = derivatives(f, rest)
    found = derivatives(f, np.array([-INF, *rest], dtype))
    for derivative, of_rest in zip(found, expected, strict=True):
        np.testing.assert_allclose(derivative, [0.0, *of_rest], rtol=1e-6, atol=1e-6)


def test_logsumexp_of_no_finite_logit_is_constant() -> None:
    found = derivatives(lambda x: tg.logsumexp(x, axis=1), np.array([[-INF, -INF], [0.0, -INF]]))
    np.testing.assert_array_equal(found, [[[0, 0], [1, 0]], [[0, 0], [0, 0]]])
