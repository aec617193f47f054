"""Losses as modules: what holds for each of them. `test_pytorch.py` compares the values."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from support.pytorch_recorded import LOSSES, examples

import tinygrad_cnn as tg
from tinygrad_cnn import nn

CLASSES = sorted(name for name in nn.__all__ if name.endswith("Loss"))


def call(name: str, dtype: str = "f8") -> tuple[nn.Module, tg.Tensor, list[Any]]:
    make, kind = LOSSES[name]
    x, *others = examples(kind)
    return make(nn, np.array), tg.Tensor(x.astype(dtype), requires_grad=True), others


def test_every_loss_is_compared_with_pytorchs() -> None:
    assert {f"{name.partition('-')[0]}Loss" for name in LOSSES} == set(CLASSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_float32_and_its_gradient_are_float32(name: str) -> None:
    """The other arguments are float64."""
    loss, x, others = call(name, "f4")
    y = loss(x, *others)
    (slope,) = tg.grad(y.sum(), x)
    assert (y.dtype, slope.dtype) == (np.float32, np.float32)
    loss64, x64, _ = call(name)
    np.testing.assert_allclose(y.numpy(), loss64(x64, *others).numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, (_, kind) in LOSSES.items() if kind != "images"])
def test_the_sum_of_no_examples_is_0_and_their_mean_is_refused(name: str) -> None:
    loss, x, others = call(name)
    empty = x[:0], *(other[:0] for other in others)
    loss.weight = loss.pos_weight = None
    loss.reduction = "sum"
    assert loss(*empty).item() == 0.0
    loss.reduction = "mean"
    with pytest.raises(ValueError, match="nothing to average"):
        loss(*empty)


@pytest.mark.parametrize("name", CLASSES)
def test_a_wrong_reduction_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: reduction is 'average', expected one of 'mean'"):
        getattr(nn, name)(reduction="average")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.SmoothL1Loss(beta=-1.0), "SmoothL1Loss: beta is -1.0"),
        (lambda: nn.HuberLoss(delta=0.0), "HuberLoss: delta is 0.0"),
        (lambda: nn.TripletMarginLoss(-1.0), "TripletMarginLoss: margin is -1.0"),
        (lambda: nn.TripletMarginLoss(p=0.5), "TripletMarginLoss: p is 0.5"),
        (lambda: nn.CosineEmbeddingLoss(1.5), "CosineEmbeddingLoss: margin is 1.5"),
        (lambda: tg.triplet_margin([[1.0]], [[1.0]], [1.0]), r"triplet_margin: .* \(1,\)\], exp"),
        (lambda: tg.cosine_embedding([[1.0]], [[1.0]], [0]), r"target\[0\] is 0, expected 1 or -1"),
        (lambda: tg.cosine_embedding([[1.0]], [[1.0]], 1), r"target \(\), expected \(N, D\)"),
        (lambda: nn.KLDivLoss(log_target=1), "KLDivLoss: log_target is 1"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "CrossEntropyLoss: label_smoothing is 2"),
        (lambda: nn.CrossEntropyLoss([[1.0]]), r"weight is float64 of shape \(1, 1\), expected"),
        (lambda: nn.BCELoss("a"), "BCELoss: weight is <U1 of shape"),
        (lambda: nn.L1Loss()(tg.Tensor([1.0]), [[1.0]]), r"l1: prediction has shape \(1,\) but"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused_by_class_and_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_are_buffers_and_copies() -> None:
    given = np.array([1.0, 2.0])
    loss = nn.BCEWithLogitsLoss(given, pos_weight=[3, 4])
    given[:] = 0.0
    assert loss.weight.numpy().tolist() == [1.0, 2.0]
    assert {name: array.dtype.name for name, array in loss.state_dict().items()} == {
        "weight": "float64", "pos_weight": "float32",
    }  # fmt: skip
    assert list(loss.parameters()) == []
    again = copy.deepcopy(loss)
    again.load_state_dict({"weight": np.ones(2), "pos_weight": np.ones(2, "f4")})
    assert loss.pos_weight.numpy().tolist() == [3.0, 4.0]
    assert repr(loss) == "BCEWithLogitsLoss()"
    assert repr(nn.HuberLoss(delta=2.0)) == "HuberLoss(delta=2.0)"
