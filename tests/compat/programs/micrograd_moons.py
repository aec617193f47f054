"""The demo of a scalar engine, in tensors: two moons, an MLP, SVM loss, linear decay."""

import math

import torch
import torch.nn as nn


def moons(n, noise):
    t = torch.linspace(0, math.pi, n // 2)
    outer = torch.stack([torch.cos(t), torch.sin(t)], dim=1)
    inner = torch.stack([1 - torch.cos(t), 1 - torch.sin(t) - 0.5], dim=1)
    X = torch.cat([outer, inner]) + 0.1 * noise
    y = torch.cat([torch.zeros(n // 2), torch.ones(n // 2)])
    return X, y * 2 - 1  # make y be -1 or 1


class Neuron(nn.Module):
    def __init__(self, nin, nonlin=True):
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(torch.tensor(0.1 * i)) for i in range(nin)])
        self.b = nn.Parameter(torch.tensor(0.0))
        self.nonlin = nonlin

    def forward(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return act.relu() if self.nonlin else act


class MLP(nn.Module):
    def __init__(self, nin, nouts):
        super().__init__()
        sz = [nin] + nouts
        layers = []
        for i in range(len(nouts)):
            layers.append(nn.Linear(sz[i], sz[i + 1]))
            if i != len(nouts) - 1:
                layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def loss(model, X, y):
    scores = model(X)
    # svm "max-margin" loss
    data_loss = (1 + -y * scores).relu().mean()
    # L2 regularization
    alpha = 1e-4
    reg_loss = alpha * sum((p * p).sum() for p in model.parameters())
    total_loss = data_loss + reg_loss
    accuracy = ((y > 0) == (scores > 0)).double().mean()
    return total_loss, accuracy.item()


def run(given):
    X, y = moons(20, given.randn(20, 2))
    model = given.weights(MLP(2, [16, 16, 1]))
    log = []
    for k in range(10):
        total_loss, acc = loss(model, X, y)
        # backward
        model.zero_grad()
        total_loss.backward()
        # update (sgd)
        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data += -learning_rate * p.grad
        log.append([total_loss.item(), acc])
    given.record("log", log)

    neuron = given.weights(Neuron(3), "neuron")
    out = neuron([1.0, -2.0, 0.5]) + neuron(given.randn(3))
    out.backward()
    given.record("neuron", out)

    # a scalar expression with everything in it
    a = torch.tensor([-4.0], requires_grad=True)
    b = torch.tensor([2.0], requires_grad=True)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    given.record("g", g.data.item())
    given.record("a", a.grad.item())
    given.record("b", b.grad.item())

    # a mesh for the decision boundary
    xx, yy = torch.meshgrid(
        torch.arange(-1.0, 2.0, 0.5), torch.arange(-1.0, 1.5, 0.5), indexing="ij"
    )
    with torch.no_grad():
        Z = model(torch.stack([xx.ravel(), yy.ravel()], dim=-1)).view(xx.shape)
    given.record("boundary", Z)
