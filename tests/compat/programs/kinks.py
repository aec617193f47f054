"""At kinks and ties: zero background, zero biases, equal maxima, bounds of clamp."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=3)
        self.conv2 = nn.Conv2d(6, 8, kernel_size=3)
        self.fc1 = nn.Linear(8 * 2 * 2, 12)
        self.fc2 = nn.Linear(12, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, 8 * 2 * 2)
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=-1)


def digits(given, n):
    """Pictures whose border is black, as digits are."""
    x = torch.zeros(n, 1, 14, 14)
    x[:, :, 5:8, 4:9] = given.rand(n, 1, 3, 5)
    return x


def train(given, model, x, target, name):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    losses = []
    x.requires_grad_()
    for step in range(10):
        optimizer.zero_grad()
        loss = F.nll_loss(model(x), target)
        loss.backward()
        if step == 0:
            given.record(name + " input gradient", x.grad)
            given.gradients(name + " first gradient", model)
        optimizer.step()
        losses.append(loss.item())
    given.record(name + " losses", losses)


def run(given):
    target = given.randint(0, 10, (3,))
    # biases of zero: each pixel of the background is exactly at the kink
    model = given.weights(Net())
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(m.bias)
    train(given, model, digits(given, 3), target, "zero")
    # other biases: the windows of the background are ties
    train(given, given.weights(Net(), "biased"), digits(given, 3), target, "biased")

    v = torch.tensor([-7.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 7.0])
    activations = {
        "relu": F.relu, "leaky": lambda x: F.leaky_relu(x, 0.1), "elu": F.elu, "selu": F.selu,
        "relu6": F.relu6, "hardtanh": F.hardtanh,
        "hardswish": F.hardswish, "softplus": F.softplus, "silu": F.silu, "gelu": F.gelu,
        "softsign": F.softsign, "abs": torch.abs, "clamp": lambda x: x.clamp(-1, 3),
        "min only": lambda x: torch.clamp(x, min=0), "square": lambda x: x.pow(2),
        "prelu": lambda x: F.prelu(x, torch.tensor([0.25])), "sign": torch.sign,
        "logsigmoid": F.logsigmoid, "celu": F.celu, "round": torch.round, "floor": torch.floor,
        "threshold": lambda x: F.threshold(x, 0.5, -2.0), "tanh": torch.tanh,
        "smooth l1": lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"),
        "l1": lambda x: F.l1_loss(x, torch.zeros_like(x), reduction="none"),
        "huber": lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none", delta=3.0),
    }  # fmt: skip
    for name, function in activations.items():
        x = v.clone().requires_grad_()
        y = function(x)
        y.sum().backward()
        given.record(name, y)
        given.record(name + " slope", x.grad)

    pairs = {
        "max": torch.max, "min": torch.min, "maximum": torch.maximum, "minimum": torch.minimum,
        "where": lambda a, b: torch.where(a >= b, a, b), "distance": lambda a, b: (a - b).norm(),
    }  # fmt: skip
    for name, function in pairs.items():
        a = torch.tensor([1.0, 2.0, 2.0, 0.0]).requires_grad_()
        b = torch.tensor([1.0, 3.0, 2.0, -1.0]).requires_grad_()
        y = function(a, b)
        y.sum().backward()
        given.record("pair " + name, y)
        given.record("pair " + name + " slopes", [a.grad, b.grad])

    ties = torch.tensor([[2.0, 5.0, 5.0, 1.0], [3.0, 3.0, 3.0, 3.0]])
    reductions = {
        "max of a row": lambda x: x.max(dim=1)[0], "min of a row": lambda x: x.min(dim=1)[0],
        "amax": lambda x: x.amax(dim=1), "amin": lambda x: torch.amin(x, dim=(1,)),
        "largest": lambda x: x.max(), "smallest": lambda x: torch.min(x),
        "norm of zero": lambda x: (x - x.detach()).norm(), "prod": lambda x: (x - 3.0).prod(dim=1),
        "logsumexp": lambda x: torch.logsumexp(x, dim=1),
        "pool": lambda x: F.max_pool1d(x.unsqueeze(1), 2), "std": lambda x: x[:1].std(dim=1),
        "adaptive": lambda x: F.adaptive_max_pool1d(x.unsqueeze(1), 1),
    }  # fmt: skip
    for name, function in reductions.items():
        x = ties.clone().requires_grad_()
        y = function(x)
        y.sum().backward()
        given.record("reduced by " + name, y)
        given.record("reduced by " + name + ": slopes", x.grad)
    given.record("argmax of ties", [ties.argmax(dim=1)[0], ties.argmin(dim=1)[0], ties.argmax()])
