"""LeNet with sigmoids and average pools, shared layers, lazily printed shapes."""

import torch
from torch import nn


class Reshape(torch.nn.Module):
    def forward(self, x):
        return x.view(-1, 1, 20, 20)


def corr2d(X, K):
    """Compute 2D cross-correlation, entry by entry."""
    h, w = K.shape
    Y = torch.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1))
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


def init_weights(m):
    if type(m) == nn.Linear or type(m) == nn.Conv2d:
        nn.init.xavier_uniform_(m.weight)


def run(given):
    # learn the edge filter [1, -1] from examples
    X = torch.ones((6, 8))
    X[:, 2:6] = 0
    K = torch.tensor([[1.0, -1.0]])
    Y = corr2d(X, K)
    given.record("edges", Y)
    conv2d = given.weights(nn.Conv2d(1, 1, kernel_size=(1, 2), bias=False), "edge")
    X = X.reshape((1, 1, 6, 8))
    Y = Y.reshape((1, 1, 6, 7))
    errors = []
    for i in range(10):
        Y_hat = conv2d(X)
        loss = (Y_hat - Y) ** 2
        conv2d.zero_grad()
        loss.sum().backward()
        # Update the kernel
        conv2d.weight.data[:] -= 3e-2 * conv2d.weight.grad
        errors.append(loss.sum().item())
    given.record("errors", errors)

    net = torch.nn.Sequential(
        Reshape(),
        nn.Conv2d(1, 4, kernel_size=5, padding=2), nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Conv2d(4, 8, kernel_size=5), nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(8 * 3 * 3, 20), nn.Sigmoid(),
        nn.Linear(20, 12), nn.Sigmoid(),
        nn.Linear(12, 10),
    )  # fmt: skip
    shapes = []
    X = torch.zeros(size=(1, 1, 20, 20), dtype=torch.get_default_dtype())
    for layer in net:
        X = layer(X)
        shapes.append(X.numel())
    given.record("shapes", shapes)
    net.apply(init_weights)
    bound = (6 / (20 + 72)) ** 0.5
    assert net[8].weight.abs().max() <= bound
    given.train(net, given.randn(4, 1, 20, 20), given.randint(0, 10, (4,)), lr=0.5)
