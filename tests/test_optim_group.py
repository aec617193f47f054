"""Small parameters are updated together: to the bit as if each had an optimizer of its own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.optimizers import OPTIMIZERS, Make

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.engine.chunks import SIZE
from tinygrad_cnn.optim.group import SMALL

SHAPES = st.sampled_from(
    [(), (1,), (0,), (3,), (2, 5), (4, 1, 3, 3), (SMALL,), (SMALL + 1,), (2, SMALL)]
)
DTYPES = st.sampled_from(["f4", "f8"])
RESTARTS = ["none", "state_dict", "deepcopy", "pickle"]


def restarted(optimizer: optim.Optimizer, how: str, make: Make) -> optim.Optimizer:
    """Return an optimizer that goes on from where this one is."""
    if how == "none":
        return optimizer
    if how == "state_dict":
        other = make(list(optimizer.params))
        other.load_state_dict(optimizer.state_dict())
        return other
    if how == "deepcopy":
        return copy.deepcopy(optimizer)
    copied: optim.Optimizer = pickle.loads(pickle.dumps(optimizer))
    return copied


@given(st.data(), st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(RESTARTS))
def test_together_is_each_alone_to_the_bit(data: st.DataObject, name: str, how: str) -> None:
    make = OPTIMIZERS[name]
    kinds = data.draw(st.lists(st.tuples(SHAPES, DTYPES), min_size=1, max_size=6))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values: list[NDArray[Any]] = [rng.normal(size=shape).astype(dtype) for shape, dtype in kinds]
    together: list[tg.Tensor] = [nn.Parameter(value) for value in values]
    apart = [nn.Parameter(value) for value in values]
    optimizer, alone = make(together), [make([p]) for p in apart]
    for step in range(6):
        if step == 3:
            optimizer = restarted(optimizer, how, make)
            together = list(optimizer.params)
        for p, twin in zip(together, apart, strict=True):
            missing = data.draw(st.integers(0, 4)) == 0
            g = None if missing else rng.normal(size=p.shape).astype(p.dtype)
            p.grad = twin.grad = g if g is None or g.ndim != 2 else np.asfortranarray(g)
        arrays = [p._array for p in together]
        optimizer.step()
        for one in alone:
            one.step()
        assert all(p._array is array for p, array in zip(together, arrays, strict=True))
        for p, twin in zip(together, apart, strict=True):
            assert p.data.tobytes() == twin.data.tobytes()
    found = optimizer.state_dict()
    for i, one in enumerate(alone):
        for key, value in one.state_dict().items():
            mine = found[f"{i}.{key.removeprefix('0.')}" if key.startswith("0.") else key]
            assert np.asarray(mine).tobytes() == np.asarray(value).tobytes(), key


def test_updates_of_small_parameters_are_one_call() -> None:
    sizes: list[int] = []

    class Counted(optim.SGD):
        elementwise = True

        def update(self, p: NDArray[Any], g: NDArray[Any], state: dict[str, Any]) -> None:
            sizes.append(p.size)
            super().update(p, g, state)

    parameters = [nn.Parameter(np.ones(n, "f4")) for n in (3, SMALL + 1, 5)]
    optimizer = Counted(parameters, 0.1, momentum=0.9)
    for p in parameters:
        p.grad = np.ones_like(p.data)
    optimizer.step()
    assert sorted(sizes) == [8, SMALL + 1]
    parameters[0].grad = None
    sizes.clear()
    optimizer.step()
    assert sorted(sizes) == [5, SMALL + 1]


def test_an_update_that_is_not_elementwise_sees_each_parameter_by_itself() -> None:
    class Normalized(optim.Optimizer):
        def update(self, p: NDArray[Any], g: NDArray[Any], state: dict[str, Any]) -> None:
            p -= self.lr * g / np.linalg.norm(g)

    parameters = [nn.Parameter(np.zeros(n, "f4")) for n in (1, 4)]
    for p in parameters:
        p.grad = np.full_like(p.data, 2.0)
    Normalized(parameters, 1.0).step()
    assert [p.data.tolist() for p in parameters] == [[-1.0], [-0.5] * 4]


def test_an_update_of_ones_own_is_not_taken_for_elementwise_because_its_base_is() -> None:
    class WithoutBiases(optim.SGD):
        def update(self, p: NDArray[Any], g: NDArray[Any], state: dict[str, Any]) -> None:
            if p.ndim > 1:
                super().update(p, g, state)

    class Further(WithoutBiases):
        pass

    for kind in (WithoutBiases, Further):
        weight, bias = nn.Parameter([[1.0, 2.0]]), nn.Parameter([3.0])
        for p in (weight, bias):
            p.grad = np.ones_like(p.data)
        kind([weight, bias], 1.0).step()
        assert (weight.tolist(), bias.tolist()) == ([[0.0, 1.0]], [3.0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_shared_by_two_optimizers_is_changed_by_both(name: str) -> None:
    parameters = [nn.Parameter([1.0, 2.0]), nn.Parameter([3.0])]
    first, second = OPTIMIZERS[name](parameters), optim.SGD(parameters, 1.0)
    for optimizer in (first, second, first):
        for p in parameters:
            p.grad = np.ones_like(p.data)
        before = [p.data.copy() for p in parameters]
        optimizer.step()
        assert all((p.data < b).all() for p, b in zip(parameters, before, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_large_parameter_updated_in_chunks_is_updated_as_a_whole_to_the_bit(name: str) -> None:
    rng = np.random.default_rng(0)
    shape = (5, SIZE // 3)
    whole, chunked, threaded, turned = [nn.Parameter(np.ones(shape, "f4")) for _ in range(4)]
    turned.data = np.asfortranarray(np.ones(shape, "f4"))
    optimizers = [OPTIMIZERS[name]([p]) for p in (whole, chunked, threaded, turned)]
    vars(optimizers[0])["elementwise"] = False
    for step in range(3):
        g = rng.standard_normal(shape, "f4")
        g = np.asfortranarray(g) if step == 1 else g
        for k, (p, optimizer) in enumerate(
            zip((whole, chunked, threaded, turned), optimizers, strict=True)
        ):
            p.grad = g
            with tg.num_threads(3 if k == 2 else 1):
                optimizer.step()
    for p in (chunked, threaded, turned):
        np.testing.assert_array_equal(p.data, whole.data)
    for other in optimizers[1:]:
        for key, value in optimizers[0].state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[key], value, key)


def test_an_update_that_rebinds_its_state_does_so_in_every_chunk() -> None:
    class Counting(optim.Optimizer):
        slots = ("sum",)
        elementwise = True

        def update(self, p: NDArray[Any], g: NDArray[Any], state: dict[str, Any]) -> None:
            state["sum"] = state["sum"] + g
            p -= state["sum"] * state["steps"]

    p = nn.Parameter(np.zeros(3 * SIZE, "f4"))
    optimizer = Counting([p], 0.0)
    for _ in range(2):
        p.grad = np.ones_like(p.data)
        optimizer.step()
    assert set(p.tolist()) == {-5.0}
    assert set(optimizer.state_dict()["0.sum"].tolist()) == {2.0}


class ClippedUpdate:
    def update(self, p: NDArray[Any], g: NDArray[Any], state: dict[str, Any]) -> None:
        super().update(p, g.clip(-1, 1), state)  # type: ignore[misc]


class ClippedSGD(ClippedUpdate, optim.SGD):
    pass


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [4, 100_000])
def test_an_update_of_a_mixin_is_used_for_each_size(size: int, compiled: bool) -> None:
    w = nn.Parameter(np.zeros(size, "f4"))
    optimizer = ClippedSGD([w], 1.0)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (tg.Tensor(x) * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = tg.compile(step)
    for k in range(1, 4):
        step(np.full(size, 5.0, "f4"))
        np.testing.assert_array_equal(w.numpy(), -k)
