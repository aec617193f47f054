"""RegNet with grouped convolutions and squeeze-and-excitation."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class SE(nn.Module):
    def __init__(self, in_planes, se_planes):
        super(SE, self).__init__()
        self.se1 = nn.Conv2d(in_planes, se_planes, kernel_size=1, bias=True)
        self.se2 = nn.Conv2d(se_planes, in_planes, kernel_size=1, bias=True)

    def forward(self, x):
        out = F.adaptive_avg_pool2d(x, (1, 1))
        out = F.relu(self.se1(out))
        out = self.se2(out).sigmoid()
        out = x * out
        return out


class Block(nn.Module):
    def __init__(self, w_in, w_out, stride, group_width, bottleneck_ratio, se_ratio):
        super(Block, self).__init__()
        w_b = int(round(w_out * bottleneck_ratio))
        self.conv1 = nn.Conv2d(w_in, w_b, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w_b)
        num_groups = w_b // group_width
        self.conv2 = nn.Conv2d(
            w_b, w_b, kernel_size=3, stride=stride, padding=1, groups=num_groups, bias=False
        )
        self.bn2 = nn.BatchNorm2d(w_b)
        self.with_se = se_ratio > 0
        if self.with_se:
            self.se = SE(w_b, int(round(w_in * se_ratio)))
        self.conv3 = nn.Conv2d(w_b, w_out, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(w_out)

        self.shortcut = nn.Sequential()
        if stride != 1 or w_in != w_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(w_in, w_out, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(w_out),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        if self.with_se:
            out = self.se(out)
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        out = F.relu(out)
        return out


class RegNet(nn.Module):
    def __init__(self, cfg, num_classes=10):
        super(RegNet, self).__init__()
        self.cfg = cfg
        self.in_planes = 8
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        for idx in range(len(cfg["depths"])):
            self.add_module("layer%d" % (idx + 1), self._make_layer(idx))
        self.linear = nn.Linear(self.cfg["widths"][-1], num_classes)

    def _make_layer(self, idx):
        depth, width = self.cfg["depths"][idx], self.cfg["widths"][idx]
        stride, group_width = self.cfg["strides"][idx], self.cfg["group_width"]
        layers = []
        for i in range(depth):
            s = stride if i == 0 else 1
            layers.append(
                Block(
                    self.in_planes,
                    width,
                    s,
                    group_width,
                    self.cfg["bottleneck_ratio"],
                    self.cfg["se_ratio"],
                )
            )
            self.in_planes = width
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.layer3(out)
        out = F.adaptive_avg_pool2d(out, (1, 1))
        out = torch.squeeze(torch.squeeze(out, 3), 2)
        return self.linear(out)


def run(given):
    cfg = {
        "depths": [1, 1, 2],
        "widths": [8, 12, 20],
        "strides": [1, 2, 2],
        "group_width": 4,
        "bottleneck_ratio": 1,
        "se_ratio": 0.25,
    }
    given.train(RegNet(cfg), given.randn(3, 3, 16, 16), given.randint(0, 10, (3,)))
