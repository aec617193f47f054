"""Exported files at other sizes than those tried: what the function gives, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from support.machine import lengthy

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.lengths import Trials

AXES = {
    "x": {0: "batch", 2: "height", 3: "width"},
    "z": {0: "batch", 2: "rows", 3: "columns"},
}
OTHERS = [  # batch, height, width, rows, columns: odd and even, smaller and larger than examples
    (1, 5, 7, 6, 3),
    (3, 6, 11, 4, 9),
    (2, 13, 4, 13, 4),
    (1, 16, 9, 7, 8),
    (1, 7, 22, 7, 20),
    (2, 24, 32, 12, 16),
]
KERNEL = np.random.default_rng(3).normal(size=(2, 2, 3, 3)).astype(np.float32)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def assert_right_or_refused(
    function: Callable[..., Any],
    example: tuple[np.ndarray, ...],
    others: list[tuple[np.ndarray, ...]],
    **options: Any,
) -> bool:
    """Compare a file with its function wherever that takes an input; return whether there is one.

    The export leaves its own check out, which may not save it.
    """
    try:
        file = tg.onnx.load(tg.onnx.export(function, example, check=False, **options))
    except OnnxError:
        return False
    for inputs in [example, *others]:
        with np.errstate(all="ignore"):
            try:
                expected = np.asarray(function(*map(tg.Tensor, inputs)))
            except (ValueError, ZeroDivisionError):
                continue
            found = np.asarray(file(*inputs))
        assert found.shape == expected.shape, [x.shape for x in inputs]
        np.testing.assert_allclose(found, expected, 1e-4, 1e-4)
    return True


# --- what went wrong where lengths were multiples of the example's, or varied alike --------------


def padded(x: Any) -> Any:
    h, w = x.shape[2:]
    y = tg.pad(x, ((0, 0), (0, 0), (0, -h % 4), (0, -w % 4)))
    y = tg.conv2d(y, np.ones((3, 2, 4, 4), np.float32), stride=4)
    return tg.conv_transpose2d(y, np.ones((3, 2, 4, 4), np.float32), stride=4)[:, :, :h, :w]


def joined(x: Any) -> Any:
    """Return what a U-Net of PyTorch's tutorials does at a level."""
    y = tg.conv_transpose2d(tg.maxpool(x, 2), KERNEL[:, :, :2, :2], stride=2)
    rows, columns = (n - m for n, m in zip(x.shape[2:], y.shape[2:], strict=True))
    border = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return tg.concatenate([x, tg.pad(y, ((0, 0), (0, 0), *border))], 1)


def halved(x: Any) -> Any:
    return tg.conv2d(x, KERNEL, stride=2, padding=1)


IMAGES: dict[str, Callable[..., Any]] = {
    "padded to a multiple": padded,
    "padded to an image": joined,
    "resized to the image": lambda x: tg.interpolate(halved(x), x.shape[2:]),
    "smoothly": lambda x: tg.interpolate(tg.maxpool(x, 2), x.shape[2:], mode="bilinear"),
    "cut to the image": lambda x: (
        tg.conv_transpose2d(halved(x), KERNEL, stride=2)[:, :, : x.shape[2], : x.shape[3]] + x
    ),
    "half, rounded up": lambda x: x[:, :, : -(-x.shape[2] // 2)],
    "a negative half": lambda x: x[:, :, -x.shape[2] // 2 :],
    "resized to a half": lambda x: tg.interpolate(x, tuple((n + 1) // 2 for n in x.shape[2:])),
    "an even number": lambda x: x.sum((2, 3)) / (x.shape[2] // 2 * 2),
    "halved five times": lambda x: tg.interpolate(
        halved(halved(halved(halved(halved(x))))), tuple(n // 32 + 1 for n in x.shape[:1:-1])
    ),
    "an odd factor": lambda x: tg.interpolate(x, scale_factor=0.58),
}
EXPORTED = {*IMAGES} - {"padded to a multiple", "padded to an image", "an odd factor"}


@pytest.mark.parametrize("shape", [(16, 16), (17, 14)])
@pytest.mark.parametrize("name", IMAGES)
def test_images_of_other_sizes(name: str, shape: tuple[int, int]) -> None:
    others = [(images(n, 2, h, w),) for n, h, w, *_ in [*OTHERS, (1, 50, 100), (1, 65, 31)]]
    is_exported = assert_right_or_refused(
        IMAGES[name], (images(1, 2, *shape),), others, dynamic={"x": AXES["x"]}
    )
    assert is_exported or name not in EXPORTED or name == "halved five times"


PAIRS: dict[str, Callable[..., Any]] = {
    "resized": lambda x, z: tg.interpolate(x, z.shape[2:]),
    "of features": lambda x, z: tg.interpolate(halved(halved(x)), halved(halved(z)).shape[2:]),
    "broadcast": lambda x, z: tg.broadcast_to(x.sum(), z.shape),
    "joined": lambda x, z: tg.concatenate([tg.interpolate(x, z.shape[2:]), z], 1),
}


@pytest.mark.parametrize("name", PAIRS)
def test_sizes_of_two_images_are_distinguished(name: str) -> None:
    def pair(n: int, h: int, w: int, r: int, c: int) -> tuple[np.ndarray, np.ndarray]:
        return images(n, 2, h, w), images(n, 2, r, c)

    others = [pair(*sizes) for sizes in OTHERS]
    assert assert_right_or_refused(PAIRS[name], pair(1, 8, 8, 16, 16), others, dynamic=AXES)


BATCHES: dict[str, Callable[..., Any]] = {
    "squeeze": lambda x: tg.squeeze(x.mean((2, 3))),
    "branch": lambda x: x * 2.0 if x.shape[0] > 1 else x,
    "half": lambda x: x[: x.shape[0] // 2],
    "all but one": lambda x: x[: x.shape[0] - 1],
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_batches_of_other_sizes(name: str, count: int) -> None:
    others = [(images(n, 2, 3, 3),) for n in (1, 2, 3, 5, 8)]
    exported = assert_right_or_refused(BATCHES[name], (images(count, 2, 3, 3),), others)
    assert exported is (name == "all but one" or (name == "half" and count == 4))


# --- the lengths that are tried ------------------------------------------------------------------


def tried(refused: Callable[[dict[str, int]], bool], **lengths: int) -> list[dict[str, int]]:
    """Return the lengths of all runs on an image, the example and the check included."""

    def run(chosen: dict[str, int]) -> None:
        if refused(lengths | chosen):
            raise ValueError("refused")

    x = tg.Tensor(np.zeros((lengths["n"], 1, lengths["h"], lengths["w"])))
    trials = Trials({"x": x}, {"x": {0: "n", 2: "h", 3: "w"}})
    trials.results(run)
    trials.checked(run)
    return trials.tried


@pytest.mark.parametrize("multiple", [1, 2, 3, 7, 8, 32, 48])
def test_lengths_are_as_close_as_the_model_takes_them(multiple: int) -> None:
    runs = tried(lambda at: at["h"] % multiple > 0, n=2, h=2 * multiple, w=9)
    heights = [run["h"] // multiple for run in runs]
    assert len({*heights}) > 3 - (multiple > 32)
    assert len({n % 2 for n in heights}) == 2
    assert len({run["w"] % 2 for run in runs}) == 2
    assert any(run["n"] == 1 for run in runs)


def test_lengths_stay_below_the_largest_that_the_model_takes() -> None:
    runs = tried(lambda at: max(at["h"], at["w"]) > 14, n=1, h=8, w=8)
    assert len({run["h"] for run in runs}) > 3
    assert len({(run["h"], run["w"]) for run in runs}) > 3


def test_a_model_that_takes_one_length_only_is_refused() -> None:
    with pytest.raises(OnnxError, match=r"refuses an input with w = 9: refused; leave that axis"):
        tried(lambda at: at["w"] != 8, n=1, h=8, w=8)


# --- functions of sizes --------------------------------------------------------------------------

LENGTHS: dict[str, Callable[[int, int], int]] = {
    "n": lambda n, k: n,
    "n // k": lambda n, k: n // k,
    "ceil(n / k)": lambda n, k: -(-n // k),
    "floor(-n / k)": lambda n, k: -n // k,
    "(n + 1) // k": lambda n, k: (n + 1) // k,
    "n // k * k": lambda n, k: n // k * k,
    "ceil(n / k) * k": lambda n, k: -(-n // k) * k,
    "-n % k": lambda n, k: -n % k,
    "n % k": lambda n, k: n % k,
    "n - k": lambda n, k: n - k,
    "n + k": lambda n, k: n + k,
    "k * n + 1": lambda n, k: k * n + 1,
    "round(0.6 n)": lambda n, k: round(0.6 * n),
}


@st.composite
def lengths(draw: st.DrawFn) -> tuple[str, int, int, int]:
    """Return a calculation, its factor, an image, and the axis whose length it takes."""
    return (draw(st.sampled_from([*LENGTHS])), draw(st.integers(1, 4)),
            draw(st.integers(0, 2)), draw(st.integers(2, 3)))  # fmt: skip


STEPS: dict[str, Callable[..., Any]] = {
    "first rows": lambda y, n, m: y[:, :, :n],
    "last rows": lambda y, n, m: y[:, :, n:],
    "columns": lambda y, n, m: y[:, :, :, n : n + m],
    "every other": lambda y, n, m: y[:, :, ::2, 1:],
    "pad": lambda y, n, m: tg.pad(y, ((0, 0), (0, 0), (0, n), (m, 0))),
    "resize": lambda y, n, m: tg.interpolate(y, (n, m), mode="bilinear"),
    "grow": lambda y, n, m: tg.interpolate(y, scale_factor=(1.5, 0.5)),
    "shrink": lambda y, n, m: tg.interpolate(y, scale_factor=(0.6, 0.29)),
    "divide": lambda y, n, m: y / n,
    "scale": lambda y, n, m: y * (1 / n) + m,
    "pool": lambda y, n, m: tg.maxpool(y, 2),
    "pool up": lambda y, n, m: tg.avgpool(y, 2, 2, ceil_mode=True),
    "halve": lambda y, n, m: tg.conv2d(y, KERNEL, stride=2, padding=1),
    "same": lambda y, n, m: tg.conv2d(y, KERNEL, stride=2, padding="same", dilation=2),
    "double": lambda y, n, m: tg.conv_transpose2d(y, KERNEL, stride=2, padding=1),
    "flatten": lambda y, n, m: y.reshape(y.shape[0], 2, y.shape[2] * y.shape[3], 1),
    "turn": lambda y, n, m: y.transpose(0, 1, 3, 2),
}


@st.composite
def programs(draw: st.DrawFn) -> Any:
    """Return a function of two images, as its steps."""
    step = st.tuples(st.sampled_from([*STEPS]), lengths(), lengths())
    return draw(st.lists(step, min_size=1, max_size=4)), draw(st.booleans())


def interpreted(steps: Any, joins: bool) -> Callable[..., Any]:
    def function(x: Any, z: Any) -> Any:
        y = x

        def length(name: str, k: int, image: int, axis: int) -> int:
            return LENGTHS[name]((x, y, z)[image].shape[axis], k)

        for name, one, other in steps:
            y = STEPS[name](y, length(*one), length(*other))
        return (
            tg.concatenate([tg.interpolate(y, z.shape[2:], mode="bilinear"), z], 1) if joins else y
        )

    return function


def assert_program_is_right(program: Any, height: int, width: int, rows: int, columns: int) -> None:
    note(f"{program} {(height, width, rows, columns)}")
    function = interpreted(*program)

    def pair(n: int, h: int, w: int, r: int, c: int) -> tuple[np.ndarray, np.ndarray]:
        return images(n, 2, h, w), images(n, 2, r, c)

    example = pair(1, height, width, rows, columns)
    try:
        with np.errstate(all="ignore"):
            function(*map(tg.Tensor, example))
    except (ValueError, ZeroDivisionError):
        return
    others = [pair(*sizes) for sizes in OTHERS]
    event(f"exported: {assert_right_or_refused(function, example, others, dynamic=AXES)}")


SIDES = st.sampled_from([8, 12, 16, 9, 6])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(programs(), SIDES, SIDES, SIDES, SIDES)
def test_functions_of_sizes(program: Any, h: int, w: int, r: int, c: int) -> None:
    assert_program_is_right(program, h, w, r, c)


@lengthy
@settings(max_examples=1500, deadline=None)
@given(programs(), SIDES, SIDES, SIDES, SIDES)
def test_many_functions_of_sizes(program: Any, h: int, w: int, r: int, c: int) -> None:
    assert_program_is_right(program, h, w, r, c)
