"""A capture refuses what a replay could not know: with the line, and what to do instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

X = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")


class Setting:
    """What the refused steps work on."""

    def __init__(self) -> None:
        tg.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(3)
        self.optimizer = optim.SGD(self.layer.parameters(), 0.1)
        self.table = nn.Embedding(5, 2)
        self.mask = np.ones((4, 3), bool)


def loss_of(s: Setting, x: Any) -> tg.Tensor:
    y: tg.Tensor = s.layer(s.norm(x))
    return (y * y).mean()


def item(s: Setting, x: Any) -> Any:
    loss = loss_of(s, x)
    return loss * loss.item()  # refused


def to_bool(s: Setting, x: Any) -> Any:
    y = s.layer(x)
    if y.sum() > 0:  # refused
        return y
    return -y


def to_float(s: Setting, x: Any) -> Any:
    return s.layer(x) * float(loss_of(s, x))  # refused


def to_int(s: Setting, x: Any) -> Any:
    return s.layer(x)[int(loss_of(s, x)) :]  # refused


def to_numpy(s: Setting, x: Any) -> Any:
    return s.layer(x).numpy() + 1  # refused


def its_data(s: Setting, x: Any) -> Any:
    return tg.relu(s.layer(x).data * 2)  # refused


def as_array(s: Setting, x: Any) -> Any:
    return np.asarray(s.layer(x)) + 1  # refused


def as_text(s: Setting, x: Any) -> Any:
    return str(s.layer(x))  # refused


def contained(s: Setting, x: Any) -> Any:
    return s.layer(x) if 1.0 in s.layer(x) else x  # refused


def a_value_of_the_input(s: Setting, x: Any) -> Any:
    return s.layer(x) * x[0, 0]  # refused


def numpy_of_the_input(s: Setting, x: Any) -> Any:
    return s.layer(np.square(x))  # refused


def a_method_of_the_input(s: Setting, x: Any) -> Any:
    return s.layer(x) - x.mean()  # refused


def a_protocol_of_the_input(s: Setting, x: Any) -> Any:
    return s.layer(x) - np.from_dlpack(x)[0, 0]  # refused


def an_input_that_is_written_to(s: Setting, x: Any) -> Any:
    x *= 2  # refused
    return s.layer(x)


def a_drawn_mask(s: Setting, x: Any) -> Any:
    return s.layer(x * np.random.default_rng().random((4, 3)))  # refused


def an_array_of_somewhere(s: Setting, x: Any) -> Any:
    return s.layer(tg.where(s.mask, x, 0.0))  # refused


def a_drawn_order(s: Setting, x: Any) -> Any:
    return s.layer(x[np.random.default_rng().permutation(4)])  # refused


def drawn_indices(s: Setting, x: Any) -> Any:
    return tg.take(s.layer(x), np.random.default_rng().permutation(4), 0)  # refused


def drawn_targets(s: Setting, x: Any) -> Any:
    return tg.nll(s.layer(x), np.random.default_rng().integers(0, 2, 4))  # refused


def drawn_numbers_of_an_embedding(s: Setting, x: Any) -> Any:
    return s.layer(x) * s.table(np.random.default_rng().integers(0, 5, 4))  # refused


def a_tensor_of_a_drawn_array(s: Setting, x: Any) -> Any:
    return s.layer(x) + tg.Tensor(np.random.default_rng().random((4, 2), "f4"))  # refused


def a_parameter_that_is_set(s: Setting, x: Any) -> Any:
    y = s.layer(x)
    s.layer.bias.data[...] = 0  # refused
    return y


def a_parameter_that_is_moved(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    s.layer.bias.data -= 0.1 * s.layer.bias.grad  # refused


def a_buffer_that_is_changed(s: Setting, x: Any) -> Any:
    s.norm.running_mean.data *= 0.5  # refused
    return s.norm(x)


def a_buffer_that_is_read(s: Setting, x: Any) -> Any:
    return x * s.norm.running_mean.numpy()[0]  # refused


def a_gradient_that_is_read(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    return np.abs(s.layer.weight.grad).max()  # refused


def a_gradient_that_is_changed(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    s.layer.weight.grad *= 0.5  # refused


def a_gradient_that_is_set(s: Setting, x: Any) -> Any:
    s.layer.weight.grad = np.ones((2, 3), "f4")  # refused
    return s.layer(x)


def second_order(s: Setting, x: Any) -> Any:
    loss = loss_of(s, x)
    return tg.grad(loss, s.layer.weight, create_graph=True)[0]  # refused


def second_order_backward(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward(create_graph=True)  # refused


def a_hook(s: Setting, x: Any) -> Any:
    y = s.layer(x)
    y.register_hook(lambda g: 2 * g)  # refused
    y.sum().backward()


def a_norm_that_decides(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    norm = optim.clip_grad_norm_(s.layer.parameters(), 1.0)
    if norm < 100.0:  # refused
        s.optimizer.step()


def a_learning_rate_that_is_set(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    s.optimizer.lr *= 0.5  # refused
    s.optimizer.step()


def a_rate_of_a_group_that_is_set(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    s.optimizer.param_groups[0]["lr"] = 0.5  # refused
    s.optimizer.step()


def a_second_seed(s: Setting, x: Any) -> Any:
    tg.manual_seed(0)  # refused
    return s.layer(x)


def a_flag_that_stays_changed(s: Setting, x: Any) -> Any:
    loss_of(s, x).backward()
    s.optimizer.step()  # refused
    s.layer.requires_grad_(False)


def a_new_parameter(s: Setting, x: Any) -> Any:
    return nn.Linear(3, 2)(x)  # refused


def a_step_of_several_evaluations(s: Setting, x: Any) -> Any:
    optimizer = optim.LBFGS(s.layer.parameters())
    return optimizer.step(lambda: loss_of(s, x))  # refused


STEPS: list[Callable[[Setting, Any], Any]] = [
    step
    for step in list(globals().values())
    if inspect.isfunction(step) and "# refused" in inspect.getsource(step)
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_step_is_refused(step: Callable[[Setting, Any], Any]) -> None:
    s = Setting()
    compiled = tg.compile(lambda x: step(s, x))
    lines, start = inspect.getsourcelines(step)
    (at,) = [start + k for k, line in enumerate(lines) if "# refused" in line]
    with pytest.raises(tg.compiler.CompileError) as caught:
        compiled(X)
    message = str(caught.value)
    assert f"{Path(__file__).name}:{at}" in message.replace(", line ", ":"), message
    assert len(message.split()) > 12, f"no advice: {message}"


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_refused_step_leaves_the_state_usable(step: Callable[[Setting, Any], Any]) -> None:
    """After a refusal, recording, effects and hidden arrays are as before: eager code goes on."""
    s = Setting()
    with pytest.raises(tg.compiler.CompileError):
        tg.compile(lambda x: step(s, x))(X)
    s = Setting()
    loss = loss_of(s, X)
    loss.backward()
    s.optimizer.step()
    assert float(loss) > 0
    assert type(s.layer.weight.grad) is np.ndarray
    assert type(s.layer.weight.data + 0) is np.ndarray
    assert not tg.core.recording.recording.get().observers


def test_a_hook_on_a_gradient_is_refused_by_name() -> None:
    s = Setting()
    s.layer.weight.register_hook(lambda g: 2 * g)
    step = tg.compile(lambda x: loss_of(s, x).backward())
    with pytest.raises(
        tg.CompileError, match=r"a hook on the gradient of weight of shape \(2, 3\)"
    ):
        step(X)


def test_arguments_that_a_replay_could_not_take_are_refused_by_type() -> None:
    class Pair:
        def __init__(self) -> None:
            self.x = X.copy()

    with pytest.raises(tg.CompileError, match="an argument of type Pair: pass the arrays in it"):
        tg.compile(lambda pair: tg.relu(tg.Tensor(pair.x)))(Pair())
    with pytest.raises(tg.CompileError, match="gets a generator, which each call would exhaust"):
        tg.compile(lambda batch: tg.relu(tg.Tensor(next(batch))))(x for x in [X])


def test_a_refusal_after_an_update_says_that_it_stays() -> None:
    s = Setting()

    def step(x: Any) -> Any:
        loss = loss_of(s, x)
        loss.backward()
        s.optimizer.step()
        return loss.item()

    with pytest.raises(tg.CompileError) as caught:
        tg.compile(step)(X)
    assert "stays changed" in "".join(caught.value.__notes__)
    with pytest.raises(tg.CompileError) as caught:
        tg.compile(lambda x: to_bool(s, x))(X)
    assert not hasattr(caught.value, "__notes__")


def test_the_line_of_a_step_with_the_name_of_the_function_that_calls_it() -> None:
    def call_user_code(x: Any) -> Any:
        return tg.relu(x * 2.0)

    step = tg.compile(call_user_code)
    step(tg.Tensor(X))
    line = call_user_code.__code__.co_firstlineno + 1
    assert {i.line for i in step.program().instructions} == {f"{__file__}, line {line}"}
