"""NumPy functions of ops: they return what the ops do, also cut down to the options of a call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.example_calls import calls

import tinygrad_cnn as tg
import tinygrad_cnn.deployment.expressions  # declares them
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.deployment.source import GIVEN, SOURCES, FunctionSource, of_op, resolved

OURS = sorted(
    name
    for name in SOURCES
    if name in tg.OPS and tg.OPS[name].__module__.startswith("tinygrad_cnn.")
)


def function_of(source: FunctionSource) -> Any:
    """Run a source with what it needs, and return the function."""
    scope: dict[str, Any] = {}

    def define(source: FunctionSource) -> None:
        functions, numbers, imports = resolved(source)
        scope.update(numbers)
        for each in functions.values():
            if each.name not in scope:
                define(each)
        exec("\n".join(["import numpy as np", *imports, source.text]), scope)

    define(source)
    return scope[source.name]


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=25)
@given(data=st.data())
def test_the_numpy_function_of_an_op_returns_what_the_op_does(name: str, data: Any) -> None:
    call: Call = data.draw(calls(name))
    op = call.op
    arguments = call.with_defaults
    values = arguments
    for each in op.operands:
        value = arguments[each]
        if op.sequence:
            values[each] = [np.asarray(part) for part in value]
        elif value is not None:
            values[each] = np.asarray(value)
    source = of_op(op)
    by_parameter = dict(zip(source.parameters, values.values(), strict=False))
    known = {n: GIVEN if isinstance(v, np.ndarray) else v for n, v in by_parameter.items()}
    shorter = source.knowing([known])
    kept = {n: v for n, v in by_parameter.items() if n in shorter.parameters}
    came = function_of(shorter)(**kept)
    whole = function_of(source)(*by_parameter.values())
    expected = op(**values)
    assert np.shape(came) == np.shape(expected)
    np.testing.assert_allclose(came, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(came, whole)


def cases(x: Any, mode: str = "a", size: Any = None, more: Any = None) -> Any:
    """Say something.

    And more.
    """
    if mode == "a":
        return x + 1  # one
    if size is None:
        size = 2
    if more is None:
        x = x * 3
        return x * size
    x = x + more
    return x * size


def test_a_decided_if_gives_way_to_its_branch() -> None:
    source = FunctionSource.of(cases)
    assert list(source.knowing([{"mode": "a"}]).parameters) == ["x"]
    assert source.knowing([{"mode": "a"}]).text == (
        'def cases(x):\n    """Say something."""\n    return x + 1  # one'
    )
    rest = source.knowing([{"mode": "b", "size": None, "more": None}])
    assert rest.text.splitlines()[2:] == ["    size = 2", "    x = x * 3", "    return x * size"]
    assert list(rest.parameters) == ["x"]
    assert function_of(rest)(2) == 12


def test_an_if_that_calls_decide_differently_stays() -> None:
    both = FunctionSource.of(cases).knowing([{"mode": "a"}, {"mode": "b"}])
    assert 'if mode == "a":' in both.text
    assert list(both.parameters) == ["x", "mode", "size", "more"]
    assert "if mode" in FunctionSource.of(cases).knowing([{}]).text


def test_a_parameter_that_is_always_given_has_no_default() -> None:
    source = FunctionSource.of(cases).knowing([{"mode": "b", "size": 5, "more": GIVEN}])
    assert source.text.splitlines()[0] == "def cases(x, more, size=None):"


def test_one_operation_is_a_formula() -> None:
    def matmul(a: Any, b: Any = None) -> Any:
        return a @ b

    def cube(x: Any) -> Any:
        return x**3

    def twice(x: Any) -> Any:
        return x + x

    assert FunctionSource.of(matmul).formula() is not None
    assert FunctionSource.of(cube).formula() is None  # has a number
    assert FunctionSource.of(twice).formula() is None  # would compute the operand twice
