"""A model after its export: its modes, attributes and buffers are as before."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from support.exported_files import outputs

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch
from tinygrad_cnn import nn

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


class Keeping(nn.Module):
    """Keeps what it computes, and counts its calls."""

    def __init__(self) -> None:
        self.linear, self.seen = nn.Linear(3, 3), tg.Tensor(np.zeros(3, np.float32))
        self.features: Any = None
        self.calls, self.history, self.table = 0, [], {"last": None}

    def forward(self, x: Any) -> Any:
        self.features = self.linear(x)
        self.calls += 1
        self.history.append(self.features)
        self.table["last"] = self.features
        self.seen.data[...] += 1
        return tg.relu(self.features)


def test_attributes_and_buffers_are_as_before() -> None:
    model = Keeping()
    model(X)
    features, history = model.features, model.history
    tg.onnx.export(model, X)
    assert model.calls == 1
    assert model.features is features
    assert model.history is history
    assert len(history) == 1
    assert history[0] is features
    assert model.table == {"last": features}
    assert model.seen.numpy().tolist() == [1, 1, 1]
    pickle.dumps(model.state_dict())


def test_buffers_that_are_changed_in_place_are_as_before() -> None:
    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            self.count += 1
            return x * 2.0

    model = Counting()
    count = model.count
    tg.onnx.export(model, torch.tensor(X))
    assert model.count is count
    assert type(count) is torch.Tensor
    assert count.tolist() == [0.0]
    assert [*model.state_dict()] == ["count"]


def test_hooks_may_keep_what_they_get() -> None:
    net, kept = nn.Sequential(nn.Linear(3, 3)), []
    net.register_forward_hook(lambda module, inputs, output: kept.append(output))
    tg.onnx.export(net, X)
    np.testing.assert_allclose(kept[0].numpy(), net(X).numpy(), rtol=1e-6)


class Fusing(nn.Module):
    """Prepares something in its own `train`."""

    def __init__(self) -> None:
        self.linear, self.fused = nn.Linear(3, 3), False

    def train(self, mode: bool = True) -> Any:
        self.fused = not mode
        return super().train(mode)

    def forward(self, x: Any) -> Any:
        return self.linear(x) + (0.0 if self.fused else 1.0)


def test_eval_mode_is_set_as_the_model_does_it() -> None:
    model = Fusing()
    file = tg.onnx.export(model.train(), X)
    assert model.training
    assert not model.fused
    np.testing.assert_allclose(outputs(file, X)[0], model.eval()(X).numpy(), atol=1e-6)


def test_modes_are_each_module_s_own_also_after_an_error() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)).train()
    net[1].eval()
    for example in (X, X[:, :2]):
        if example is X:
            tg.onnx.export(net, example)
        else:
            with pytest.raises(ValueError, match="linear"):
                tg.onnx.export(net, example)
        assert [module.training for module in net.modules()] == [True, True, False, True]


def test_modules_without_sizes_keep_those_of_the_first_call() -> None:
    net = nn.Sequential(nn.Linear(None, 3), nn.Dropout(0.5)).train()
    file = tg.onnx.export(net, X)
    assert net.training
    assert net[0].training
    np.testing.assert_allclose(outputs(file, X)[0], net.eval()(X).numpy(), atol=1e-6)


def test_threads_export_one_model_in_turn() -> None:
    started, other_started, ended = threading.Event(), threading.Event(), threading.Event()

    class Waiting(nn.Module):
        def forward(self, x: Any) -> Any:
            if threading.current_thread() is second:
                other_started.set()
                assert ended.wait(10)  # without a lock: restores the mode after the first export
            else:
                started.set()
                other_started.wait(0.1)
            return x * 2.0

    model = Waiting().train()
    first, second = (threading.Thread(target=tg.onnx.export, args=(model, X)) for _ in range(2))
    first.start()
    assert started.wait(10)
    second.start()
    first.join()
    ended.set()
    second.join()
    assert model.training
