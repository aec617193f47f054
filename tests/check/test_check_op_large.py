"""The large calls of `check_op` reach every algorithm of the engine, in each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_op
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.cases import Case, cases_of
from tinygrad_cnn.check.large_calls import enlarged, growths, largest, with_axes
from tinygrad_cnn.engine.convolution import (
    depthwise,
    depthwise_few,
    direct,
    im2col,
    input_gradient_rows,
    winograd_few,
    winograd_lines,
    winograd_rows,
)

ALGORITHMS = {depthwise, depthwise_few, direct, im2col, winograd_few, winograd_lines, winograd_rows}
DIRECTIONS = ("convolve", "weight_gradient")


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, str]]:
    """Return where the name, the direction and the dtype of each algorithm that runs are put."""
    seen: set[tuple[str, str, str]] = set()

    def spy(module: Any, name: str) -> Callable[..., Any]:
        original = getattr(module, name)

        def spied(first: Any, *args: Any, **kwargs: Any) -> Any:
            seen.add((module.__name__.rpartition(".")[2], name, str(first.dtype)))
            return original(first, *args, **kwargs)

        return spied

    for module in ALGORITHMS:
        for name in DIRECTIONS:
            monkeypatch.setattr(module, name, spy(module, name))
    rows = spy(input_gradient_rows, "input_gradient")
    monkeypatch.setattr(input_gradient_rows, "input_gradient", rows)
    return seen


@pytest.mark.parametrize(
    "name", ["conv2d", "conv_transpose2d", "conv2d_input_gradient", "conv2d_weight_gradient"]
)
def test_every_algorithm_runs_in_float32_in_each_direction(
    name: str, reached: set[tuple[str, str, str]]
) -> None:
    with tg.engine.options(fast=False):
        check_op(tg.OPS[name], examples=1, order=1)
    in_float32 = {(module, direction) for module, direction, dtype in reached if dtype == "float32"}
    expected = {(m.__name__.rpartition(".")[2], d) for m in ALGORITHMS for d in DIRECTIONS}
    assert in_float32 >= expected | {("input_gradient_rows", "input_gradient")}


@pytest.mark.parametrize("name", sorted(n for n, op in tg.OPS.items() if not cases_of(op)[0].large))
def test_every_other_op_is_called_with_thousands_of_entries(name: str) -> None:
    most = max(run_of(case, seed) for case in cases_of(tg.OPS[name]) for seed in range(4))
    assert most >= 4_000


def run_of(case: Case, seed: int) -> int:
    """Return the entries of a call that is made larger, of one that is drawn."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import seed as seeded

    found: list[int] = [0]

    @seeded(seed)
    @settings(max_examples=6, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(arguments=case.arguments)
    def draw(arguments: Any) -> None:
        call = with_axes(case.call(arguments))
        rng = np.random.default_rng(seed)
        ways = growths(call, rng)
        made, _ = enlarged(call, ways, 5_000, rng)
        assert largest(made) <= 10_000 or not ways
        found.append(largest(made))

    draw()
    return max(found)


# --- how a call is made larger -------------------------------------------------------------------


def call_of(name: str, of: tuple[str, ...], **arguments: Any) -> Call:
    return Call(tg.OPS[name], arguments, of)


@given(seed=st.integers(0, 2**16))
def test_a_batch_of_examples_and_of_labels_grows_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    call = call_of("cross_entropy", ("logits",), logits=rng.normal(size=(3, 5)),
                   target=np.array([0, 4, 2]), reduction="none")  # fmt: skip
    batch = next(way for way in growths(call, rng) if ("target", 0, 0) in way.places)
    assert set(batch.places) == {("logits", 0, 0), ("target", 0, 0)}
    assert batch.result_axis == 0
    made, ways = enlarged(call, [batch], 1000, rng)
    assert 1000 <= made.arguments["logits"].size <= 2000
    piece = ways[0].piece([1, 7])
    np.testing.assert_allclose(
        tg.cross_entropy(*[piece.arguments[k] for k in ("logits", "target")], reduction="none"),
        made(*made.inputs)[[1, 7]],
    )


def test_an_axis_that_is_summed_or_turned_is_no_batch() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3))
    for name, options in (("flip", {"axis": None}), ("softmax", {"axis": -1})):
        axes = {
            w.places[0][2]: w.result_axis
            for w in growths(call_of(name, ("x",), x=x, **options), rng)
        }
        assert axes == ({0: None, 1: None} if name == "flip" else {0: 0, 1: None})


def test_values_stay_where_the_op_is_defined() -> None:
    rng = np.random.default_rng(0)
    call = call_of("log", ("x",), x=np.array([1 / 16, 2.0]))
    made, _ = enlarged(call, growths(call, rng), 5000, rng)
    assert (made.inputs[0] > 0).all()
    assert len(np.unique(made.inputs[0])) > 1000


@pytest.mark.usefixtures("ops_of_its_own")
def test_axes_that_grow_together_stay_within_the_limit() -> None:
    """Three axes of length 20,000 would be 58 TiB."""

    @tg.op(formula="x")
    def cube(x: Any) -> Any:
        if len({*x.shape}) > 1:
            raise ValueError("not a cube")
        return x.copy()

    cube.derivative("x", formula="g")(lambda g: g)
    rng = np.random.default_rng(0)
    call = Call(cube, {"x": np.ones((2, 2, 2))}, ("x",))
    made, _ = enlarged(call, growths(call, rng), 80_000, rng)
    assert 80_000 <= largest(made) <= 160_000
