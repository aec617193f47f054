"""Network in network: blocks of 1x1 convolutions, global average pool."""

import torch
from torch import nn


def nin_block(in_channels, out_channels, kernel_size, strides, padding):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, strides, padding),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1),
        nn.ReLU(),
    )


net = nn.Sequential(
    nin_block(1, 8, kernel_size=5, strides=2, padding=0),
    nn.MaxPool2d(3, stride=2),
    nin_block(8, 12, kernel_size=3, strides=1, padding=1),
    nn.MaxPool2d(3, stride=2),
    nn.Dropout(0.0),
    # There are 10 label classes
    nin_block(12, 10, kernel_size=3, strides=1, padding=1),
    nn.AdaptiveAvgPool2d((1, 1)),
    # Transform the four-dimensional output into two-dimensional output
    nn.Flatten(),
)


def conv_1x1(X, K):
    """A 1x1 convolution is a matrix product at each pixel."""
    c_i, h, w = X.shape
    c_o = K.shape[0]
    X = X.reshape((c_i, h * w))
    K = K.reshape((c_o, c_i))
    return torch.matmul(K, X).reshape((c_o, h, w))


def run(given):
    given.train(net, given.randn(4, 1, 28, 28), given.randint(0, 10, (4,)))
    X, conv = given.randn(12, 5, 4), net[5][2]
    by_hand = conv_1x1(X[:10], conv.weight.detach()) + conv.bias.detach()[:, None, None]
    assert float(torch.abs(by_hand - conv(X[:10].unsqueeze(0))[0]).sum()) < 1e-6
    given.record("by hand", by_hand)
