"""Softmax regression from scratch, with an accumulator of accuracy."""

import torch
from torch.utils.data import DataLoader, TensorDataset


class Accumulator:
    """For accumulating sums over n variables."""

    def __init__(self, n):
        self.data = [0.0] * n

    def add(self, *args):
        self.data = [a + float(b) for a, b in zip(self.data, args)]

    def reset(self):
        self.data = [0.0] * len(self.data)

    def __getitem__(self, idx):
        return self.data[idx]


def softmax(X):
    X_exp = torch.exp(X)
    partition = X_exp.sum(1, keepdim=True)
    return X_exp / partition  # broadcasting


def cross_entropy(y_hat, y):
    return -torch.log(y_hat[range(len(y_hat)), y])


def accuracy(y_hat, y):
    """Compute the number of correct predictions."""
    if len(y_hat.shape) > 1 and y_hat.shape[1] > 1:
        y_hat = y_hat.argmax(axis=1)
    cmp = y_hat.type(y.dtype) == y
    return float(cmp.type(y.dtype).sum())


def train_epoch(net, train_iter, loss, updater):
    metric = Accumulator(3)
    for X, y in train_iter:
        y_hat = net(X)
        value = loss(y_hat, y)
        value.sum().backward()
        updater(X.shape[0])
        metric.add(float(value.sum()), accuracy(y_hat, y), y.numel())
    return metric[0] / metric[2], metric[1] / metric[2]


def run(given):
    num_inputs, num_outputs, lr = 16, 3, 0.1
    W = (given.randn(num_inputs, num_outputs) * 0.01).requires_grad_()
    b = torch.zeros(num_outputs, requires_grad=True)

    def net(X):
        return softmax(torch.matmul(X.reshape((-1, W.shape[0])), W) + b)

    def updater(batch_size):
        with torch.no_grad():
            for param in (W, b):
                param -= lr * param.grad / batch_size
                param.grad.zero_()

    train_iter = DataLoader(
        TensorDataset(given.randn(12, 1, 4, 4), given.randint(0, 3, (12,))), batch_size=5
    )
    X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    given.record("sums", X.sum(0, keepdim=True) + X.sum(1, keepdim=True))
    y_hat = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])
    y = torch.tensor([0, 2])
    given.record("picked", y_hat[[0, 1], y])
    given.record(
        "history", [train_epoch(net, train_iter, cross_entropy, updater) for _ in range(4)]
    )
    given.record("W", W)
    given.record("b", b)
