"""DnCNN: a deep plain network that predicts the noise."""

import torch
import torch.nn as nn
import torch.nn.init as init
from torch.nn.modules.loss import _Loss
from torch.optim.lr_scheduler import MultiStepLR


class DnCNN(nn.Module):
    def __init__(self, depth=5, n_channels=8, image_channels=1, use_bnorm=True, kernel_size=3):
        super(DnCNN, self).__init__()
        padding = 1
        layers = []
        layers.append(
            nn.Conv2d(image_channels, n_channels, kernel_size, padding=padding, bias=True)
        )
        layers.append(nn.ReLU(inplace=True))
        for _ in range(depth - 2):
            layers.append(
                nn.Conv2d(n_channels, n_channels, kernel_size, padding=padding, bias=False)
            )
            layers.append(nn.BatchNorm2d(n_channels, eps=0.0001, momentum=0.95))
            layers.append(nn.ReLU(inplace=True))
        layers.append(
            nn.Conv2d(n_channels, image_channels, kernel_size, padding=padding, bias=False)
        )
        self.dncnn = nn.Sequential(*layers)
        self._initialize_weights()

    def forward(self, x):
        y = x
        out = self.dncnn(x)
        return y - out

    def _initialize_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.orthogonal_(m.weight)
                if m.bias is not None:
                    init.constant_(m.bias, 0)
            elif isinstance(m, nn.BatchNorm2d):
                init.constant_(m.weight, 1)
                init.constant_(m.bias, 0)


class sum_squared_error(_Loss):
    """The sum of squared errors, halved."""

    def __init__(self, size_average=None, reduce=None, reduction="sum"):
        super(sum_squared_error, self).__init__(size_average, reduce, reduction)

    def forward(self, input, target):
        return torch.nn.functional.mse_loss(input, target, reduction="sum").div_(2)


def total_variation(x):
    return (x[:, :, 1:] - x[:, :, :-1]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()


def run(given):
    model = given.weights(DnCNN())
    model.train()
    criterion = sum_squared_error()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = MultiStepLR(optimizer, milestones=[3, 6], gamma=0.2)
    batch_x = given.rand(2, 1, 12, 12)
    log = []
    for epoch in range(10):
        noise = given.randn(2, 1, 12, 12) * 25 / 255.0
        batch_y = batch_x + noise
        optimizer.zero_grad()
        denoised = model(batch_y)
        loss = criterion(denoised, batch_x) + 0.1 * total_variation(denoised)
        loss.backward()
        optimizer.step()
        log.append([loss.item(), scheduler.get_last_lr()[0]])
        scheduler.step()
    given.record("log", log)
    model.eval()
    with torch.no_grad():
        given.record("denoised", model(batch_y))
