"""Layers whose first input determines a size: the same as with the size given."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

Make = Callable[[int | None], nn.Module]

# Every layer with such a size: how to make it for a size, that size, and the shape of an input.
SIZED: dict[str, tuple[Make, int, tuple[int, ...]]] = {
    "Linear": (lambda n: nn.Linear(n, 4, rng=rng()), 6, (3, 6)),
    "Linear per connection": (lambda n: nn.Linear(n, 4, "per_connection", rng=rng()), 6, (3, 6)),
    "Linear without bias": (lambda n: nn.Linear(n, 4, False, rng=rng()), 6, (3, 6)),
    "Conv1d": (lambda n: nn.Conv1d(n, 6, 3, groups=2, rng=rng()), 4, (2, 4, 5)),
    "ConvTranspose1d": (lambda n: nn.ConvTranspose1d(n, 6, 3, rng=rng()), 4, (2, 4, 5)),
    "Conv2d": (lambda n: nn.Conv2d(n, 6, 3, groups=2, rng=rng()), 4, (2, 4, 5, 5)),
    "ConvTranspose2d": (
        lambda n: nn.ConvTranspose2d(n, 6, 2, groups=2, rng=rng()),
        4,
        (2, 4, 5, 5),
    ),
    "BatchNorm1d": (lambda n: nn.BatchNorm1d(n), 3, (4, 3)),
    "InstanceNorm2d": (lambda n: nn.InstanceNorm2d(n, affine=True), 3, (4, 3, 2, 2)),
    "BatchNorm2d": (lambda n: nn.BatchNorm2d(n), 3, (4, 3, 2, 2)),
    "LayerNorm": (lambda n: nn.LayerNorm(n), 6, (2, 4, 6)),
    "GroupNorm": (lambda n: nn.GroupNorm(2, n), 4, (4, 4, 2)),
    "PReLU": (lambda n: nn.PReLU(n, 0.5), 3, (4, 3, 2)),
}
WAYS = {
    "itself": lambda layer: layer,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "train and eval": lambda layer: layer.train().eval().train(),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def held(layer: nn.Module) -> dict[str, tuple[str, bytes]]:
    return {name: (str(a.dtype), a.tobytes()) for name, a in layer.state_dict().items()}


def test_every_layer_with_such_a_size_is_here() -> None:
    public = {name: getattr(nn, name) for name in nn.layers.__all__}
    sized = {name for name, kind in public.items() if issubclass(kind, nn.SizedLayer)}
    assert sized == {name.split()[0] for name in SIZED}, "add a line to SIZED, above"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SIZED)
def test_the_first_call_gives_the_bits_of_explicit_sizes(name: str, way: str, dtype: str) -> None:
    make, size, shape = SIZED[name]
    with tg.default_dtype(dtype):
        explicit, layer = make(size), WAYS[way](make(None))
    x = rng(1).normal(size=shape).astype(dtype)
    assert layer.state_dict() == {}
    assert layer(x).numpy().tobytes() == explicit(x).numpy().tobytes()
    assert held(layer) == held(explicit)
    assert list(held(layer)) == list(held(explicit))
    assert repr(layer) == repr(explicit)
    assert vars(layer).keys() - {"training"} == vars(explicit).keys()


@pytest.mark.parametrize("name", SIZED)
def test_a_state_dict_determines_the_size(name: str) -> None:
    make, size, shape = SIZED[name]
    explicit, layer = make(size), nn.Sequential(make(None))
    x = rng(1).normal(size=shape).astype("f4")
    explicit(x)
    layer.load_state_dict({f"0.{key}": value for key, value in explicit.state_dict().items()})
    assert held(layer[0]) == held(explicit)
    assert layer[0](x).numpy().tobytes() == explicit(x).numpy().tobytes()


def test_a_state_dict_that_does_not_fit_determines_nothing() -> None:
    layer = nn.Sequential(nn.Linear(None, 2, rng=rng()), nn.ReLU(), nn.Linear(2, 1, rng=rng()))
    for state, message in (
        ({"0.weight": np.ones((2, 3), "f4")}, "0.bias is missing"),
        ({"0.bias": np.ones(2, "f4")}, "0.bias is unexpected"),
        ({"0.weight": np.ones((), "f4")}, "0.weight is unexpected"),
        ({}, "2.weight is missing"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            layer.load_state_dict(state)
        assert layer[0].in_features is None
        assert list(layer.state_dict()) == ["2.weight", "2.bias"]
    layer(np.ones((1, 4), "f4"))
    np.testing.assert_array_equal(layer[0].weight, nn.Linear(4, 2, rng=rng()).weight)


def test_parameters_before_the_first_call_are_refused_with_what_to_do() -> None:
    model = nn.Sequential(nn.Conv2d(None, 2, 3), nn.Flatten(), nn.Linear(None, 1))
    message = r"Sequential: 0: in_channels is None.*summary\(input_shape\)"
    for use in (
        lambda: model.parameters(),
        lambda: optim.SGD(model.parameters(), 0.1),
        lambda: model.requires_grad_(False),
        lambda: model.summary(),
    ):
        with pytest.raises(RuntimeError, match=message):
            use()
    with pytest.raises(AttributeError, match=r"Conv2d\.weight has no shape yet: in_channels is"):
        _ = model[0].weight.shape
    assert repr(model[0]) == "Conv2d(in_channels=None, out_channels=2, kernel_size=3)"
    model.zero_grad()
    assert model.summary((1, 8, 8)).parameters == 20 + 73
    assert len(list(model.parameters())) == 4
    assert model[2].in_features == 72


def test_a_model_of_unknown_sizes_has_the_bits_of_known_ones() -> None:
    def model(channels: int | None, hidden: int | None, last: int | None) -> nn.Module:
        tg.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Flatten(),
            nn.Linear(last, 2),
        )  # fmt: skip

    x = rng().normal(size=(2, 1, 6, 6)).astype("f4")
    known, unknown = model(1, 4, 64), model(None, None, None)
    known(x)
    tg.manual_seed(3)  # the layers have kept their generator, though it is no longer the default
    twin = copy.deepcopy(unknown)
    assert [held(m) for m in (unknown, twin)] == [{}, {}]
    tg.manual_seed(3)
    model(1, 4, 64)
    for one in (unknown, twin):
        one(x)
        assert held(one) == held(known)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (nn.Linear(None, 2), np.float32(1), r"Linear: x has shape \(\), too few axes"),
        (nn.Conv2d(None, 2, 3), np.ones((8, 8), "f4"), r"Conv2d: x has shape \(8, 8\), too few"),
        (nn.Conv2d(None, 2, 3), np.ones((1, 3, 2, 2), "f4"), "conv2d"),
        (nn.Conv2d(None, 2, 3, groups=2), np.ones((1, 3, 8, 8), "f4"), "in_channels is 3, exp"),
        (nn.GroupNorm(2, None), np.ones((1, 3), "f4"), "num_channels is 3, expected a multiple"),
        (nn.BatchNorm2d(None), np.ones((2, 3), "f4"), "x has shape"),
        (nn.Linear(None, 2), np.ones((3, 0), "f4"), r"in_features \(of x, \(3, 0\)\) is 0"),
        (nn.Linear(None, 2, init=lambda *_: None), np.ones((3, 1), "f4"), "init returned"),
    ],
)  # fmt: skip
def test_a_failed_first_call_leaves_the_size_open(layer: Any, x: Any, message: str) -> None:
    before = dict(vars(layer))
    with pytest.raises(ValueError, match=message):
        layer(x)
    assert vars(layer) == before
    with pytest.raises(RuntimeError, match="is None"):
        layer.parameters()


def test_a_failed_first_call_draws_no_numbers() -> None:
    layer = nn.Conv2d(None, 2, 3, rng=rng())
    with pytest.raises(ValueError, match="conv2d"):
        layer(np.ones((1, 5, 2, 2), "f4"))
    layer(np.ones((1, 1, 4, 4), "f4"))
    np.testing.assert_array_equal(layer.weight, nn.Conv2d(1, 2, 3, rng=rng()).weight)


def test_a_state_that_is_refused_leaves_no_layer_with_a_size() -> None:
    model = nn.Sequential(nn.Linear(None, 3), nn.GroupNorm(3, None))
    state = nn.Sequential(nn.Linear(2, 3), nn.GroupNorm(1, 4)).state_dict()
    with pytest.raises(ValueError, match=r"GroupNorm|load_state_dict"):
        model.load_state_dict(state)
    assert model[0].in_features is None
    flat = {"weight": np.ones(2, "f4"), "bias": np.ones(2, "f4")}
    with pytest.raises(ValueError, match="nothing was loaded"):
        nn.Conv2d(None, 2, 3).load_state_dict(flat)


def test_running_statistics_tell_the_size_of_a_norm_without_weights() -> None:
    state = nn.BatchNorm2d(3, affine=False).state_dict()
    layer = nn.BatchNorm2d(None, affine=False)
    assert layer.load_state_dict(state) == ([], [])
    assert layer.num_features == 3
