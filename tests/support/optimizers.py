"""One optimizer of each kind, for a list of parameters."""

from __future__ import annotations

from collections.abc import Callable

from tinygrad_cnn import nn, optim

Make = Callable[[list[nn.Parameter]], optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda ps: optim.SGD(ps, 0.1),
    "momentum": lambda ps: optim.SGD(ps, 0.05, momentum=0.9, weight_decay=0.01),
    "Nesterov": lambda ps: optim.SGD(ps, 0.05, momentum=0.9, nesterov=True),
    "Adam": lambda ps: optim.Adam(ps, 0.1, weight_decay=0.01),
    "AdamW": lambda ps: optim.AdamW(ps, 0.1),
    "Adagrad": lambda ps: optim.Adagrad(ps, 0.5, lr_decay=0.001, initial_accumulator_value=0.1),
    "Adadelta": lambda ps: optim.Adadelta(ps, 2.0, rho=0.8, eps=1e-3),
    "RMSprop": lambda ps: optim.RMSprop(ps, 0.05, alpha=0.9),
    "RMSprop with momentum": lambda ps: optim.RMSprop(ps, 0.02, alpha=0.9, momentum=0.5),
}
