"""einsum for every form of subscripts, at real sizes, and its messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.composed import SUBSCRIPTS

import tinygrad_cnn as tg

LENGTHS = dict(zip("abcdehijklnoqw", (3, 2, 4, 5, 6, 3, 4, 5, 3, 2, 2, 3, 5, 4), strict=True))


@pytest.mark.parametrize("subscripts", [*SUBSCRIPTS, " ij , jk -> ik "])
def test_einsum_is_numpys_and_its_gradient_the_adjoint(subscripts: str) -> None:
    rng = np.random.default_rng(0)
    terms = subscripts.replace(" ", "").partition("->")[0].split(",")
    arrays = []
    for term in terms:
        before, dots, behind = term.partition("...")
        rest = (7, 2) if dots else ()
        shape = (*(LENGTHS[k] for k in before), *rest, *(LENGTHS[k] for k in behind))
        arrays.append(rng.standard_normal(shape))
    leaves = [tg.Tensor(array, requires_grad=True) for array in arrays]
    y = tg.einsum(subscripts, *leaves)
    expected = np.einsum(subscripts, *arrays)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(tg.einsum(subscripts, *arrays), expected, atol=1e-12)
    g = rng.standard_normal(y.shape)
    for k, gradient in enumerate(tg.grad(y, leaves, gradient=g)):  # linear in each operand
        u = rng.standard_normal(arrays[k].shape)
        moved = np.einsum(subscripts, *arrays[:k], u, *arrays[k + 1 :])
        np.testing.assert_allclose(np.sum(gradient * u), np.sum(moved * g), atol=1e-10)


def test_einsum_repeats_axes_of_length_1() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(4.0).reshape(1, 4)
    np.testing.assert_array_equal(
        tg.einsum("...i,ij->...j", a, np.ones((1, 4))),
        np.einsum("...i,ij->...j", a, np.ones((1, 4))),
    )
    assert tg.einsum("...,...->...", a[:, :, None], b).shape == (2, 3, 4)


def test_einsum_at_the_size_of_an_attention_layer_keeps_float32() -> None:
    rng = np.random.default_rng(0)
    q, k = (rng.standard_normal((64, 49, 4, 16)).astype(np.float32) for _ in range(2))
    leaves = [tg.Tensor(x, requires_grad=True) for x in (q, k)]
    y = tg.einsum("bqhd,bkhd->bhqk", *leaves)
    assert y.dtype == np.float32
    exact = np.matmul(q.transpose(0, 2, 1, 3).astype(float), k.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(y.numpy(), exact, atol=2e-5)
    (gradient, _) = tg.grad(y.sum(), leaves)
    np.testing.assert_allclose(
        gradient, np.broadcast_to(k.sum(1, keepdims=True), q.shape), atol=1e-4
    )


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "2 terms for 1 operands"),
        ("ij", [(2, 3, 4)], r"term 'ij' .* operand 0, which has 3 axes"),
        ("ij...", [(2,)], "does not fit operand 0"),
        ("ij,jk", [(2, 3), (4, 5)], "index j has length 3 and 4"),
        ("ij->iji", [(2, 3)], "a letter twice"),
        ("ij->k", [(2, 3)], "one that no operand has"),
        ("i.j", [(2, 3)], "expected letters"),
        ("i->j->i", [(2,)], "expected letters"),
    ],
)
def test_bad_subscripts_are_refused(subscripts: str, shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"einsum: .*{message}"):
        tg.einsum(subscripts, *(np.zeros(shape) for shape in shapes))
