"""Optimizers written by their users: subclasses of Optimizer with state and groups."""

import math
from collections import defaultdict

import torch
import torch.nn as nn
from torch.optim.optimizer import Optimizer


class RAdam(Optimizer):
    """Adam with a rectified variance."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
        if not 0.0 <= lr:
            raise ValueError("Invalid learning rate: {}".format(lr))
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        super(RAdam, self).__init__(params, defaults)

    def step(self, closure=None):
        loss = None
        if closure is not None:
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                grad = p.grad.data
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(p.data)
                    state["exp_avg_sq"] = torch.zeros_like(p.data)
                exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
                beta1, beta2 = group["betas"]
                exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1)
                state["step"] += 1
                beta2_t = beta2 ** state["step"]
                N_sma_max = 2 / (1 - beta2) - 1
                N_sma = N_sma_max - 2 * state["step"] * beta2_t / (1 - beta2_t)
                if group["weight_decay"] != 0:
                    p.data.add_(p.data, alpha=-group["weight_decay"] * group["lr"])
                if N_sma >= 5:
                    rect = math.sqrt(
                        (N_sma - 4)
                        / (N_sma_max - 4)
                        * (N_sma - 2)
                        / N_sma
                        * N_sma_max
                        / (N_sma_max - 2)
                    )
                    step_size = rect * math.sqrt(1 - beta2_t) / (1 - beta1 ** state["step"])
                    denom = exp_avg_sq.sqrt().add_(group["eps"])
                    p.data.addcdiv_(exp_avg, denom, value=-step_size * group["lr"])
                else:
                    step_size = 1.0 / (1 - beta1 ** state["step"])
                    p.data.add_(exp_avg, alpha=-step_size * group["lr"])
        return loss


class Lookahead(Optimizer):
    """k steps forward, one step back, around another optimizer."""

    def __init__(self, optimizer, k=5, alpha=0.5):
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.optimizer = optimizer
        self.k = k
        self.alpha = alpha
        self.param_groups = self.optimizer.param_groups
        self.state = defaultdict(dict)
        self.counter = 0

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        self.counter += 1
        if self.counter % self.k == 0:
            for group in self.param_groups:
                for fast in group["params"]:
                    param_state = self.state[fast]
                    if "slow" not in param_state:
                        param_state["slow"] = torch.zeros_like(fast.data).copy_(fast.data)
                    slow = param_state["slow"]
                    slow += (fast.data - slow) * self.alpha
                    fast.data.copy_(slow)
        return loss


class SAM(Optimizer):
    """Sharpness-aware minimization: a step up, then the base optimizer's step down."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        defaults = dict(rho=rho, **kwargs)
        super().__init__(params, defaults)
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.norm(
            torch.stack([p.grad.norm(p=2) for g in self.param_groups for p in g["params"]]), p=2
        )
        for group in self.param_groups:
            scale = group["rho"] / (norm + 1e-12)
            for p in group["params"]:
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale.to(p))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()


def make():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


def run(given):
    x, y = given.randn(4, 1, 8, 8), given.randint(0, 3, (4,))
    criterion = nn.CrossEntropyLoss()
    radam_net = given.weights(make(), "radam")
    lookahead_net = given.weights(make(), "lookahead")
    sam_net = given.weights(make(), "sam")
    radam = RAdam(radam_net.parameters(), lr=0.01, weight_decay=0.1)
    lookahead = Lookahead(torch.optim.SGD(lookahead_net.parameters(), lr=0.1, momentum=0.9), k=3)
    sam = SAM(sam_net.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(radam, step_size=4, gamma=0.1)
    log = []
    for step in range(10):
        losses = []

        def closure():
            radam.zero_grad()
            loss = criterion(radam_net(x), y)
            loss.backward()
            return loss

        losses.append(radam.step(closure).item())
        scheduler.step()

        lookahead.zero_grad()
        loss = criterion(lookahead_net(x), y)
        loss.backward()
        lookahead.step()
        losses.append(loss.item())

        loss = criterion(sam_net(x), y)
        loss.backward()
        sam.first_step(zero_grad=True)
        criterion(sam_net(x), y).backward()
        sam.second_step(zero_grad=True)
        losses.append(loss.item())
        log.append(losses)
    given.record("log", log)
    given.record("rate", radam.param_groups[0]["lr"])
