"""Where a NaN was born is named: op, direction, module, line and entry."""

import inspect

import numpy as np
import pytest

import tinygrad_cnn as tg


@pytest.fixture(autouse=True)
def _quiet_numpy():
    with np.errstate(all="ignore"):
        yield


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_forward_nan_names_op_scope_line_and_entry():
    x = tg.Tensor([1.0, -1.0], requires_grad=True)
    with pytest.raises(tg.NaNError) as caught, tg.detect_nan(), tg.scope("fc2"):
        at = line() + 1
        tg.log(x).sum().backward()
    message = str(caught.value)
    assert "first NaN: forward of `log` in `fc2`" in message
    assert f"{__file__}:{at}" in message
    assert "result[1]; its arguments have none" in message


def test_a_backward_nan_names_the_line_of_the_forward_call():
    x = tg.Tensor([0.0, 1.0], requires_grad=True)
    with pytest.raises(tg.NaNError) as caught, tg.detect_nan():
        at = line() + 1
        y = tg.sqrt(x)
        z = (y * 0.0).sum()  # 0 · 1 / (2·√0) = NaN, though every value is finite
        z.backward()
    message = str(caught.value)
    assert "first NaN: backward of `sqrt`" in message
    assert f"{__file__}:{at}" in message
    assert "gradient[0]" in message
    assert x.grad is None


def test_a_nan_that_came_in_is_not_blamed_on_the_op():
    x = tg.Tensor([[1.0, np.nan]])
    with pytest.raises(tg.NaNError, match=r"it came from x\[0, 1\]"), tg.detect_nan():
        tg.relu(x)


def test_infinities_are_reported_on_request_only():
    x = tg.Tensor([0.0])
    with tg.detect_nan():
        tg.log(x)
    watched = tg.detect_nan(infinite=True)
    with pytest.raises(tg.NaNError, match="first infinity: forward of `log`"), watched:
        tg.log(x)


def test_nothing_is_watched_outside_the_block():
    with tg.detect_nan():
        pass
    assert np.isnan(tg.log(tg.Tensor([-1.0])).item())


def test_a_node_made_before_the_block_is_still_named():
    y = tg.sqrt(tg.Tensor([0.0], requires_grad=True))
    unseen = "backward of `sqrt`, called at a call made outside"
    with pytest.raises(tg.NaNError, match=unseen), tg.detect_nan():
        (y * 0.0).sum().backward()


def test_a_nan_in_the_seed_is_not_blamed_on_the_op():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.detect_nan(), tg.scope("head"), pytest.raises(tg.NaNError) as caught:
        (x * 2).backward([1.0, np.nan])
    assert "in the gradient that flows into `mul` in `head`[1]: it was given" in str(caught.value)
