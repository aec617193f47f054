"""Adaptive optimizers: Adagrad, Adadelta, RMSprop, Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.optim.group import State
from tinygrad_cnn.optim.optimizer import (
    CompiledUpdate,
    Hyperparameter,
    Optimizer,
    Option,
    Params,
)
from tinygrad_cnn.support.arguments import number

ADAM = CompiledUpdate("adam", ("mean", "square"))


def _pair(owner: str, name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{owner}: {name} is {value!r}, expected two numbers")
    beta1, beta2 = (number(owner, f"{name}[{i}]", each, below=1.0) for i, each in enumerate(value))
    return beta1, beta2


class Adam(Optimizer):
    """Adam: adaptive step sizes from running means of the gradient and of its square.

    With g the gradient plus λp, and t the step number,

        m ← β₁m + (1 − β₁)g,    v ← β₂v + (1 − β₂)g²,
        p ← p − lr · m̂ / (√v̂ + ε),    m̂ = m / (1 − β₁ᵗ),    v̂ = v / (1 − β₂ᵗ).

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
        The learning rate, 0 or more.
    betas : (float, float)
        β₁ and β₂, in [0, 1).
    eps : float
        ε, 0 or more.
    weight_decay : float
        λ, 0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range, or there are no parameters.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1; PyTorch's
    definition.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.0])
    >>> optimizer = tg.optim.Adam([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()
    array([0.75], dtype=float32)
    """

    slots = ("mean", "square")
    elementwise = True
    betas = Option(_pair)
    eps = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Update `p` in place."""
        rate, keep, weight_decay, rest1, beta2, rest2, eps = self.coefficients(state["steps"])
        m, v = state["mean"], state["square"]
        if keep != 1.0:
            p *= keep
        if weight_decay:
            g = g + weight_decay * p
        m += rest1 * (g - m)
        v *= beta2
        v += rest2 * (g * g)
        p -= rate * (m / (np.sqrt(v) + eps))

    def compiled_update(self) -> CompiledUpdate | None:
        """Return the kernel that computes `update`."""
        return ADAM

    def coefficients(self, steps: int) -> tuple[float, ...]:
        """Return the numbers of a step, as `engine.fast.optimizers.adam` explains them."""
        beta1, beta2 = self.betas
        root = math.sqrt(1.0 - beta2**steps)  # times that of v̂ gives √v
        rate = self.lr * root / (1.0 - beta1**steps)
        return rate, *self._decay(), 1.0 - beta1, beta2, 1.0 - beta2, root * self.eps

    def _decay(self) -> tuple[float, float]:
        """Return what p is multiplied by, and what times p is added to the gradient."""
        return 1.0, self.weight_decay


class AdamW(Adam):
    """Adam with decoupled weight decay: p ← p − lr·λp, then Adam's step with g alone.

    Parameters as for `Adam`.

    Notes
    -----
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2; PyTorch's
    definition.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.0])
    >>> optimizer = tg.optim.AdamW([x], lr=0.25, weight_decay=1.0)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decay(self) -> tuple[float, float]:
        return 1.0 - self.lr * self.weight_decay, 0.0


class RMSprop(Optimizer):
    """RMSprop: divides the gradient by the root of the running mean of its square.

    With g the gradient plus λp,

        v ← αv + (1 − α)g²,    u ← μu + g / (√v + ε),    p ← p − lr·u.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
        The learning rate, 0 or more.
    alpha : float
        α, in [0, 1).
    eps : float
        ε, 0 or more.
    weight_decay : float
        λ, 0 or more.
    momentum : float
        μ, in [0, 1).

    Raises
    ------
    ValueError
        If an argument is out of range, or there are no parameters.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Notes
    -----
    Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012; PyTorch's
    definition, without ``centered``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.0])
    >>> optimizer = tg.optim.RMSprop([x], lr=0.25, alpha=0.75)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()
    array([0.5], dtype=float32)
    """

    slots = ("square", "velocity")
    elementwise = True
    alpha = Hyperparameter(below=1.0)
    eps = Hyperparameter()
    weight_decay = Hyperparameter()
    momentum = Hyperparameter(below=1.0)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Update `p` in place."""
        if self.weight_decay:
            g = g + self.weight_decay * p
        v, u = state["square"], state["velocity"]
        v *= self.alpha
        v += (1.0 - self.alpha) * (g * g)
        u *= self.momentum
        u += g / (np.sqrt(v) + self.eps)
        p -= self.lr * u


class Adagrad(Optimizer):
    """Adagrad: divides the gradient by the root of the sum of all its squares.

    With g the gradient plus λp, and t the step number,

        v ← v + g²,    p ← p − lr / (1 + (t − 1)·lr_decay) · g / (√v + ε).

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
        The learning rate, 0 or more.
    lr_decay : float
        0 or more.
    weight_decay : float
        λ, 0 or more.
    initial_accumulator_value : float
        v before the first step, 0 or more.
    eps : float
        ε, 0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range, or there are no parameters.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Notes
    -----
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011; PyTorch's definition.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.0])
    >>> optimizer = tg.optim.Adagrad([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()
    array([0.75], dtype=float32)
    """

    slots = ("square",)
    elementwise = True
    lr_decay = Hyperparameter()
    weight_decay = Hyperparameter()
    initial_accumulator_value = Hyperparameter()
    eps = Hyperparameter()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(params, lr)
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.eps = eps

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Update `p` in place."""
        if self.weight_decay:
            g = g + self.weight_decay * p
        v, t = state["square"], state["steps"]
        if t == 1:
            v += self.initial_accumulator_value
        v += g * g
        p -= self.lr / (1.0 + (t - 1) * self.lr_decay) * (g / (np.sqrt(v) + self.eps))


class Adadelta(Optimizer):
    """Adadelta: steps in the proportion of the last steps to the last gradients.

    With g the gradient plus λp,

        v ← ρv + (1 − ρ)g²,    δ = √(u + ε) / √(v + ε) · g,
        u ← ρu + (1 − ρ)δ²,    p ← p − lr·δ.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
        The learning rate, 0 or more.
    rho : float
        ρ, in [0, 1).
    eps : float
        ε, 0 or more.
    weight_decay : float
        λ, 0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range, or there are no parameters.
    TypeError
        If a parameter is not a leaf of float32 or float64.

    Notes
    -----
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012; PyTorch's definition.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([1.0])
    >>> optimizer = tg.optim.Adadelta([x], rho=0.0, eps=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()  # 1 − 2·√0.25 / √4.25
    array([0.5149287], dtype=float32)
    """

    slots = ("square", "delta")
    elementwise = True
    rho = Hyperparameter(below=1.0)
    eps = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.rho = rho
        self.eps = eps
        self.weight_decay = weight_decay

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Update `p` in place."""
        if self.weight_decay:
            g = g + self.weight_decay * p
        v, u = state["square"], state["delta"]
        v *= self.rho
        v += (1.0 - self.rho) * (g * g)
        delta = np.sqrt(u + self.eps) / np.sqrt(v + self.eps) * g
        u *= self.rho
        u += (1.0 - self.rho) * (delta * delta)
        p -= self.lr * delta
