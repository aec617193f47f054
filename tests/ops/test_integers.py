"""Every op on every dtype that is not float32 or float64: integers, bools, float16, byte orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.example_calls import calls

import tinygrad_cnn as tg
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.nn import init

OURS = [name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")]
SIGNED, UNSIGNED = ("i1", "i2", "i4", "i8"), ("u1", "u2", "u4", "u8")
INTEGERS = (*SIGNED, *UNSIGNED)
LARGEST = 1 << 20  # products wrap in 32 bits; float32 has room for more


def numbers(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw numbers that add and multiply to more than `dtype` holds, half of them its extremes."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind == "f":
        return (rng.integers(-600, 601, shape) / 2).astype(kind)
    low = max(np.iinfo(kind).min, -LARGEST)
    high = min(np.iinfo(kind).max, LARGEST)
    drawn = rng.integers(low, high, shape, endpoint=True)
    return np.where(rng.random(shape) < 0.5, drawn, rng.choice([low, high], shape)).astype(kind)


def made_of(call: Call, convert: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Return the arguments of a call with `convert` of every differentiable array."""
    arguments = dict(call.arguments)
    for name in call.op.operands:
        value = arguments.get(name)
        if call.op.sequence:
            arguments[name] = [convert(np.asarray(part)) for part in value]
        elif value is not None:
            arguments[name] = convert(np.asarray(value))
    return arguments


def assert_right(y: Any, truth: Any, digits: float) -> None:
    """Assert `y` equal to a float64 result, as far as its dtype has digits."""
    y, truth = np.asarray(y), np.asarray(truth)
    assert y.shape == truth.shape
    if y.dtype.kind in "biu":
        np.testing.assert_array_equal(y.astype(np.float64), truth)
        return
    truth = truth.astype(y.dtype).astype(np.float64)  # ∞ beyond its range
    scale = np.max(np.abs(truth), where=np.isfinite(truth), initial=0.0)
    least = max(digits * scale, float(np.finfo(y.dtype).tiny))  # below it, digits are lost
    np.testing.assert_allclose(y.astype(np.float64), truth, rtol=digits, atol=least)


def on(call: Call, dtype: str, seed: int) -> tuple[dict[str, Any], Any]:
    """Return the arguments of a call on numbers of a dtype, and its result in float64."""
    rng = np.random.default_rng(seed)
    arguments = made_of(call, lambda x: numbers(dtype, x.shape, rng))
    made = Call(call.op, arguments, ())
    return arguments, call.op(**made_of(made, lambda x: x.astype("f8")))


@pytest.mark.parametrize("name", OURS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # ln 0, 1/0, e²⁰⁰: as in float64
@settings(max_examples=max(6, settings().max_examples // 5))
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_op_is_right_on_every_dtype(name: str, data: st.DataObject, seed: int) -> None:
    """No integer wraps round, nothing becomes float16, float16 is rounded once."""
    call = data.draw(calls(name))
    for dtype in (*INTEGERS, "?"):
        arguments, truth = on(call, dtype, seed)
        tensors = made_of(Call(call.op, arguments, ()), tg.Tensor)
        assert_right(call.op(**arguments), truth, 1e-5)
        y = call.op(**tensors)
        assert_right(y.numpy(), truth, 1e-5)
        assert name == "astype" or y.dtype.kind in "biu" or y.dtype == np.float32
        with tg.default_dtype("f8"):
            assert_right(call.op(**tensors).numpy(), truth, 1e-12)
    arguments, truth = on(call, "f2", seed)
    for form in (np.asarray, tg.Tensor):
        y = call.op(**made_of(Call(call.op, arguments, ()), form))
        assert name == "astype" or y.dtype == np.float16
        assert_right(getattr(y, "_array", y), truth, 2e-3)


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=max(3, settings().max_examples // 5))
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_op_takes_either_byte_order(name: str, data: st.DataObject) -> None:
    call = data.draw(calls(name))
    for dtype in ("f4", "f8", "i2"):
        arguments = made_of(call, lambda x, t=dtype: x.astype(t))
        truth = call.op(**arguments)
        for form in (np.asarray, tg.Tensor._of):
            swapped = made_of(
                Call(call.op, arguments, ()), lambda x, f=form: f(x.astype(x.dtype.newbyteorder()))
            )
            y = call.op(**swapped)
            assert y.dtype.isnative
            np.testing.assert_array_equal(getattr(y, "_array", y), truth.astype(y.dtype))


X = np.arange(36.0).reshape(3, 3, 2, 2) / 8
PLACES: dict[str, Callable[[tg.Tensor, Any], tg.Tensor]] = {
    "cross_entropy": lambda x, at: tg.cross_entropy(x[:, :, 0, 0], at),
    "smoothed": lambda x, at: tg.cross_entropy(x[:, :, 0, 0], at, label_smoothing=0.1),
    "getitem": lambda x, at: x[at, :, at[::-1] // 2],
    "put": lambda x, at: tg.put(x, at, (3, 3, 2, 2)),
    "gather_windows": lambda x, at: tg.gather_windows(x, at.reshape(3, 1, 1, 1).repeat(3, 1), 2),
    "scatter_windows": lambda x, at: tg.scatter_windows(
        x[:, :, :1, :1], at.reshape(3, 1, 1, 1).repeat(3, 1), X.shape, 2
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_labels_and_places_may_be_of_any_integer_dtype(name: str) -> None:
    leaf = tg.Tensor(X, requires_grad=True)

    def result(dtype: str) -> list[np.ndarray]:
        y = PLACES[name](leaf, np.array([2, 0, 2], dtype))
        return [y.data, *tg.grad(y, leaf, gradient=np.ones(y.shape))]

    truth = result("i8")
    for dtype in INTEGERS:
        for order in "<>":
            for got, expected in zip(result(order + dtype), truth, strict=True):
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("classes", [3, 300])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("order", "<>")
def test_a_negative_label_is_refused_in_every_dtype(
    classes: int, smoothing: float, dtype: str, order: str
) -> None:
    logits = np.zeros((2, classes), "f4")
    labels = np.array([0, -1], order + dtype)
    with pytest.raises(ValueError, match=f"label -1 at 1, expected 0 to {classes - 1}"):
        tg.cross_entropy(logits, labels, label_smoothing=smoothing)
    with pytest.raises(ValueError, match=r"labels\[1\] is -1"):
        tg.one_hot(labels, classes)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_winner_that_is_no_cell_of_its_window_is_refused(dtype: str) -> None:
    image, one = np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1))
    for wrong in (4, -1) if dtype in SIGNED else (4,):
        winner = np.array([[[[wrong]]]]).astype(dtype)
        with pytest.raises(ValueError, match=f"gather_windows: winner has {wrong}, expected 0 to"):
            tg.gather_windows(image, winner, 2)
        with pytest.raises(ValueError, match=f"scatter_windows: winner has {wrong}, expected 0"):
            tg.scatter_windows(one, winner, image.shape, 2)
    with pytest.raises(TypeError, match="gather_windows: winner holds float64"):
        tg.gather_windows(image, one, 2)


def test_integers_beside_floats_take_their_dtype() -> None:
    pixels = np.array([250, 100], np.uint8)
    for dtype in ("f4", "f8"):
        for y in (tg.mse(pixels, np.zeros(2, dtype)), tg.mul(np.full(2, 2, dtype), pixels)):
            assert y.dtype == dtype
    assert tg.mse(pixels, np.zeros(2, "f2")) == np.float16(36250)  # of 72500 the half


def test_the_sum_of_two_pictures_is_no_picture_but_a_sum() -> None:
    """The first of these gave 23.25, and its relatives no less."""
    pixels = np.array([[200, 100], [50, 255]], np.uint8)
    assert tg.avgpool(pixels[None, None], 2).item() == 151.25
    assert tg.add(pixels, pixels).tolist() == [[400, 200], [100, 510]]
    assert tg.sub(pixels[1], pixels[0]).tolist() == [-150, 155]
    assert (-tg.Tensor(pixels)).tolist() == [[-200, -100], [-50, -255]]
    assert abs(tg.Tensor(np.array([-128], np.int8))).tolist() == [128]
    assert tg.put(pixels[0], [0, 0], (1,)).tolist() == [300]
    assert tg.matmul(pixels, pixels).tolist() == [[45000, 45500], [22750, 70025]]


def test_a_users_op_gets_floats_unless_it_says_otherwise(ops_of_its_own: None) -> None:
    @tg.op(formula="x²", elementwise=True)
    def squared(x: Any) -> Any:
        return x * x

    @squared.derivative("x", formula="2·g·x")
    def _(g: Any, *, x: Any) -> Any:
        return 2 * g * x

    @tg.op(formula="x", integers="kept")
    def same(x: Any) -> Any:
        return x

    @same.derivative("x", formula="g")
    def _(g: Any) -> Any:
        return g

    pixels = np.array([200], np.uint8)
    for y in (squared(pixels), squared(tg.Tensor(pixels)).data):
        assert (y.item(), y.dtype) == (40000, np.float32)
    assert same(pixels).dtype == same(tg.Tensor(pixels)).dtype == np.uint8
    with pytest.raises(ValueError, match=r"op bad: integers is 'wrapped', expected one of"):

        @tg.op(formula="x", integers="wrapped")
        def bad(x: Any) -> Any:
            return x


@pytest.mark.parametrize("value", [0.5, 300, -1, float("nan"), float("inf")])
def test_a_border_that_integers_do_not_hold_makes_floats(value: float) -> None:
    for x in (np.array([7], np.uint8), np.array([True])):
        y = tg.pad(x, 1, value=value)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, np.array([value, x[0], value], "f4"))
    assert tg.pad(np.array([7], np.uint8), 1, value=255.0).dtype == np.uint8
    with pytest.raises(TypeError, match="pad: value is"):
        tg.pad(np.ones(3), 1, value=[1.0])
    with pytest.raises(ValueError, match=r"pad: pad_width is \(2,\), expected an int, a pair"):
        tg.pad(np.ones(3), (2,))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_other_byte_order_becomes_this_one_on_entry(dtype: str) -> None:
    swapped = np.dtype(dtype).newbyteorder()
    x = np.array([1.0, -2.5], swapped)
    for made in (tg.Tensor(x), tg.nn.Parameter(x), tg.Tensor([1.0, -2.5], dtype=swapped)):
        assert made.dtype.isnative
        assert made.dtype == dtype
        assert made.tolist() == [1.0, -2.5]
    leaf = tg.Tensor(x, requires_grad=True)
    leaf.data = x * 2
    (leaf * leaf).backward(gradient=np.ones(2, swapped))
    assert leaf.dtype.isnative
    assert leaf.grad is not None
    assert leaf.grad.dtype.isnative
    assert leaf.grad.tolist() == [4.0, -10.0]
    assert leaf.astype(swapped).dtype.isnative
    with tg.default_dtype(swapped):
        assert tg.Tensor([1.0]).dtype.isnative
        assert tg.Tensor([1.0]).dtype == dtype
        assert init.zeros((2,)).dtype.isnative


@pytest.mark.parametrize("kind", [tg.optim.SGD, tg.optim.Adam])
def test_a_state_of_the_other_byte_order_loads(kind: Any) -> None:
    def swapped(state: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value.astype(value.dtype.newbyteorder())
            if isinstance(value, np.ndarray)
            else value
            for name, value in state.items()
        }

    layer = tg.nn.Linear(2, 3, rng=np.random.default_rng(0))
    options = {"momentum": 0.5} if kind is tg.optim.SGD else {}
    optimizer = kind(layer.parameters(), lr=0.1, **options)
    layer(np.ones((1, 2), "f4")).sum().backward()
    optimizer.step()
    twin = tg.nn.Linear(2, 3, rng=np.random.default_rng(1))
    twin.load_state_dict(swapped(layer.state_dict()))
    other = kind(twin.parameters(), lr=0.1, **options)
    other.load_state_dict(swapped(optimizer.state_dict()))
    for each, stepped in ((layer, optimizer), (twin, other)):
        each.zero_grad()
        each(np.ones((1, 2), "f4")).sum().backward()
        stepped.step()
    for name, array in twin.state_dict().items():
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, layer.state_dict()[name])
