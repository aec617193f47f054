"""Perceptron with one hidden layer from scratch: ReLU by torch.max, dropout by a mask."""

import torch
from torch import nn


def relu(X):
    a = torch.zeros_like(X)
    return torch.max(X, a)


def dropout_layer(X, dropout, noise):
    assert 0 <= dropout <= 1
    if dropout == 1:
        return torch.zeros_like(X)
    if dropout == 0:
        return X
    mask = (noise > dropout).type(X.dtype)
    return mask * X / (1.0 - dropout)


def l2_penalty(w):
    return (w**2).sum() / 2


class MySequential(nn.Module):
    def __init__(self, *args):
        super().__init__()
        for idx, module in enumerate(args):
            self.add_module(str(idx), module)

    def forward(self, X):
        for module in self.children():
            X = module(X)
        return X


class MyLinear(nn.Module):
    def __init__(self, in_units, units):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_units, units))
        self.bias = nn.Parameter(torch.randn(units))

    def forward(self, X):
        linear = torch.matmul(X, self.weight) + self.bias
        return torch.nn.functional.relu(linear)


class FixedHiddenMLP(nn.Module):
    def __init__(self, rand_weight):
        super().__init__()
        # a constant parameter, not updated during training
        self.rand_weight = rand_weight
        self.linear = nn.Linear(20, 20)

    def forward(self, X):
        X = self.linear(X)
        X = torch.relu(torch.mm(X, self.rand_weight) + 1)
        # the same layer again: it shares its parameters
        X = self.linear(X)
        while X.abs().sum() > 1:
            X /= 2
        return X.sum()


def run(given):
    num_inputs, num_hiddens, num_outputs = 20, 12, 5
    W1 = nn.Parameter(given.randn(num_inputs, num_hiddens) * 0.1)
    b1 = nn.Parameter(torch.zeros(num_hiddens, requires_grad=True))
    W2 = nn.Parameter(given.randn(num_hiddens, num_outputs) * 0.1)
    b2 = nn.Parameter(torch.zeros(num_outputs, requires_grad=True))
    params = [W1, b1, W2, b2]
    loss = nn.CrossEntropyLoss(reduction="none")
    updater = torch.optim.SGD(params, lr=0.1)
    X, y, noise = given.randn(6, 4, 5), given.randint(0, 5, (6,)), given.rand(6, num_hiddens)
    losses = []
    for _ in range(10):
        H = relu(X.reshape((-1, num_inputs)) @ W1 + b1)
        H = dropout_layer(H, 0.4, noise)
        value = loss(H @ W2 + b2, y)
        updater.zero_grad()
        (value.mean() + 0.01 * l2_penalty(W1)).backward()
        updater.step()
        losses.append(value.mean().item())
    given.record("losses", losses)
    for i, param in enumerate(params):
        given.record("parameter %d" % i, param)
        given.record("gradient %d" % i, param.grad)

    net = given.weights(MySequential(MyLinear(20, 8), nn.Linear(8, 2)), "blocks")
    out = net(X.view(6, -1))
    out.sum().backward()
    given.record("out", out)
    fixed = given.weights(FixedHiddenMLP(given.rand(20, 20)), "fixed")
    scalar = fixed(given.randn(2, 20))
    scalar.backward()
    given.record("scalar", scalar)
