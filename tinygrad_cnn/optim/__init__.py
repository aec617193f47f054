"""Optimizers, learning-rate schedules and gradient clipping.

`SGD` does both full-batch and stochastic gradient descent; the loader decides which.
``DataLoader(set, batch_size=None)`` yields the whole set as one batch, so that each step follows
the exact gradient. Smaller batches give an estimate of that gradient.

>>> import tinygrad_cnn as tg
>>> from tinygrad_cnn import optim
>>> x = tg.nn.Parameter([4.0])
>>> optimizer = optim.SGD([x], lr=0.1)
>>> for _ in range(100):
...     optimizer.zero_grad()
...     ((x - 3.0) ** 2).sum().backward()
...     optimizer.step()
>>> round(x.item(), 4)
3.0
"""

from tinygrad_cnn.optim.adaptive import Adam, AdamW, RMSProp
from tinygrad_cnn.optim.clipping import clip_gradient_norm, clip_gradient_value
from tinygrad_cnn.optim.optimizer import Optimizer
from tinygrad_cnn.optim.plateau import Plateau
from tinygrad_cnn.optim.schedule import Cosine, OneCycle, Schedule, StepDecay
from tinygrad_cnn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "Schedule",
    "StepDecay",
    "clip_gradient_norm",
    "clip_gradient_value",
]
