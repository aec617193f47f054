"""Gradient descent."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.optim.group import State
from tinygrad_cnn.optim.optimizer import (
    CompiledUpdate,
    Hyperparameter,
    Optimizer,
    Option,
    Params,
)
from tinygrad_cnn.support.arguments import flag, share

LARGE = 1 << 16  # values of a parameter from which a compiled kernel is faster
DESCENT = CompiledUpdate("descend", least=LARGE)
INERTIA, NESTEROV = (
    CompiledUpdate("descend_with_momentum", ("velocity",), (is_nesterov,), LARGE)
    for is_nesterov in (0, 1)
)


class SGD(Optimizer):
    """Gradient descent, with momentum and weight decay: p ← p − lr·Δ.

    With g the gradient and λ the weight decay, the step's direction Δ is

    - without momentum: g + λp, the text's Δw and Δb (eq 27, 28);
    - with momentum μ: v, where v ← μv + (1 − τ)(g + λp), and v = g + λp in the first step;
    - with Nesterov momentum: g + λp + μv, with that v.

    With the whole set as one batch, this is plain gradient descent.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
        The learning rate (the text's a, 13), 0 or more.
    momentum : float
        μ, in [0, 1).
    dampening : float
        τ, in [0, 1]; without effect unless there is a momentum.
    weight_decay : float
        λ, 0 or more: the gradient of λ/2·‖p‖².
    nesterov : bool
        Use Nesterov momentum; needs `momentum`, and no `dampening`.

    Raises
    ------
    ValueError
        If an argument is out of range, or there are no parameters.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Notes
    -----
    PyTorch's definition. Sutskever et al., "On the importance of initialization and momentum in
    deep learning", 2013.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.0])
    >>> optimizer = tg.optim.SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()
    array([0.5], dtype=float32)
    """

    slots = ("velocity",)
    elementwise = True
    momentum = Hyperparameter(below=1.0)
    dampening = Option(share)
    weight_decay = Hyperparameter()
    nesterov = Option(flag)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        if nesterov and (not momentum or dampening):
            raise ValueError(
                f"{type(self).__name__}: nesterov needs a momentum above 0, and no dampening"
            )

    def compiled_update(self) -> CompiledUpdate:
        """Return the kernel that computes `update`."""
        if not self.momentum:
            return DESCENT
        return NESTEROV if self.nesterov else INERTIA

    def coefficients(self, steps: int) -> tuple[float, ...]:
        """Return lr and λ; with momentum lr, μ, 1 − τ (1 in the first step) and λ."""
        if not self.momentum:
            return self.lr, self.weight_decay
        kept = 1.0 - self.dampening if steps > 1 else 1.0
        return self.lr, self.momentum, kept, self.weight_decay

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Update `p` in place."""
        lr, *inertia, weight_decay = self.coefficients(state["steps"])
        if weight_decay:
            g = g + weight_decay * p
        if inertia:
            momentum, kept = inertia
            v = state["velocity"]
            v *= momentum
            v += kept * g if kept != 1.0 else g
            g = g + momentum * v if self.nesterov else v
        p -= lr * g
