"""Uninitialized memory: kept by the process, poisoned on request, and written to through views."""

from __future__ import annotations

import ast
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.convolving import Strides, strides

import tinygrad_cnn as tg
from tinygrad_cnn.engine import memory

Array = np.ndarray[Any, Any]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_arrays_freed_together_are_not_returned_to_the_system() -> None:
    """As after a training step; without a setting, memory beyond twice the largest is returned."""
    code = """
import resource, numpy as np, tinygrad_cnn
tinygrad_cnn.Tensor  # loads the engine
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(1 << 20, np.uint8) for _ in range(50)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sorted(faults() for _ in range(9))[4])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
@pytest.mark.parametrize("shape", [(), (3, 5), (2, 3, 4, 5), (64, 65, 66)])
def test_poison_fills_all_that_is_undefined(shape: tuple[int, ...], dtype: str) -> None:
    with tg.engine.options(poison=True):
        assert np.isnan(memory.empty(shape, dtype)).all()
        model = np.zeros(shape, dtype).T
        assert np.isnan(memory.empty_like(model)).all()


@pytest.mark.parametrize("shape", [(), (3, 5), (2, 3, 4, 5), (64, 65, 66), (7, 1, 9, 4096)])
def test_an_array_like_another_has_its_memory_order_and_begins_at_a_cache_line(
    shape: tuple[int, ...],
) -> None:
    for model in (
        np.zeros(shape, "f4"),
        np.zeros(shape, "f4").T,
        np.zeros((9, *shape)).swapaxes(0, -1),
    ):
        array = memory.empty_like(model, dtype=np.float32)
        usual = np.empty_like(model, dtype=np.float32)
        assert (array.shape, array.dtype) == (usual.shape, usual.dtype)
        steps = [
            [n for n, m in zip(a.strides, a.shape, strict=True) if m > 1] for a in (array, usual)
        ]
        assert steps[0] == steps[1]
        assert array.nbytes < memory.LARGE or array.ctypes.data % memory.LINE == 0


@given(shape=st.sampled_from([(4, 6, 10), (24, 10), (4, 60), (240,), (2, 2, 3, 2, 5, 2)]),
       strides=strides(3))  # fmt: skip
def test_a_view_to_write_to_is_never_a_copy(shape: tuple[int, ...], strides: Strides) -> None:
    array = strides.empty((4, 6, 10), np.float32)
    try:
        written = memory.view(array, shape)
    except ValueError:
        assert not np.shares_memory(array, array.reshape(shape))
        return
    written[...] = np.arange(240).reshape(shape)
    np.testing.assert_array_equal(array.reshape(-1), np.arange(240))


def test_the_engine_writes_to_no_reshaped_array_but_a_view() -> None:
    """`reshape` may copy, and a write to the copy is lost; `memory.view` raises instead."""
    mistakes = []
    for path in sorted(Path(memory.__file__).parent.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                mistakes += [f"{path.name}: {target}" for target in written_copies(function)]
    assert mistakes == []


def written_copies(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the results of `reshape` that a function writes to."""
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


@given(axes=st.permutations(range(4)), poison=st.booleans())
def test_empty_like_keeps_the_order_of_memory(axes: list[int], poison: bool) -> None:
    model = np.zeros([(40, 41, 42, 3)[axis] for axis in axes], "f4")
    model = model.transpose(np.argsort(axes))
    for shape in (model.shape, (20, 43, 44, 5), (1, 2, 3, 4)):
        with tg.engine.options(poison=poison):
            array = memory.empty_like(model, shape)
        expected = np.empty_like(model, shape=shape)
        assert (array.shape, array.strides) == (expected.shape, expected.strides)


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
    for a, b in zip(plain, poisoned, strict=True):
        assert a.tobytes() == b.tobytes()
        assert np.isfinite(a).all()


@pytest.mark.parametrize("setting", [{"winograd": 1}, {"poison": "yes"}])
def test_an_option_of_another_type_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"engine\.options: "), tg.engine.options(**setting):
        pass
