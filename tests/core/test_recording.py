"""What decides whether a call is recorded, under which name, and who watches."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg


def records() -> bool:
    return (tg.Tensor(1.0, requires_grad=True) * 2).requires_grad


def test_no_grad_records_nothing() -> None:
    w = tg.Tensor(3.0, requires_grad=True)
    with tg.no_grad():
        y = w * 2
    assert y.node is None
    assert not y.requires_grad
    assert records()


def test_enable_grad_records_again_inside() -> None:
    with tg.no_grad():
        with tg.enable_grad():
            assert records()
            with tg.no_grad():
                assert not records()
            assert records()
        assert not records()
    assert records()


def test_the_state_survives_exceptions() -> None:
    with tg.no_grad():
        with pytest.raises(ZeroDivisionError), tg.enable_grad(), tg.scope("a"), tg.no_grad():
            raise ZeroDivisionError
        assert not records()
        with pytest.raises(ValueError, match="broadcast"):
            tg.add(tg.Tensor([1.0, 2.0]), tg.Tensor([1.0, 2.0, 3.0]))
        assert not records()
    assert records()


def test_a_sweep_is_recorded_only_if_asked_and_leaves_the_state_alone() -> None:
    x = tg.Tensor(2.0, requires_grad=True)
    y = x * x * x
    with tg.no_grad():
        (recorded,) = tg.grad(y, x, create_graph=True)
        assert recorded.requires_grad
        assert not records()
        (plain,) = tg.grad(y, x, retain_graph=True)
        assert not records()
    assert isinstance(plain, np.ndarray)
    assert tg.grad(recorded, x) == [12]


def test_detach_is_a_copy_without_graph() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    for source in (x, y):
        cut = source.detach()
        assert not cut.requires_grad
        assert cut.node is None
        assert not np.shares_memory(cut.data, source._array)
    (gradient,) = tg.grad((x * y.detach()).sum(), x)
    np.testing.assert_array_equal(gradient, [1, 4])


def test_no_grad_holds_in_its_thread_only() -> None:
    """Two threads, each in turn: the one inside no_grad() while the other records."""
    inside, done = threading.Event(), threading.Event()
    seen: dict[str, bool] = {}

    def without() -> None:
        with tg.no_grad(), tg.scope("thread"):
            inside.set()
            done.wait(10)
            seen["without"] = records()

    def recording() -> None:
        inside.wait(10)
        seen["with"] = records()
        seen["scope"] = bool((tg.Tensor(1.0, requires_grad=True) * 2).node.scope)
        done.set()

    threads = [threading.Thread(target=run) for run in (without, recording)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == {"without": False, "with": True, "scope": False}
    assert records()


def test_no_grad_holds_in_its_task_only() -> None:
    async def without(entered: asyncio.Event, left: asyncio.Event) -> bool:
        with tg.no_grad():
            entered.set()
            await left.wait()
            return records()

    async def recording(entered: asyncio.Event, left: asyncio.Event) -> bool:
        await entered.wait()
        result = records()
        left.set()
        return result

    async def both() -> list[bool]:
        events = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(without(*events), recording(*events))

    assert asyncio.run(both()) == [False, True]


def test_graphs_of_several_threads_do_not_meet() -> None:
    results: dict[int, float] = {}
    barrier = threading.Barrier(4)

    def work(k: int) -> None:
        x = tg.Tensor(float(k), requires_grad=True, dtype="f8")
        barrier.wait(10)
        y = x
        for _ in range(200):
            y = y + x * 0.5
        y.backward()
        results[k] = float(x.grad)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == dict.fromkeys(range(4), 101.0)


# --- scopes --------------------------------------------------------------------------------------


def test_nodes_know_the_scope_they_were_made_in() -> None:
    x = tg.Tensor(1.0, requires_grad=True)
    with tg.scope("features"):
        a = x * 2
        with tg.scope("0"), tg.scope(""):
            b = a * 2
        c = b * 2
    d = c * 2
    assert [t.node.scope for t in (a, b, c, d)] == ["features", "features.0", "features", ""]
    assert "features.0" in str(b.node)


# --- observers -----------------------------------------------------------------------------------


class Log(tg.Observer):
    def __init__(self) -> None:
        self.forwards: list[tg.ForwardEvent] = []
        self.backwards: list[tg.BackwardEvent] = []

    def forward(self, event: tg.ForwardEvent) -> None:
        self.forwards.append(event)

    def backward(self, event: tg.BackwardEvent) -> None:
        self.backwards.append(event)


def test_observers_see_calls_in_order_and_the_sweep_in_reverse() -> None:
    log = Log()
    x = tg.Tensor(0.5, requires_grad=True)
    with tg.observe(log):
        y = tg.exp(tg.tanh(x * 2))
        y.backward()
    assert [event.op.name for event in log.forwards] == ["mul", "tanh", "exp"]
    assert [event.node for event in log.backwards] == [e.node for e in reversed(log.forwards)]


def test_a_forward_event_says_everything_about_the_call() -> None:
    log = Log()
    x, c = tg.Tensor([3.0, 1.0], requires_grad=True), tg.Tensor([1.0, 1.0])
    with tg.observe(log), tg.scope("layer"):
        h = x * c
        y = tg.softmax(h, temperature=2.0)
        tg.clip(y.detach(), 0.0)
    mul, softmax, clip = log.forwards
    assert mul.sources == (x, c)
    assert mul.output is h._array
    assert mul.node is h.node
    assert softmax.sources == (h.node,)
    assert softmax.arguments["x"] is h._array
    assert (softmax.arguments["axis"], softmax.arguments["temperature"]) == (-1, 2.0)
    assert (softmax.scope, softmax.error) == ("layer", None)
    assert softmax.seconds >= 0
    assert clip.node is None  # nothing wanted a gradient


def test_a_backward_event_says_what_flowed_in_and_out() -> None:
    log = Log()
    x, w = tg.Tensor([3.0, 1.0], requires_grad=True), tg.Tensor([2.0, 5.0], requires_grad=True)
    y = x * w
    with tg.observe(log):
        y.backward([1.0, 10.0])
    (event,) = log.backwards
    assert event.node is y.node
    np.testing.assert_array_equal(event.gradient, [1, 10])
    (to_x, dx), (to_w, dw) = event.contributions
    assert to_x is x
    assert to_w is w
    np.testing.assert_array_equal(dx, [2, 50])
    np.testing.assert_array_equal(dw, [3, 10])


def test_a_recorded_sweep_is_seen_as_backward_and_as_forward() -> None:
    log = Log()
    x = tg.Tensor(2.0, requires_grad=True)
    y = tg.exp(x)
    with tg.observe(log):
        tg.grad(y, x, create_graph=True)
    assert [event.node.op.name for event in log.backwards] == ["exp"]
    assert isinstance(log.backwards[0].gradient, tg.Tensor)
    assert [event.op.name for event in log.forwards] == ["mul"]


@pytest.mark.parametrize(
    "call",
    [lambda x: tg.reshape(x, (7,)), lambda x: x + np.ones(3), lambda x: tg.softmax(x, 5)],
)
def test_a_failed_call_is_seen_with_its_error(call: Callable[[tg.Tensor], Any]) -> None:
    log = Log()
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with (
        tg.observe(log),
        tg.scope("head"),
        pytest.raises(ValueError, match=r"reshape|add|softmax") as raised,
    ):
        call(x)
    (event,) = log.forwards
    assert event.error is raised.value
    assert event.output is None
    assert event.node is None
    assert event.scope == "head"


def test_observers_see_only_what_happens_inside_and_each_sees_all() -> None:
    outer, inner = Log(), Log()
    x = tg.Tensor(1.0, requires_grad=True)
    x * 1
    with tg.observe(outer):
        x * 2
        with tg.observe(inner):
            x * 3
        x * 4
    x * 5
    assert len(outer.forwards) == 3
    assert len(inner.forwards) == 1


def test_observers_get_the_gradients_of_leaves_of_each_sweep() -> None:
    class Swept(tg.Observer):
        def swept(self, gradients: Any, *, accumulates: bool) -> None:
            seen.append((accumulates, {t.name: g.tolist() for t, g in gradients.items()}))

    seen: list[Any] = []
    x, w = (tg.Tensor([2.0], requires_grad=True, name=name) for name in "xw")
    y = x * x
    with tg.observe(Swept()):
        tg.grad(y * w, [y, w])
        (x * w).backward()
        (x * 1.0).backward()
    assert seen == [
        (False, {"w": [4.0]}),
        (True, {"x": [2.0], "w": [2.0]}),
        (True, {"x": [3.0]}),
    ]


def test_a_copied_scope_is_a_name() -> None:
    with tg.scope("outer"), tg.scope("head"):
        scope = tg.tanh(tg.Tensor(1.0, requires_grad=True)).node.scope
    copied = copy.deepcopy(scope)
    assert (type(copied), copied) == (str, "outer.head")


def test_calls_on_arrays_alone_are_not_seen() -> None:
    log = Log()
    with tg.observe(log):
        tg.exp(np.ones(2))
    assert log.forwards == []


def test_an_observer_that_raises_ends_the_sweep_and_changes_no_grad() -> None:
    class Stop(tg.Observer):
        def backward(self, event: tg.BackwardEvent) -> None:
            raise KeyboardInterrupt

    x = tg.Tensor(1.0, requires_grad=True)
    y = tg.exp(x * 2)
    with pytest.raises(KeyboardInterrupt), tg.observe(Stop()):
        y.backward()
    assert x.grad is None
    assert records()


# --- where a NaN was born ------------------------------------------------------------------------


def test_the_first_nan_of_a_forward_is_named() -> None:
    x = tg.Tensor([[1.0, 0.0], [2.0, -1.0]], requires_grad=True, name="x")
    quiet = np.errstate(invalid="ignore")
    with quiet, pytest.raises(tg.NaNError) as raised, tg.detect_nan(), tg.scope("fc2"):
        tg.exp(tg.sqrt(x))
    message = str(raised.value)
    for part in ("forward of `sqrt`", "`fc2`", "test_recording.py:", "[1, 1]"):
        assert part in message


def test_the_first_nan_of_a_backward_is_named_with_the_line_of_the_call() -> None:
    x = tg.Tensor([1.0, 0.0], requires_grad=True)
    with np.errstate(all="ignore"), pytest.raises(tg.NaNError) as raised, tg.detect_nan():
        (tg.sqrt(x) * 0.0).sum().backward()
    message = str(raised.value)
    for part in ("backward of `sqrt`", "test_recording.py:", "[1]"):
        assert part in message
    assert x.grad is None


def test_infinities_are_watched_for_on_request() -> None:
    x = tg.Tensor([0.0], requires_grad=True)
    with np.errstate(all="ignore"):
        with tg.detect_nan():
            tg.log(x)
        infinity = pytest.raises(tg.NaNError, match="infinity: forward of `log`")
        with infinity, tg.detect_nan(infinite=True):
            tg.log(x)


def test_a_computation_without_nan_is_left_alone() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.detect_nan():
        tg.softmax(x[np.array([0, 1])]).sum().backward()
    assert np.isfinite(x.grad).all()


# --- as decorators, and used again ---------------------------------------------------------------


def test_no_grad_decorates_functions_generators_and_coroutines() -> None:
    @tg.no_grad()
    def plain(depth: int) -> list[bool]:
        return [records(), *(plain(depth - 1) if depth else [])]

    @tg.no_grad()
    def generator() -> Iterator[Any]:
        try:
            sent = yield records()
            yield sent, records()
        except ValueError:
            yield "thrown", records()
        finally:
            closed.append(records())

    @tg.no_grad()
    async def coroutine() -> bool:
        await asyncio.sleep(0)
        return records()

    closed: list[bool] = []
    assert plain(2) == [False] * 3
    running = generator()
    assert next(running) is False
    assert records()
    assert running.send("sent") == ("sent", False)
    assert list(running) == []
    running = generator()
    next(running)
    assert running.throw(ValueError()) == ("thrown", False)
    assert records()
    running.close()
    assert closed == [False, False]
    assert asyncio.run(coroutine()) is False
    assert records()
    with pytest.raises(TypeError, match="asynchronous generator"):

        @tg.no_grad()
        async def both() -> Any:
            yield 1


def test_one_object_is_entered_again_and_inside_itself() -> None:
    x = tg.Tensor(1.0, requires_grad=True)
    quiet, named = tg.no_grad(), tg.scope("a")
    for _ in range(2):
        with quiet:
            with quiet:
                assert not records()
            assert not records()
        assert records()
    with named, named:
        assert (x * 2).node.scope == "a.a"
    assert (x * 2).node.scope == ""
    double = tg.default_dtype("f8")
    with double, double:
        assert tg.Tensor(1.0).dtype == "f8"
    assert tg.Tensor(1.0).dtype == "f4"


class Calls(tg.Observer):
    """Keeps what observers get."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any], Any]] = []

    def forward(self, event: tg.ForwardEvent) -> None:
        self.events.append((event.op.name, event.given, event.output))

    def composed(self, name: str, arguments: dict[str, Any], result: Any) -> None:
        self.events.append((name, arguments, result))


def test_observers_get_functions_made_of_ops_after_their_ops() -> None:
    x, calls = tg.Tensor([[1.0, 3.0, 2.0]]), Calls()
    with tg.observe(calls):
        y = tg.squeeze(x, axis=0)
        places = tg.argmax(x, 1)
    assert [name for name, _, _ in calls.events] == ["reshape", "squeeze", "argmax"]
    (_, of_reshape, _), (_, of_squeeze, result), (_, of_argmax, found) = calls.events
    assert of_reshape["x"] is x
    assert result is y
    assert of_squeeze["x"] is x
    assert of_squeeze["axis"] == 0
    assert of_argmax["keepdims"] is False  # a default
    assert found is places


def test_observers_get_arguments_as_they_were_passed() -> None:
    x, index, number, calls = tg.Tensor([1.0, 2.0]), np.array([1, 0]), np.float64(3.0), Calls()
    with tg.observe(calls):
        tg.mul(x, number)
        tg.getitem(x, index)
    (_, of_mul, _), (_, of_getitem, _) = calls.events
    assert of_mul["b"] is number
    assert of_getitem["index"] is index
