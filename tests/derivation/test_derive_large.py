"""derive: long chains, many paths and deep models stay readable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.derived import network
from support.machine import lengthy

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.derivation import derive
from tinygrad_cnn.derivation.parts import Factor, Layer, PathSum
from tinygrad_cnn.derivation.symbols import Symbols, leaf_names


@lengthy
def test_a_chain_of_100_000_is_shown_without_its_middle() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = x
    for _ in range(100_000):
        y = y * 1.00001
    derivation = derive(y.sum(), x)
    page = str(derivation)
    assert len(page.splitlines()) < 80
    assert "99,985 more" in page
    assert derivation.agrees()
    del y, derivation


def test_diamonds_are_a_product_of_sums() -> None:
    x = tg.Tensor([0.1, 0.2], requires_grad=True, name="x")
    y = x
    for _ in range(40):
        y = tg.tanh(y) + y
    derivation = derive(y.sum(), x)
    assert derivation.paths == 2**40
    assert "1,099,511,627,776 paths" in str(derivation)
    for _ in range(5000):
        y = (y + y) * 0.5
    derivation = derive(y.sum(), x)
    assert derivation.paths == 2**5040
    assert "about 10¹⁵¹⁷ paths" in str(derivation)


@pytest.mark.parametrize("length", [7, 2000])
def test_a_weight_used_at_every_step_is_factored_line_by_line(length: int) -> None:
    w = tg.Tensor(np.random.default_rng(0).normal(size=(2, 2)) / 2, requires_grad=True, name="w")
    h = tg.Tensor(np.random.default_rng(0).normal(size=2))
    for _ in range(length):
        h = tg.tanh(w @ h)
    derivation = derive(h.sum(), w)
    assert derivation.paths == length
    (total,) = [item for item in derivation.product if isinstance(item, PathSum)]
    assert not total.terms
    assert str(total.lines[-1].bottom) == "w"
    assert len(total.lines[-1].terms) + total.lines[-1].more == length
    assert len(str(derivation).splitlines()) < 220
    assert derivation.agrees()


def test_lines_have_every_edge_once_however_the_paths_cross() -> None:
    x = tg.Tensor([0.5, 1.0], requires_grad=True, name="x")
    results = [x]
    for _ in range(4):  # each is computed from all before: 8 paths, no node in common
        total = results[0]
        for other in results[1:]:
            total = total + other
        results.append(tg.tanh(total))
    derivation = derive(results[-1].sum(), x)
    (total_sum,) = [item for item in derivation.product if isinstance(item, PathSum)]
    assert derivation.paths == total_sum.count == 8
    factors = [
        (f.top, f.bottom) for line in total_sum.lines for _, term in line.terms for f in term
        if isinstance(f, Factor)
    ]  # fmt: skip
    assert total_sum.more == 0
    assert len(factors) == len(set(factors)) > 8
    assert derivation.agrees()


def test_modules_fold() -> None:
    model = nn.LeNet5(rng=np.random.default_rng(0))
    loss = tg.cross_entropy(
        model(np.random.default_rng(0).normal(size=(2, 1, 28, 28)).astype("f4")), np.array([1, 7])
    )
    derivation = derive(loss, "conv1.weight", depth=1)
    names = [str(item.top) for item in derivation.product if isinstance(item, Layer)]
    assert names == [
        "fc3", "activation4", "fc2", "activation3", "fc1", "flatten", "pool2", "activation2",
        "conv2", "pool1", "activation1", "conv1",
    ]  # fmt: skip
    assert str(derivation.wrt) == "conv1.weight"
    whole = derive(loss, "conv1.weight")
    assert [str(item.top) for item in whole.layers if isinstance(item, Layer)] == names
    assert whole.product[-1].after == derivation.product[-1].after


def test_a_sum_of_paths_through_several_modules_stays_a_sum_when_they_fold() -> None:
    _, loss, _, _ = network("residual")
    *above, _, total, last = derive(loss, "stem.weight", depth=1).product
    assert isinstance(total, PathSum)
    assert [[str(item.top) for item in term] for term in total.terms] == [
        ["z³"], ["z³", "second", "α²", "first"],
    ]  # fmt: skip
    assert [str(item.top) for item in above] == ["E", "fc"]
    assert isinstance(last, Layer)
    assert (str(last.top), str(last.bottom)) == ("stem", "stem.weight")


def test_a_block_folds_whole_or_keeps_its_sum() -> None:
    class Block(nn.Module):
        def __init__(self, rng: np.random.Generator) -> None:
            self.first = nn.Linear(3, 3, rng=rng)

        def forward(self, x: Any) -> Any:
            return x + self.first(x)

    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(2, 3, rng=rng), Block(rng))
    loss = model(np.ones((2, 2), "f4")).sum()
    kinds = {
        depth: [type(item) for item in derive(loss, "0.weight", depth=depth).product]
        for depth in (0, 1, 2)
    }
    assert kinds == {
        0: [Factor, PathSum, Factor], 1: [Factor, Layer, Layer], 2: [Factor, PathSum, Layer],
    }  # fmt: skip


def test_a_deep_model_folds_by_itself() -> None:
    rng = np.random.default_rng(0)
    blocks = [nn.Sequential(nn.Linear(2, 2, rng=rng), nn.Tanh()) for _ in range(20)]
    model = nn.Sequential(*blocks)
    loss = model(np.random.default_rng(0).normal(size=(3, 2)).astype("f4")).sum()
    product = derive(loss, model[0][0].weight).product
    assert [str(item.top) for item in product[1:]] == [str(k) for k in range(19, -1, -1)]
    assert len(derive(loss, model[0][0].weight, depth=0).product) == 41


def test_a_module_called_again_is_numbered() -> None:
    _, loss, _, _ = network("a weight used twice")
    total = derive(loss, "cell.weight", depth=1).product[-1]
    assert isinstance(total, PathSum)
    assert {str(item.top) for term in total.terms for item in term if isinstance(item, Layer)} == {
        "cell", "cell (2)",
    }  # fmt: skip


def test_a_layer_of_a_deep_network_is_a_convolution_or_a_linear_map() -> None:
    """Its normalization, its activation and the sum with the shortcut belong to it."""
    model = nn.models.resnet20(rng=np.random.default_rng(0))
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("f4")
    loss = tg.cross_entropy(model(x), [1, 7])
    symbols = Symbols(loss.node, leaf_names(loss.node, {}), {})
    letters: dict[str, list[int | None]] = {}
    for _, parameter in model.named_parameters():
        symbol = symbols[parameter]
        letters.setdefault(symbol.name, []).append(symbol.number)
    layers = [k for k in letters["w"] if k is not None]
    assert layers == sorted(layers) == list(range(1, len(layers) + 1))
    assert letters["γ"] == letters["β"] == layers[:-1]  # all but the last are normalized
    assert max(symbol.number or 0 for symbol in map(symbols.__getitem__, symbols.places)
               if symbol.name in "zα") == len(layers)  # fmt: skip


def test_a_transposed_weight_begins_a_layer() -> None:
    rng = np.random.default_rng(0)
    first = nn.Parameter(rng.normal(size=(3, 2)))
    second = nn.Parameter(rng.normal(size=(4, 3)))
    loss = tg.sigmoid(tg.sigmoid([[1.0, 2.0]] @ first.T) @ second.T).sum()
    for weight, name in ((first, "w¹"), (second, "w²")):
        assert str(derive(loss, weight).wrt) == name
