"""`AveragedModel`: an average of the weights that training passes through."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine import chunks
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import number


class AveragedModel(Module):
    """A copy of a model whose weights are a running average of the model's.

    With decay d, an exponential moving average (EMA): w̄ ← d·w̄ + (1 − d)·w. Without, the mean of
    all weights so far: w̄ ← w̄ + (w − w̄) / n. The first call of `update_parameters` copies w.

    Parameters
    ----------
    model : Module
        It is copied; the copy's parameters require no gradient.
    decay : float, optional
        d, in [0, 1); close to 1, such as 0.999.
    use_buffers : bool
        Whether to average buffers, such as running statistics, too. By default they are copied.

    Attributes
    ----------
    module : Module
        The averaged copy.
    n_averaged : Tensor
        A buffer: the number of calls of `update_parameters`.

    Raises
    ------
    ValueError
        If `decay` is out of range.

    Notes
    -----
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; Izmailov et
    al., "Averaging weights leads to wider optima and better generalization", 2018.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Linear(1, 1, bias=False)
    >>> average = tg.optim.AveragedModel(model, decay=0.75)
    >>> for weight in (0.0, 8.0, 8.0):
    ...     model.weight.data[...] = weight
    ...     average.update_parameters(model)
    >>> average([[1.0]])
    Tensor([[3.5]])
    """

    def __init__(
        self, model: Module, decay: float | None = None, use_buffers: bool = False
    ) -> None:
        owner = type(self).__name__
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = None if decay is None else number(owner, "decay", decay, below=1.0)
        self.use_buffers = use_buffers
        self.n_averaged = Tensor(np.array(0, np.int64))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result of the averaged model."""
        return self.module(*args, **kwargs)

    @effect
    def update_parameters(self, model: Module) -> None:
        """Take the weights of `model` into the average: call it after each optimizer step.

        Raises
        ------
        ValueError
            If its parameters are not those of the averaged model. Nothing is changed.
        """
        ours, theirs = dict(self.module.named_parameters()), dict(model.named_parameters())
        buffers = dict(self.module.named_buffers()), dict(model.named_buffers())
        shapes = [{n: (t.shape, t.dtype) for n, t in each.items()} for each in (ours, theirs)]
        if shapes[0] != shapes[1] or buffers[0].keys() != buffers[1].keys():
            raise ValueError(
                f"{type(self).__name__}: the parameters of {type(model).__name__} are not those of "
                f"the averaged {type(self.module).__name__}"
            )
        count = int(self.n_averaged.item()) + 1
        weight = 1.0 if count == 1 else 1.0 / count if self.decay is None else 1.0 - self.decay
        for name, average in ours.items():
            _approach(average, theirs[name], weight)
        for name, buffer in buffers[0].items():
            averaged = self.use_buffers and buffer.dtype.kind == "f"
            _approach(buffer, buffers[1][name], weight if averaged else 1.0)
        self.n_averaged._array += 1
        self.n_averaged._mark_changed()


def _approach(average: Tensor, value: Tensor, weight: float) -> None:
    """Change `average` in place to (1 − weight)·average + weight·value."""
    average._mark_changed()
    if weight == 1.0:
        average._array[...] = value._array
    else:
        chunks.run(partial(_move, weight), average._array, value._array, work=32)


def _move(weight: float, average: NDArray[Any], value: NDArray[Any]) -> None:
    average += weight * (value - average)
