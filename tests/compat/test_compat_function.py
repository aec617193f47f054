"""`torch.autograd.Function`: recorded as an op, refused where it returns something else.

`programs/binary_net.py` and `dann.py` compare its gradients with PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch
from tinygrad_cnn import check


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient * ctx.factor, None


class Wrong(Scale):
    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient, None


def test_the_node_has_the_name_of_the_class() -> None:
    x = torch.ones(2, requires_grad=True)
    y = Scale.apply(x, 3.0)
    assert y.grad_fn.op.name == "Scale"
    assert "Scale" in tg.draw(y.sum()).svg()
    assert not Scale.apply(x.detach(), 3.0).requires_grad


def test_a_wrong_backward_is_found_by_the_check() -> None:
    x = np.array([0.5, -1.0])
    check.check_gradients(lambda x: Scale.apply(x, 3.0).sum(), x)
    with pytest.raises(check.GradientMismatch):
        check.check_gradients(lambda x: Wrong.apply(x, 3.0).sum(), x)


def test_a_saved_argument_that_changes_before_backward_is_noticed() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * gradient

    x = torch.ones(2, requires_grad=True)
    y = Square.apply(x)
    x.data.mul_(5.0)
    with pytest.raises(tg.ChangedInPlaceError):
        y.sum().backward()


def test_what_forward_and_backward_return_is_checked() -> None:
    class Two(Scale):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float) -> Any:
            return x, x

    class Short(Scale):
        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient

    x = torch.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match="Two: forward returned tuple, expected a Tensor"):
        Two.apply(x, 1.0)
    with pytest.raises(TypeError, match="Short: backward returned 1 gradients, expected 2"):
        Short.apply(x, 1.0).sum().backward()
