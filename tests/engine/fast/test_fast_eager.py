"""The eager engine with compiled kernels: where they are used, and that results stay the same."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.engine import fast
from tinygrad_cnn.engine.fast import compiling
from tinygrad_cnn.engine.fast.compiling import compiled

nn = tg.nn

NEVER = """
import sys
import numpy as np
import tinygrad_cnn as tg
model = tg.nn.models.LeNet5()
optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(2):
    optimizer.zero_grad()
    tg.cross_entropy(model(np.zeros((1, 1, 28, 28), "f4")), [3]).backward()
    optimizer.step()
with tg.engine.options(fast=False):
    tg.softmax(np.zeros((200, 100)))
assert not {"numba", "llvmlite"} & sys.modules.keys()
"""


def test_numba_is_imported_for_large_arrays_only() -> None:
    subprocess.run([sys.executable, "-c", NEVER], check=True)


def layers(dtype: str) -> Any:
    tg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU6(),
        nn.Conv2d(16, 16, 5, stride=2, padding=2, groups=16), nn.MaxPool2d(3, 1, padding=1),
        nn.Flatten(), nn.Linear(256, 40), nn.Softmax(),
    ).astype(dtype)  # fmt: skip


def trained(kind: Any, dtype: str, steps: int = 3, **options: Any) -> list[np.ndarray[Any, Any]]:
    """Return what a network, its gradients and its statistics are after some steps."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((32, 3, 16, 16)).astype(dtype), rng.random((32, 40)).astype(dtype)
    model = layers(dtype)
    optimizer = kind(model.parameters(), **options)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).sum()
        loss.backward()
        optimizer.step()
    found = [loss.numpy(), *[p.grad for p in model.parameters()]]
    return [np.array(a) for a in [*found, *model.state_dict().values()]]


@pytest.mark.skipif(not fast.is_available(), reason="needs the extra fast")
@pytest.mark.parametrize(
    ("dtype", "rounding"), [("float32", 2e-5), ("float64", 1e-12)], ids=["float32", "float64"]
)
def test_training_is_the_same_with_and_without_compiled_kernels(
    dtype: str, rounding: float
) -> None:
    with tg.engine.options(fast=False):
        expected = trained(tg.optim.SGD, dtype, steps=1, lr=0.01, momentum=0.9)
    found = trained(tg.optim.SGD, dtype, steps=1, lr=0.01, momentum=0.9)
    differ = False
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert abs(a - b).max() <= rounding * max(1.0, abs(b).max())
        differ |= not np.array_equal(a, b)
    assert differ  # the kernels were used


@pytest.mark.parametrize("kind", [tg.optim.SGD, tg.optim.Adam, tg.optim.AdamW])
def test_training_has_the_same_bits_on_one_and_two_threads(kind: Any) -> None:
    results = []
    for count in (1, 2, 2):
        with tg.num_threads(count):
            results.append(trained(kind, "float32", lr=0.01))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not fast.is_available(), reason="needs the extra fast")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (tg.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (tg.optim.SGD, {}),
        (tg.optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
        (tg.optim.Adam, {"weight_decay": 0.01}),
        (tg.optim.AdamW, {}),
    ],
)
def test_optimizers_have_the_same_bits_with_and_without_kernels(kind: Any, options: Any) -> None:
    results = []
    for on in (False, True):
        rng = np.random.default_rng(0)
        parameters = [
            tg.nn.Parameter(rng.standard_normal(shape).astype("f4"))
            for shape in ((300, 700), (9000,), (10,))
        ]
        optimizer = kind(parameters, lr=0.1, **options)
        with tg.engine.options(fast=on):
            for _ in range(3):
                for k, p in enumerate(parameters):
                    g = rng.standard_normal(p.shape).astype("f4")
                    p.grad = np.asfortranarray(g) if k == 1 else g
                optimizer.step()
        results.append([p.numpy() for p in parameters])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_folder_to_write_to_kernels_are_compiled_for_this_process() -> None:
    def make(cache: bool) -> bool:
        if cache:
            raise RuntimeError("cannot cache function 'relu': no locator available")
        return cache

    assert compiled(make, make) is False


def test_other_errors_of_compilation_are_raised() -> None:
    def make(_cache: bool) -> None:
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        compiled(make, make)


def test_a_long_compilation_is_announced_once_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "LONG", -1.0)
    lines = []
    for watched in (False, True):
        monkeypatch.setattr(compiling, "_spent", [0.0])
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        monkeypatch.setattr(sys.stderr, "isatty", lambda watched=watched: watched)
        for _ in range(3):
            assert compiled(lambda cache: cache, print)
        lines.append(sys.stderr.getvalue())
    assert lines == ["", "tinygrad_cnn: compiling kernels, once\n"]


KEPT = """
import numpy as np
import tinygrad_cnn as tg
from tinygrad_cnn.engine.fast import products
from tinygrad_cnn.engine.fast.kernel import version
x = np.ones((64, 64, 4), "f4")
print(float(tg.softmax(x).sum()), version())
"""


def started(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", KEPT]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not fast.is_available(), reason="needs the extra fast")
def test_kernels_are_kept_where_the_environment_says(tmp_path: Path) -> None:
    both = [started(tmp_path) for _ in range(2)]
    for process in both:
        total, version = process.communicate()[0].split()
        assert process.returncode == 0
        assert float(total) == 4096.0
    kept = list(tmp_path.rglob("*.nbi"))
    assert {"softmax", "product", "run_rows"} <= {
        word for file in kept for word in ("softmax", "product", "run_rows") if word in file.name
    }
    assert all(version in file.name for file in kept)

    (softmax,) = tmp_path.rglob("*.softmax_f_*.nbi")
    size, _, source = version.partition("_")
    others = [softmax.with_name(softmax.name.replace(version, other))
              for other in (f"{size}_00000000", f"8_{source}")]  # fmt: skip
    for other in others:
        other.touch()

    damaged = {"run_rows*.nbi": 0, "softmax*.nbc": 1000}  # is found and mended
    for pattern, length in damaged.items():
        for file in tmp_path.rglob(f"*{pattern}"):
            os.truncate(file, length)
    process = started(tmp_path)
    assert process.communicate()[0].split() == [total, version]
    assert process.returncode == 0
    for pattern, length in damaged.items():
        kept = [file for file in tmp_path.rglob(f"*{pattern}") if file not in others]
        assert all(file.stat().st_size > length for file in kept)
    assert [other.exists() for other in others] == [False, True]  # of an older source, and machine


@pytest.mark.skipif(not fast.is_available(), reason="needs the extra fast")
def test_kept_kernels_are_for_their_sources_and_size_of_registers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinygrad_cnn.engine.fast import kernel

    def version() -> str:
        return kernel.version.__wrapped__()  # type: ignore[no-any-return]

    expected = version()
    assert version() == expected
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "register_bytes", lambda: 8)
        assert version() != expected
    read = Path.read_bytes
    for name in ("fast/vectors.py", "convolution/winograd.py"):

        def changed(self: Path, name: str = name) -> bytes:
            return read(self) + (b"#" if str(self).endswith(f"engine/{name}") else b"")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", changed)
            assert version() != expected


@pytest.mark.skipif(not fast.is_available(), reason="needs the extra fast")
def test_numpy_computes_if_numba_lacks_what_kernels_need(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> Any:
        raise AttributeError(f"{name}: no lock")

    x = np.random.default_rng(0).standard_normal((200, 100))
    with tg.engine.options(fast=False):
        expected = tg.softmax(x)
    monkeypatch.setattr(fast, "_module", lacking)
    fast._works.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="NumPy computes in their place: numba_private: no"):
            found = tg.softmax(x)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(tg.compile(lambda x: tg.softmax(x))(x), expected)
    finally:
        fast._works.cache_clear()


def in_records(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy among other fields: its strides are not multiples of the size of a value."""
    records = np.zeros(array.shape, [("other", "u2"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


OPERANDS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "convolution": (lambda x, w: tg.conv2d(x, w, padding=1), [(8, 6, 8, 8), (6, 6, 3, 3)]),
    "one image": (lambda x, w: tg.conv2d(x, w, padding=1), [(1, 16, 32, 32), (16, 16, 3, 3)]),
    "depthwise": (lambda x, w: tg.conv2d(x, w, groups=16), [(16, 16, 9, 9), (16, 1, 3, 3)]),
    "maximum": (lambda x: tg.maxpool(x, 2), [(16, 4, 16, 16)]),
    "softmax": (lambda x: tg.softmax(x, axis=1), [(200, 100)]),
    "product": (tg.linear, [(64, 128), (100, 128), (100,)]),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_arrays_may_be_fields_of_records(name: str) -> None:
    function, shapes = OPERANDS[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype("f4") for shape in shapes]
    expected = function(*arrays)
    for k in range(len(arrays)):
        given = [in_records(array) if i == k else array for i, array in enumerate(arrays)]
        np.testing.assert_allclose(function(*given), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("is_fast", [False, True])
@pytest.mark.parametrize("kind", [tg.optim.SGD, tg.optim.Adam])
def test_a_read_only_parameter_is_not_updated(kind: Any, is_fast: bool) -> None:
    p = tg.Tensor(np.ones(20_000, "f4"), requires_grad=True)
    optimizer = kind([p], lr=0.1)
    (p * p).sum().backward()
    p._array.flags.writeable = False
    with tg.engine.options(fast=is_fast), pytest.raises(ValueError, match="read-only"):
        optimizer.step()
    np.testing.assert_array_equal(p._array, 1)


@pytest.mark.parametrize("kind", [tg.optim.SGD, tg.optim.Adam])
def test_a_compiled_step_does_not_update_a_read_only_parameter(kind: Any) -> None:
    p = tg.Tensor(np.ones(20_000, "f4"), requires_grad=True)
    optimizer = kind([p], lr=0.1)

    @tg.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step()
    p._array = np.ones_like(p._array)
    p._array.flags.writeable = False
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            step()
    np.testing.assert_array_equal(p._array, 1)
