"""An exponential moving average of weights, and an early stop."""

import copy
from collections import OrderedDict

import torch
import torch.nn as nn


class ModelEMA:
    def __init__(self, model, decay=0.9):
        self.module = copy.deepcopy(model)
        self.module.eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    def update(self, model):
        with torch.no_grad():
            for ema_v, model_v in zip(
                self.module.state_dict().values(), model.state_dict().values()
            ):
                if ema_v.dtype.is_floating_point:
                    ema_v.copy_(self.decay * ema_v + (1.0 - self.decay) * model_v)
                else:
                    ema_v.copy_(model_v)


@torch.no_grad()
def accumulate(model1, model2, decay=0.999):
    par1 = OrderedDict(model1.named_parameters())
    par2 = OrderedDict(model2.named_parameters())
    for k in par1.keys():
        par1[k].data.mul_(decay).add_(par2[k].data, alpha=1 - decay)


class EarlyStopping:
    def __init__(self, patience=3, delta=0.0):
        self.patience = patience
        self.counter = 0
        self.best_score = None
        self.early_stop = False
        self.delta = delta
        self.state = None

    def __call__(self, val_loss, model):
        score = -val_loss
        if self.best_score is None or score > self.best_score + self.delta:
            self.best_score = score
            self.state = {k: v.clone() for k, v in model.state_dict().items()}
            self.counter = 0
        else:
            self.counter += 1
            if self.counter >= self.patience:
                self.early_stop = True


def run(given):
    net = nn.Sequential(
        OrderedDict(
            [
                ("conv", nn.Conv2d(1, 6, 3, stride=2, padding=1)),
                ("norm", nn.BatchNorm2d(6)),
                ("act", nn.SELU()),
                ("flat", nn.Flatten()),
                ("fc", nn.Linear(96, 3)),
            ]
        )
    )
    model = given.weights(net)
    averaged = ModelEMA(model)
    slow = copy.deepcopy(model)
    x, y = given.randn(6, 1, 8, 8), given.randint(0, 3, (6,))
    held_x, held_y = given.randn(5, 1, 8, 8), given.randint(0, 3, (5,))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    stopping = EarlyStopping()
    log = []
    for step in range(10):
        model.train()
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        averaged.update(model)
        accumulate(slow, model, decay=0.8)
        model.eval()
        with torch.no_grad():
            held = criterion(model(held_x), held_y).item()
            average = criterion(averaged.module(held_x), held_y).item()
        stopping(held, model)
        log.append([loss.item(), held, average])
        if stopping.early_stop:
            break
    given.record("log", log)
    for key, value in averaged.module.state_dict().items():
        given.record("averaged " + key, value)
    given.record("slow", slow.conv.weight)
    given.record("best", stopping.best_score)
    model.load_state_dict(stopping.state)
