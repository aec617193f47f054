"""A search for the learning rate: rates grow exponentially, then the weights come back."""

import copy
import math

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import _LRScheduler


class ExponentialRate(_LRScheduler):
    """Exponentially increase the learning rate between two boundaries over iterations."""

    def __init__(self, optimizer, end_lr, num_iter, last_epoch=-1):
        self.end_lr = end_lr
        self.num_iter = num_iter
        super(ExponentialRate, self).__init__(optimizer, last_epoch)

    def get_lr(self):
        r = self.last_epoch / (self.num_iter - 1)
        return [base_lr * (self.end_lr / base_lr) ** r for base_lr in self.base_lrs]


class WarmupPolynomial(_LRScheduler):
    def __init__(self, optimizer, warmup, total, power=0.9):
        self.warmup, self.total, self.power = warmup, total, power
        super().__init__(optimizer)

    def get_lr(self):
        if self.last_epoch < self.warmup:
            factor = (self.last_epoch + 1) / self.warmup
        else:
            factor = (
                1 - (self.last_epoch - self.warmup) / (self.total - self.warmup)
            ) ** self.power
        return [factor * base_lr for base_lr in self.base_lrs]


class LRFinder:
    def __init__(self, model, optimizer, criterion):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.history = {"lr": [], "loss": []}
        self.best_loss = None
        self.state = copy.deepcopy(model.state_dict())
        self.optimizer_state = copy.deepcopy(optimizer.state_dict())

    def reset(self):
        self.model.load_state_dict(self.state)
        self.optimizer.load_state_dict(self.optimizer_state)

    def range_test(self, batches, end_lr=1.0, num_iter=8, smooth_f=0.05, diverge_th=5):
        lr_schedule = ExponentialRate(self.optimizer, end_lr, num_iter)
        for iteration in range(num_iter):
            inputs, labels = batches[iteration % len(batches)]
            self.model.train()
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(inputs), labels)
            loss.backward()
            self.optimizer.step()
            loss = loss.item()
            self.history["lr"].append(lr_schedule.get_last_lr()[0])
            lr_schedule.step()
            if iteration == 0:
                self.best_loss = loss
            else:
                if smooth_f > 0:
                    loss = smooth_f * loss + (1 - smooth_f) * self.history["loss"][-1]
                if loss < self.best_loss:
                    self.best_loss = loss
            self.history["loss"].append(loss)
            if loss > diverge_th * self.best_loss or math.isnan(loss):
                break


def run(given):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 3)
    )
    given.weights(model)
    before = model[0].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    batches = [(given.randn(4, 1, 8, 8), given.randint(0, 3, (4,))) for _ in range(3)]
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    finder.range_test(batches)
    finder.reset()
    assert torch.equal(model[0].weight, before)
    given.record("rates", finder.history["lr"])
    given.record("losses", finder.history["loss"])
    given.record("rate", optimizer.param_groups[0]["lr"])

    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = WarmupPolynomial(optimizer, warmup=3, total=10)
    warm = torch.optim.lr_scheduler.LinearLR
    rates, losses = [], []
    for step in range(10):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batches[0][0]), batches[0][1])
        loss.backward()
        optimizer.step()
        rates.append(scheduler.get_last_lr()[0])
        losses.append(loss.item())
        scheduler.step()
    given.record("warm-up", rates)
    given.record("warm losses", losses)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = warm(optimizer, start_factor=0.1, total_iters=3)
    second = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5, eta_min=0.01)
    chained = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, second], milestones=[3])
    rates = []
    for step in range(8):
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        chained.step()
    given.record("sequence", rates)
