"""Inception-v3 blocks: asymmetric kernels, an auxiliary classifier."""

import torch
import torch.nn.functional as F
from torch import nn


class BasicConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x)
        return F.relu(x, inplace=True)


class InceptionC(nn.Module):
    def __init__(self, in_channels, c7, out=6):
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, out, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(in_channels, c7, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(c7, c7, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(c7, out, kernel_size=(7, 1), padding=(3, 0))
        self.branch_pool = BasicConv2d(in_channels, out, kernel_size=1)

    def _forward(self, x):
        branch1x1 = self.branch1x1(x)
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch_pool = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        branch_pool = self.branch_pool(branch_pool)
        return [branch1x1, branch7x7, branch_pool]

    def forward(self, x):
        return torch.cat(self._forward(x), 1)


class InceptionE(nn.Module):
    def __init__(self, in_channels, out=6):
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, out, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(out, out, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(out, out, kernel_size=(3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(in_channels, out, kernel_size=1)

    def forward(self, x):
        branch3x3 = self.branch3x3_1(x)
        branch3x3 = [self.branch3x3_2a(branch3x3), self.branch3x3_2b(branch3x3)]
        branch3x3 = torch.cat(branch3x3, 1)
        pool = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([branch3x3, self.branch_pool(pool)], 1)


class InceptionAux(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 8, kernel_size=1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = F.avg_pool2d(x, kernel_size=3, stride=2)
        x = F.adaptive_avg_pool2d(self.conv0(x), (1, 1))
        return self.fc(torch.flatten(x, 1))


class Inception(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = BasicConv2d(3, 8, kernel_size=3, stride=2)
        self.c = InceptionC(8, 4)
        self.aux = InceptionAux(18, num_classes)
        self.e = InceptionE(18)
        self.fc = nn.Linear(18, num_classes)

    def forward(self, x):
        x = self.c(self.stem(x))
        aux = self.aux(x) if self.training else None
        x = self.e(F.max_pool2d(x, kernel_size=3, stride=2))
        x = torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)
        x = self.fc(x)
        if self.training:
            return x, aux
        return x


def run(given):
    model = given.weights(Inception())
    x, target = given.randn(2, 3, 19, 19), given.randint(0, 10, (2,))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1.0, momentum=0.9)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    x.requires_grad_()
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        outputs, aux_outputs = model(x)
        loss1 = criterion(outputs, target)
        loss2 = criterion(aux_outputs, target)
        loss = loss1 + 0.4 * loss2
        loss.backward()
        if step == 0:
            given.record("outputs", [outputs, aux_outputs])
            given.record("input gradient", x.grad)
            given.gradients("first gradient", model)
        optimizer.step()
        losses.append([loss1.item(), loss2.item()])
    given.record("losses", losses)
    given.record("evaluated", model.eval()(x))
