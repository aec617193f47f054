"""Gradient accumulation over micro-batches, GroupNorm with weight standardization."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class StdConv2d(nn.Conv2d):
    """A convolution whose weights are standardized per filter."""

    def forward(self, x):
        w = self.weight
        v, m = torch.var_mean(w, dim=[1, 2, 3], keepdim=True, unbiased=False)
        w = (w - m) / torch.sqrt(v + 1e-10)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


def conv3x3(cin, cout, stride=1, groups=1, bias=False):
    return StdConv2d(cin, cout, kernel_size=3, stride=stride, padding=1, bias=bias, groups=groups)


class PreActUnit(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.gn1 = nn.GroupNorm(2, cin)
        self.conv1 = conv3x3(cin, cout, stride)
        self.gn2 = nn.GroupNorm(2, cout)
        self.conv2 = conv3x3(cout, cout)
        self.relu = nn.ReLU(inplace=True)
        if stride != 1 or cin != cout:
            self.downsample = StdConv2d(cin, cout, kernel_size=1, stride=stride, bias=False)

    def forward(self, x):
        out = self.relu(self.gn1(x))
        residual = self.downsample(out) if hasattr(self, "downsample") else x
        out = self.conv1(out)
        out = self.conv2(self.relu(self.gn2(out)))
        return out + residual


def run(given):
    model = nn.Sequential(
        conv3x3(3, 8),
        PreActUnit(8, 8),
        PreActUnit(8, 12, stride=2),
        nn.GroupNorm(3, 12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    model = given.weights(model)
    criterion = nn.CrossEntropyLoss()
    accum_iter = 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    data_loader = [(given.randn(2, 3, 8, 8), given.randint(0, 5, (2,))) for _ in range(8)]
    losses = []
    model.zero_grad()
    for epoch in range(2):
        for batch_idx, (inputs, labels) in enumerate(data_loader):
            with torch.set_grad_enabled(True):
                preds = model(inputs)
                loss = criterion(preds, labels)
                # normalize loss to account for batch accumulation
                loss = loss / accum_iter
                loss.backward()
                # weights update
                if ((batch_idx + 1) % accum_iter == 0) or (batch_idx + 1 == len(data_loader)):
                    optimizer.step()
                    optimizer.zero_grad()
            losses.append(loss.item())
    given.record("losses", losses)

    # the sum of the gradients of parts is the gradient of the whole batch
    x = torch.cat([inputs for inputs, _ in data_loader])
    y = torch.cat([labels for _, labels in data_loader])
    for a, b in zip(x.split(4), torch.split(y, 4)):
        (criterion(model(a), b) * len(a) / len(x)).backward()
    parts = [p.grad.clone() for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    criterion(model(x), y).backward()
    for part, p in zip(parts, model.parameters()):
        assert torch.allclose(part, p.grad)
