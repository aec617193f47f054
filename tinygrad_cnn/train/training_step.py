"""The calls of a training step and of an evaluation, as they are or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numpy.typing import NDArray

from tinygrad_cnn.compiler import compile as compiled
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.distributed.data_parallel import guard_of
from tinygrad_cnn.nn import Module
from tinygrad_cnn.optim import Optimizer, clip_grad_norm_
from tinygrad_cnn.support.arguments import flag

__all__ = ["FitStep", "ForwardPass", "Loss", "checked_loss", "forward_pass"]

Loss: TypeAlias = Callable[[Tensor, NDArray[Any]], Tensor]
ForwardPass: TypeAlias = Callable[[Tensor, NDArray[Any]], tuple[Tensor, Tensor]]
"""Takes images and labels, and returns the outputs of a model and their loss."""


def forward_pass(owner: str, model: Module, loss: Loss, compile: bool = False) -> ForwardPass:
    """Return the forward pass of a model and its loss.

    Raises
    ------
    ValueError
        If `compile` is not a bool, or the model is a DataParallel on several ranks.
    """

    def forward(images: Tensor, labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
        outputs = model(images)
        return outputs, checked_loss(loss(outputs, labels))

    return compiled(forward) if _is_compiled(owner, model, compile) else forward


class FitStep:
    """A step of `fit`, in three calls.

    If it is compiled, `forward` computes the gradients as well, and `backward` does nothing. The
    update is a call of its own, so that a step whose loss is not finite changes no parameter.

    Parameters
    ----------
    model : Module
    loss : callable
    optimizer : Optimizer
    clip_norm : float or None
    compile : bool
        Whether to capture forward and backward with `tinygrad_cnn.compile`, and replay them.

    Attributes
    ----------
    forward : callable
        ``forward(images, labels)`` returns the outputs and the loss.
    backward : callable
        ``backward(loss)`` sets the gradients of the optimizer's parameters.
    update : callable
        ``update()`` clips the gradients and updates the parameters.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        clip_norm: float | None,
        compile: bool = False,
    ) -> None:
        forward = forward_pass("fit", model, loss)

        def backward(error: Tensor) -> None:
            optimizer.zero_grad()
            error.backward()

        def gradients(images: Tensor, labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
            outputs, error = forward(images, labels)
            backward(error)
            return outputs, error

        def update() -> None:
            if clip_norm is not None:
                clip_grad_norm_(optimizer.params, clip_norm)
            optimizer.step()

        self.forward: ForwardPass = forward
        self.backward: Callable[[Tensor], None] = backward
        self.update: Callable[[], None] = update
        if _is_compiled("fit", model, compile):
            self.forward = compiled(gradients)
            self.backward = _done


def checked_loss(loss: Tensor) -> Tensor:
    """Return the result of a loss function; ValueError if it is not a Tensor of one element."""
    if not isinstance(loss, Tensor) or loss._array.size != 1:
        came = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"the loss function returned {came}; expected a Tensor of one "
            "element, the mean of the batch"
        )
    return loss


def _is_compiled(owner: str, model: Module, compile: bool) -> bool:
    """Return `compile`, checked."""
    if flag(owner, "compile", compile) and guard_of(model).size > 1:
        raise ValueError(
            f"{owner}: compile is True, but the model is trained on {guard_of(model).size} ranks, "
            "whose messages a captured step cannot replay; leave it out"
        )
    return compile


def _done(error: Tensor) -> None:
    """Do nothing: the gradients are computed."""
