"""Parameter groups: no decay for biases and norms, AdamW, warm restarts, saved state."""

import copy
import math

import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm([8, 3, 3])
        self.mix = nn.Conv2d(8, 8, 1)
        self.act = nn.Hardswish()
        self.head = nn.Linear(72, 5)
        self.scale = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, x):
        x = self.norm(self.stem(x))
        x = x + self.act(self.mix(x))
        return self.scale * self.head(x.flatten(1))


def configure_optimizers(model, weight_decay, learning_rate, betas):
    param_dict = {pn: p for pn, p in model.named_parameters()}
    param_dict = {pn: p for pn, p in param_dict.items() if p.requires_grad}
    # all matrices decay, all biases and norms don't
    decay_params = [p for n, p in param_dict.items() if p.dim() >= 2]
    nodecay_params = [p for n, p in param_dict.items() if p.dim() < 2]
    optim_groups = [
        {"params": decay_params, "weight_decay": weight_decay},
        {"params": nodecay_params, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(optim_groups, lr=learning_rate, betas=betas)


def adjust_learning_rate(optimizer, epoch, warmup=3, epochs=10, lr=1e-2, min_lr=1e-4):
    """Decay the learning rate with half-cycle cosine after warmup."""
    if epoch < warmup:
        lr = lr * epoch / warmup
    else:
        lr = min_lr + (lr - min_lr) * 0.5 * (
            1.0 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))
        )
    for param_group in optimizer.param_groups:
        if "lr_scale" in param_group:
            param_group["lr"] = lr * param_group["lr_scale"]
        else:
            param_group["lr"] = lr
    return lr


def run(given):
    x, target = given.randn(4, 3, 12, 12), given.randint(0, 5, (4,))
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0]))
    model = given.weights(Net())
    optimizer = configure_optimizers(model, 0.1, 1e-2, (0.9, 0.95))
    optimizer.param_groups[1]["lr_scale"] = 0.5
    losses = []
    for epoch in range(10):
        adjust_learning_rate(optimizer, epoch + 1)
        loss = criterion(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    given.record("losses", losses)
    given.record("rates", [[g["lr"], g["weight_decay"]] for g in optimizer.param_groups])

    # another optimizer goes on from the saved state
    other = Net()
    other.load_state_dict(model.state_dict())
    resumed = configure_optimizers(other, 0.1, 1e-2, (0.9, 0.95))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for net, optim in [(model, optimizer), (other, resumed)]:
        optim.zero_grad()
        criterion(net(x), target).backward()
        optim.step()
    given.record(
        "same", [torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters())]
    )

    third = given.weights(Net(), "third")
    sgd = torch.optim.SGD(third.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, T_0=4, T_mult=2)
    rates = []
    for epoch in range(10):
        sgd.zero_grad()
        criterion(third(x), target).backward()
        sgd.step()
        rates.append(sgd.param_groups[0]["lr"])
        scheduler.step()
    given.record("restarts", rates)
    chosen = torch.optim.Adagrad(third.parameters(), lr=0.01)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(chosen, mode="min", factor=0.1, patience=1)
    for epoch in range(5):
        chosen.zero_grad()
        loss = criterion(third(x), target)
        loss.backward()
        chosen.step()
        plateau.step(loss.item() if epoch < 2 else 10.0)
    given.record("plateau", chosen.param_groups[0]["lr"])
