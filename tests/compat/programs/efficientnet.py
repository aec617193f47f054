"""EfficientNet: inverted residuals with squeeze-and-excitation and swish."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def swish(x):
    return x * x.sigmoid()


def drop_connect(x, mask, keep_ratio):
    return x / keep_ratio * mask


class SE(nn.Module):
    """Squeeze-and-excitation with swish."""

    def __init__(self, in_channels, se_channels):
        super(SE, self).__init__()
        self.se1 = nn.Conv2d(in_channels, se_channels, kernel_size=1, bias=True)
        self.se2 = nn.Conv2d(se_channels, in_channels, kernel_size=1, bias=True)

    def forward(self, x):
        out = F.adaptive_avg_pool2d(x, (1, 1))
        out = swish(self.se1(out))
        out = self.se2(out).sigmoid()
        return x * out


class Block(nn.Module):
    """Expansion + depthwise + pointwise + squeeze-and-excitation."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, expand_ratio=1):
        super(Block, self).__init__()
        self.expand_ratio = expand_ratio
        channels = expand_ratio * in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        self.conv2 = nn.Conv2d(
            channels,
            channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=(1 if kernel_size == 3 else 2),
            groups=channels,
            bias=False,
        )
        self.bn2 = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        self.se = SE(channels, max(1, int(in_channels * 0.25)))
        self.conv3 = nn.Conv2d(channels, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
        self.has_skip = (stride == 1) and (in_channels == out_channels)

    def forward(self, x, mask):
        out = x if self.expand_ratio == 1 else swish(self.bn1(self.conv1(x)))
        out = swish(self.bn2(self.conv2(out)))
        out = self.se(out)
        out = self.bn3(self.conv3(out))
        if self.has_skip:
            if self.training:
                out = drop_connect(out, mask, 0.8)
            out = out + x
        return out


class EfficientNet(nn.Module):
    def __init__(self, cfg, mask, num_classes=10):
        super(EfficientNet, self).__init__()
        self.register_buffer("mask", mask)
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList([])
        in_channels = 8
        for expansion, out_channels, num_blocks, kernel_size, stride in cfg:
            for s in [stride] + [1] * (num_blocks - 1):
                self.blocks.append(Block(in_channels, out_channels, kernel_size, s, expansion))
                in_channels = out_channels
        self.linear = nn.Linear(in_channels, num_classes)
        self.act = nn.SiLU()

    def forward(self, x):
        out = self.act(self.bn1(self.conv1(x)))
        for block in self.blocks:
            out = block(out, self.mask)
        out = F.adaptive_avg_pool2d(out, 1)
        out = out.view(out.size(0), -1)
        if self.training:
            out = F.dropout(out, p=0.0, training=self.training)
        return self.linear(out)


def run(given):
    cfg = [(1, 8, 1, 3, 1), (2, 12, 2, 3, 2), (3, 16, 2, 5, 2)]
    mask = torch.ones(3, 1, 1, 1)
    mask[1] = 0.0  # the second image skips these blocks
    net = EfficientNet(cfg, mask)
    # a block that does not expand leaves its first convolution unused
    given.train(net, given.randn(3, 3, 12, 12), given.randint(0, 10, (3,)))
