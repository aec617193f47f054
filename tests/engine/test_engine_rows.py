"""Rows taken and added back, and images resampled, in every memory order and in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images as cell_by_cell
from support.convolving import Strides

import tinygrad_cnn as tg
from tinygrad_cnn.engine import planes, resampling, rows, threads

ORDERS = [(0, 1, 2, 3), (2, 3, 1, 0), (0, 2, 3, 1), (3, 1, 0, 2)]


@pytest.fixture(params=[1 << 7, 1 << 20], ids=["pieces", "whole"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Cut small arrays into pieces, computed on several threads, and then not."""
    for module in (planes, rows):
        monkeypatch.setattr(module, "PIECE", request.param)
    monkeypatch.setattr(threads, "SMALL", 0)
    monkeypatch.setattr(threads, "WORTH", 0)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("axis", range(4))
def test_rows_are_those_of_numpy(axis: int, order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = np.ascontiguousarray(rng.standard_normal((4, 6, 5, 7)).transpose(order))
    x = x.transpose(np.argsort(order))
    n = x.shape[axis]
    for numbers in (np.arange(n), np.arange(n)[::-1], rng.integers(-n, n, 9), np.arange(2 * n) // 2,
                    np.arange(0, n, 2), rng.integers(0, n, 60), np.array([-1]),
                    np.array([], int)):  # fmt: skip
        expected = np.take(x, numbers, axis)
        u = rng.standard_normal(expected.shape)
        adjoint = np.zeros_like(x)
        np.add.at(adjoint, (*(slice(None),) * axis, numbers), u)
        with tg.engine.options(poison=True):
            taken, added = rows.take(x, numbers, axis), rows.put(u, numbers, axis, n)
        np.testing.assert_array_equal(taken, expected)
        assert taken.transpose(order).flags.c_contiguous
        if numbers.size:
            np.testing.assert_allclose(added, adjoint, rtol=1e-14, atol=1e-14)
    for outside in (n, -n - 1):
        with pytest.raises(IndexError):
            rows.take(x, np.array([outside]), axis)
        assert rows.put(u, np.array([outside]), axis, n) is None
    assert rows.put(u, np.zeros(rows.TURNS + 1, int), axis, n) is None


@pytest.mark.usefixtures("pieces")
def test_values_of_a_vector_are_added_back_at_their_numbers() -> None:
    numbers = np.random.default_rng(0).integers(-500, 500, 900)
    u = np.random.default_rng(1).standard_normal(900)
    expected = np.zeros(500)
    np.add.at(expected, numbers, u)
    with tg.engine.options(poison=True):
        np.testing.assert_allclose(rows.put(u, numbers, 0, 500), expected, rtol=1e-13, atol=1e-13)


def banded(n: int, m: int, mode: str, adjoint: bool) -> tuple[Any, Any]:
    """Return a matrix of weights in float64, dense and in blocks."""
    weights = np.array([cell_by_cell.RESIZED[mode](unit, m, n / m, False) for unit in np.eye(n)]).T
    matrix = weights.T if adjoint else weights
    used = np.nonzero(matrix)
    return matrix, resampling.BandedMatrix(matrix.shape, *used, matrix[used], "f4")


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 40, 36), (9, 4, 11, 70), (1, 2, 9, 8), (0, 2, 3, 4)])
def test_resampling_is_the_product_with_dense_matrices(
    shape: tuple[int, ...], adjoint: bool, order: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    for mode, size in (
        ("bilinear", (33, 71)), ("bicubic", (6, 80)), ("area", (7, 9)),
        ("bilinear", (40, 70)),  # one axis of these keeps its size
    ):  # fmt: skip
        of_rows, of_columns = (
            banded(*((m, n) if adjoint else (n, m)), mode, adjoint)
            for n, m in zip(shape[2:], size, strict=True)
        )
        x = np.ascontiguousarray(rng.standard_normal(shape, "f4").transpose(order))
        x = x.transpose(np.argsort(order))
        expected = of_rows[0] @ x.astype("f8") @ of_columns[0].T
        with tg.engine.options(poison=True):
            y = resampling.resampled(x, of_rows[1], of_columns[1])
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, expected, atol=2e-5)
        pixels = np.clip(np.rint(60 * x + 128), 0, 255).astype("u1")
        rounded = resampling.resampled(pixels, of_rows[1], of_columns[1])
        assert rounded.dtype == np.uint8
        exact = of_rows[0] @ pixels.astype("f8") @ of_columns[0].T
        np.testing.assert_allclose(rounded, exact.clip(0, 255), atol=0.5 + 1e-4)
        half = resampling.resampled(x.astype("f2"), of_rows[1], of_columns[1])
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, expected, atol=0.05)


@given(numbers=st.lists(st.integers(-5, 4), min_size=1, max_size=12), axis=st.integers(0, 2))
def test_a_gradient_of_rows_is_the_adjoint(numbers: list[int], axis: int) -> None:
    index = (*(slice(None),) * axis, np.array(numbers))
    leaf = tg.Tensor(np.arange(125.0).reshape(5, 5, 5), requires_grad=True)
    y = leaf[index]
    u = np.random.default_rng(0).standard_normal(y.shape)
    expected = np.zeros(leaf.shape)
    np.add.at(expected, index, u)
    np.testing.assert_allclose(tg.grad(y, leaf, gradient=u)[0], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS[:3], ids=str)
def test_ops_that_move_pixels_keep_the_layout_of_images(order: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal((20, 16, 6, 4))
    border = ((0, 0), (0, 0), (1, 2), (2, 0))
    functions = [
        *(lambda x, m=mode: tg.pad(x, border, m) for mode in ("constant", "reflect", "wrap")),
        *(lambda x, m=mode: tg.interpolate(x, (9, 5), mode=m) for mode in ("nearest", "bilinear")),
        lambda x: tg.adaptive_avgpool(x, (4, 3)),
        lambda x: tg.adaptive_maxpool(x, (4, 3)),
        lambda x: tg.pixel_shuffle(x, 2),
        lambda x: tg.pixel_unshuffle(x, 2),
    ]
    for function in functions:
        plain = tg.Tensor(x, requires_grad=True)
        images = Strides(order, (1,) * 4).tensor(x)
        expected, y = function(plain), function(images)
        np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-14, atol=1e-14)
        assert y.numpy().transpose(order).flags.c_contiguous
        u = np.random.default_rng(1).standard_normal(y.shape)
        for a, b in zip(
            tg.grad(y, images, gradient=u), tg.grad(expected, plain, gradient=u), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def test_rows_of_a_narrow_integer_type_are_taken_and_added_back() -> None:
    x = tg.Tensor(np.zeros((300, 2), "f4"), requires_grad=True)
    x[np.array([0, 3], np.uint8)].sum().backward()
    assert np.asarray(x.grad).sum() == 4
