"""Memory is handed out again only when nothing sees it any more."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    rule,
)
from support.convolving import Strides, strides
from support.drawing import at_least

import tinygrad_cnn as tg
from tinygrad_cnn.engine import buffer_pool
from tinygrad_cnn.engine.scratch import scratch

Array = np.ndarray[Any, Any]
LARGE = buffer_pool.LARGE
SIZES = [LARGE // 4, LARGE // 4 + 1, LARGE, 3 * LARGE]

# All that keeps memory alive in a way of its own.
SIGHTS = {
    "itself": lambda a: a,
    "a view": lambda a: a[1:],
    "a view of a view": lambda a: a[::2][1:].reshape(-1, 1),
    "another dtype": lambda a: a.view(np.uint8),
    "a buffer": lambda a: memoryview(a),
    "an array of a buffer": lambda a: np.asarray(memoryview(a)),
    "strided": lambda a: np.lib.stride_tricks.as_strided(a, (5,), (8,)),
    "an iterator": lambda a: a.flat,
    "a Tensor": lambda a: tg.Tensor(a, requires_grad=True) * 1.0,
    "a base": lambda a: a.base,
    "DLPack": lambda a: np.from_dlpack(a),
}


class Memory(RuleBasedStateMachine):
    """Arrays come and go, seen in all ways; each is filled with a number of its own."""

    arrays = Bundle("arrays")

    def __init__(self) -> None:
        super().__init__()
        self.next = 1
        self.seen: list[tuple[Array, int]] = []

    @rule(target=arrays, size=st.sampled_from(SIZES), how=st.sampled_from(sorted(SIGHTS)))
    def take(self, size: int, how: str) -> tuple[Any, int]:
        array = buffer_pool.empty((size,), np.float32)
        array.fill(self.next)
        sight = SIGHTS[how](array)
        if how == "another dtype":
            sight = sight.view(np.float32)
        self.next += 1
        return sight, self.next - 1

    @rule(held=consumes(arrays))
    def drop(self, held: tuple[Any, int]) -> None:
        self.check(held)

    @rule(held=arrays)
    def check(self, held: tuple[Any, int]) -> None:
        sight, number = held
        if isinstance(sight, tg.Tensor):
            sight = sight.numpy()
        values = np.asarray(sight)
        if values.dtype == np.uint8:  # the base, whose end may be unused
            values = values[: 4 * SIZES[0]].view(np.float32)
        assert (values == number).all()


TestMemory = Memory.TestCase
TestMemory.settings = at_least(60, stateful_step_count=30)


@pytest.mark.parametrize("how", SIGHTS)
def test_what_is_seen_is_not_handed_out(how: str) -> None:
    array = buffer_pool.empty((buffer_pool.LARGE,), np.float32)
    address = array.ctypes.data
    sight = SIGHTS[how](array)
    if how == "a Tensor":
        return  # a product is memory of its own
    del array
    other = buffer_pool.empty((buffer_pool.LARGE,), np.float32)
    assert other.ctypes.data != address
    del sight, other
    gc.collect()


def test_what_nothing_sees_is_handed_out_again() -> None:
    array = buffer_pool.empty((buffer_pool.LARGE,), np.float32)
    address = array.ctypes.data
    del array
    assert buffer_pool.empty((buffer_pool.LARGE,), np.float32).ctypes.data == address


def test_poison_fills_what_is_used_again() -> None:
    with tg.engine.options(poison=True):
        array = buffer_pool.empty((buffer_pool.LARGE,), np.float32)
        array.fill(1.0)
        del array
        assert np.isnan(buffer_pool.empty((buffer_pool.LARGE,), np.float32)).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
@pytest.mark.parametrize("shape", [(), (3, 5), (2, 3, 4, 5), (64, 65, 66)])
def test_poison_fills_all_that_is_undefined(shape: tuple[int, ...], dtype: str) -> None:
    with tg.engine.options(poison=True):
        assert np.isnan(buffer_pool.empty(shape, dtype)).all()
        model = np.zeros(shape, dtype).T
        assert np.isnan(buffer_pool.empty_like(model)).all()
        for _ in range(2):
            working = scratch("poisoned", shape, np.dtype(dtype))
            assert np.isnan(working).all()
            working.fill(1.0)


@given(shape=st.sampled_from([(4, 6, 10), (24, 10), (4, 60), (240,), (2, 2, 3, 2, 5, 2)]),
       strides=strides(3))  # fmt: skip
def test_a_view_to_write_to_is_never_a_copy(shape: tuple[int, ...], strides: Strides) -> None:
    array = strides.empty((4, 6, 10), np.float32)
    try:
        written = buffer_pool.view(array, shape)
    except ValueError:
        assert not np.shares_memory(array, array.reshape(shape))
        return
    written[...] = np.arange(240).reshape(shape)
    np.testing.assert_array_equal(array.reshape(-1), np.arange(240))


def test_the_engine_writes_to_no_reshaped_array_but_a_view() -> None:
    """`reshape` may copy, and a write to the copy is lost; `buffer_pool.view` raises instead."""
    mistakes = []
    for path in sorted(Path(buffer_pool.__file__).parent.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                mistakes += [f"{path.name}: {target}" for target in written_copies(function)]
    assert mistakes == []


def written_copies(function: ast.FunctionDef) -> Iterator[str]:
    """Yield what a function writes to that `reshape` returned."""
    copied: dict[str, bool] = {}  # whether the value last assigned to a name may be a copy
    nodes = [node for node in ast.walk(function) if hasattr(node, "lineno")]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        for target in written(node):
            if may_copy(target) or copied.get(ast.unparse(target)):
                yield ast.unparse(target)
        if isinstance(node, ast.Assign):
            for name in (name for target in node.targets for name in ast.walk(target)):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    copied[name.id] = may_copy(node.value)


def written(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the arrays that a statement, or an argument `out`, writes to."""
    if isinstance(node, ast.keyword) and node.arg == "out":
        yield node.value
    elif isinstance(node, ast.AugAssign):
        yield node.target.value if isinstance(node.target, ast.Subscript) else node.target
    elif isinstance(node, ast.Assign):
        yield from (target.value for target in node.targets if isinstance(target, ast.Subscript))


def may_copy(expression: ast.AST) -> bool:
    """Whether it reshapes, not by `view`."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"reshape", "ravel", "flatten"}
        for node in ast.walk(expression)
    )


def test_a_write_to_a_reshaped_array_is_found() -> None:
    source = "def f(x, out):\n rows = x.reshape(2, -1)\n {}"
    for write in ("rows += 1", "rows[0] = 1", "np.add(1, 2, out=rows)", "g(out=x.ravel())",
                  "x.reshape(-1)[0] = 1"):  # fmt: skip
        assert list(written_copies(ast.parse(source.format(write)).body[0])), write
    for read in ("x += rows", "rows = view(x, 2)\n rows += 1", "out[...] = rows"):
        assert not list(written_copies(ast.parse(source.format(read)).body[0])), read


@given(sizes=st.lists(st.integers(1, 40), max_size=30), limit=st.integers(0, 60))
def test_no_more_is_held_than_the_limit(sizes: list[int], limit: int) -> None:
    blocks = buffer_pool.Blocks()
    with tg.engine.options(memory_limit=limit * buffer_pool.ROUND):
        held = []
        for k, size in enumerate(sizes):
            held.append(blocks.take(size * buffer_pool.ROUND))
            assert size <= held[-1].size / buffer_pool.ROUND <= 2 * size
            assert blocks.held <= limit * buffer_pool.ROUND
            if k % 3 == 0:
                held.clear()
        assert len({block.ctypes.data for block in held}) == len(held)


@pytest.mark.parametrize(("size", "other"), [(4, False), (3, False), (2, False), (1, True)])
def test_a_block_serves_down_to_half_its_size(size: int, other: bool) -> None:
    blocks = buffer_pool.Blocks()
    place = blocks.take(4 * buffer_pool.ROUND).ctypes.data
    assert (blocks.take(size * buffer_pool.ROUND).ctypes.data != place) is other


def test_a_block_of_the_right_size_is_preferred() -> None:
    blocks = buffer_pool.Blocks()
    right, larger = blocks.take(2 * buffer_pool.ROUND), blocks.take(3 * buffer_pool.ROUND)
    place = right.ctypes.data
    del right, larger
    assert blocks.take(2 * buffer_pool.ROUND).ctypes.data == place


def test_a_lower_limit_lets_memory_go() -> None:
    blocks = buffer_pool.Blocks()
    for size in (1, 2, 3):
        blocks.take(size * buffer_pool.ROUND)
    assert blocks.held == 6 * buffer_pool.ROUND
    with tg.engine.options(memory_limit=4 * buffer_pool.ROUND):
        blocks.take(4 * buffer_pool.ROUND)
    assert blocks.held == 4 * buffer_pool.ROUND


@given(axes=st.permutations(range(4)), dtype=st.sampled_from(["f4", "f8", "?", "c16"]))
def test_empty_like_keeps_the_order_of_memory(axes: list[int], dtype: str) -> None:
    model = np.zeros([(40, 41, 42, 3)[axis] for axis in axes], "f4")
    model = model.transpose(np.argsort(axes))
    for shape in (model.shape, (20, 43, 44, 5), (1, 2, 3, 4)):
        array = buffer_pool.empty_like(model, shape, dtype)
        expected = np.empty_like(model, dtype, shape=shape)
        assert (array.shape, array.dtype, array.strides) == (
            expected.shape, expected.dtype, expected.strides,
        )  # fmt: skip


def train(steps: int) -> list[Array]:
    rng = np.random.default_rng(0)
    model = tg.nn.LeNet5(rng=rng)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    kept = []
    for _ in range(steps):
        x, labels = rng.standard_normal((64, 1, 28, 28), "f4"), rng.integers(0, 10, 64)
        loss = tg.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept.append(loss.numpy())
    return [*kept, *[p.numpy().copy() for p in model.parameters()]]


def test_training_reads_nothing_it_has_not_written() -> None:
    """With poison the same bits: a single use of freed memory would make them NaN."""
    plain = train(4)
    with tg.engine.options(poison=True):
        poisoned = train(4)
    with tg.engine.options(memory_limit=0):
        fresh = train(4)
    for a, b, c in zip(plain, poisoned, fresh, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()
        assert np.isfinite(a).all()


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"winograd": 1}, TypeError),
        ({"memory_limit": 1.5}, TypeError),
        ({"memory_limit": True}, TypeError),
        ({"memory_limit": -1}, ValueError),
        ({"poison": "yes"}, TypeError),
    ],
)
def test_a_setting_that_is_none_is_refused(setting: dict[str, Any], error: type) -> None:
    with pytest.raises(error, match=r"engine\.options: "), tg.engine.options(**setting):
        pass


def test_references_are_counted_as_they_are_here() -> None:
    block = np.empty(0)
    assert buffer_pool._unused([block], buffer_pool.OURS) is None  # this function sees it
    assert sys.getrefcount(block) >= 1
