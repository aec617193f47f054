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

from typing import TYPE_CHECKING

from tinygrad_cnn.optim.adaptive import Adadelta, Adagrad, Adam, AdamW, RMSprop
from tinygrad_cnn.optim.averaging import AveragedModel
from tinygrad_cnn.optim.clipping import clip_grad_norm_, clip_grad_value_
from tinygrad_cnn.optim.lbfgs import LBFGS
from tinygrad_cnn.optim.lr_combined import ChainedScheduler, SequentialLR
from tinygrad_cnn.optim.lr_decay import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from tinygrad_cnn.optim.lr_scheduler import LRScheduler
from tinygrad_cnn.optim.one_cycle import OneCycleLR
from tinygrad_cnn.optim.optimizer import Optimizer
from tinygrad_cnn.optim.param_group import ParamGroup
from tinygrad_cnn.optim.plateau import ReduceLROnPlateau
from tinygrad_cnn.optim.sgd import SGD
from tinygrad_cnn.support.modules import public

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "AveragedModel",
    "ChainedScheduler",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "ParamGroup",
    "RMSprop",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
