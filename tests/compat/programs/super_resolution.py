"""Super-resolution by sub-pixel convolution, with PSNR."""

from math import log10

import torch
import torch.nn as nn
import torch.nn.init as init
import torch.optim as optim


class Net(nn.Module):
    def __init__(self, upscale_factor):
        super(Net, self).__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 8, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(8, 8, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(8, 4, (3, 3), (1, 1), (1, 1))
        self.conv4 = nn.Conv2d(4, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        self._initialize_weights()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.relu(self.conv3(x))
        x = self.pixel_shuffle(self.conv4(x))
        return x

    def _initialize_weights(self):
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv4.weight)


def run(given):
    low, high = given.rand(2, 1, 8, 8), given.rand(2, 1, 24, 24)
    net = Net(upscale_factor=3)
    rows = net.conv4.weight.detach().view(9, -1)
    given.record("gram", torch.mm(rows, rows.t()))
    model = given.weights(net)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    low.requires_grad_()
    losses, psnr = [], []
    for iteration in range(10):
        optimizer.zero_grad()
        out = model(low)
        loss = criterion(out, high)
        loss.backward()
        if iteration == 0:
            given.record("output", out)
            given.record("input gradient", low.grad)
        optimizer.step()
        losses.append(loss.item())
        psnr.append(10 * log10(1 / loss.item()))
    given.record("losses", losses)
    given.record("psnr", psnr)
