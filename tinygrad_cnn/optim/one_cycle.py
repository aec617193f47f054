"""The one-cycle schedule: the rate rises once, and falls to almost 0."""

from __future__ import annotations

from functools import partial

from tinygrad_cnn.optim.lr_decay import cosine
from tinygrad_cnn.optim.lr_scheduler import LRScheduler
from tinygrad_cnn.optim.optimizer import Hyperparameter, Optimizer, Option
from tinygrad_cnn.support.arguments import choice, flag, positive, share, whole


class OneCycleLR(LRScheduler):
    """Raise the rate to max_lr, then lower it to almost 0, while the momentum does the opposite.

    The updates are numbered t = 0 … T with T = total_steps − 1, and the peak is at P = pct_start·T.
    The rate goes from max_lr / div_factor at 0 to max_lr at P, then to
    max_lr / (div_factor · final_div_factor) at T, where it stays. Between a and b, it is
    b + ½ (a − b) (1 + cos πu), with u from 0 to 1. The momentum (of `Adam`, β₁) goes from
    max_momentum to base_momentum and back.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate and momentum are set to those of t = 0.
    max_lr : float
        Above 0.
    total_steps : int, optional
        The number of updates; by default epochs · steps_per_epoch. Call `step` after each.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The fraction of updates in which the rate rises, in [0, 1].
    anneal_strategy : {"cos", "linear"}
        With "linear", the rate between a and b is a + (b − a) u.
    cycle_momentum : bool
        Whether to change the momentum.
    base_momentum, max_momentum : float
        In [0, 1).
    div_factor, final_div_factor : float
        Above 0.

    Raises
    ------
    ValueError
        If an argument is out of range, there is no number of steps, or the optimizer has no
        momentum to change.

    Notes
    -----
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018. PyTorch's definition, but for the peak, which PyTorch puts at
    pct_start·total_steps − 1, at most one step earlier.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> optimizer = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=5, pct_start=0.5)
    >>> [round(schedule.rate(t), 3) for t in range(6)]
    [0.04, 0.52, 1.0, 0.5, 0.0, 0.0]
    >>> round(optimizer.lr, 2), optimizer.momentum
    (0.04, 0.95)
    """

    max_lr = Option(positive)
    total_steps = Option(whole)
    pct_start = Option(share)
    anneal_strategy = Option(partial(choice, options=("cos", "linear")))
    cycle_momentum = Option(flag)
    base_momentum = Hyperparameter(below=1.0)
    max_momentum = Hyperparameter(below=1.0)
    div_factor = Option(positive)
    final_div_factor = Option(positive)

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        super().__init__(optimizer)
        owner = type(self).__name__
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{owner}: needs total_steps, or epochs and steps_per_epoch")
            total_steps = whole(owner, "epochs", epochs) * whole(
                owner, "steps_per_epoch", steps_per_epoch
            )
        self.max_lr = max_lr
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.base_momentum = base_momentum
        self.max_momentum = max_momentum
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        if cycle_momentum and not (hasattr(optimizer, "momentum") or hasattr(optimizer, "betas")):
            raise ValueError(
                f"{owner}: {type(optimizer).__name__} has no momentum or betas; pass "
                "cycle_momentum=False"
            )
        self.begin()

    def rate(self, t: int) -> float:
        """Return the learning rate after `t` steps."""
        start, end = 1.0 / self.div_factor, 1.0 / (self.div_factor * self.final_div_factor)
        return self._between(start * self.max_lr, self.max_lr, end * self.max_lr, t)

    def momentum(self, t: int) -> float:
        """Return the momentum after `t` steps."""
        return self._between(self.max_momentum, self.base_momentum, self.max_momentum, t)

    def apply(self) -> None:
        """Set the optimizer's learning rate and momentum to those of the current t."""
        super().apply()
        if self.cycle_momentum:
            momentum = self.momentum(self.last_epoch)
            name = "betas" if hasattr(self.optimizer, "betas") else "momentum"
            groups = [group.own for group in self.optimizer.param_groups if name in group.own]
            for options in (vars(self.optimizer), *groups):
                options[name] = (momentum, options[name][1]) if name == "betas" else momentum

    def _peak(self) -> float:
        """Return the step of the highest rate; it need not be whole."""
        return self.pct_start * (self.total_steps - 1)

    def _between(self, start: float, middle: float, end: float, t: int) -> float:
        last = self.total_steps - 1
        peak = self._peak()
        anneal = cosine if self.anneal_strategy == "cos" else _line
        if t < peak:
            return anneal(start, middle, t / peak)
        u = (t - peak) / (last - peak) if last > peak else float(t > last)
        return anneal(middle, end, min(u, 1.0))


def _line(a: float, b: float, u: float) -> float:
    return a + (b - a) * u
