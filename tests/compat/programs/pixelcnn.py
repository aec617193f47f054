"""PixelCNN: masked convolutions, a class for each gray level, sampling pixel by pixel."""

import torch
import torch.nn.functional as F
from torch import nn, optim


class MaskedConv2d(nn.Conv2d):
    def __init__(self, mask_type, *args, **kwargs):
        super(MaskedConv2d, self).__init__(*args, **kwargs)
        assert mask_type in {"A", "B"}
        self.register_buffer("mask", self.weight.data.clone())
        _, _, kH, kW = self.weight.size()
        self.mask.fill_(1)
        self.mask[:, :, kH // 2, kW // 2 + (mask_type == "B") :] = 0
        self.mask[:, :, kH // 2 + 1 :] = 0

    def forward(self, x):
        self.weight.data *= self.mask
        return super(MaskedConv2d, self).forward(x)


def run(given):
    fm, levels = 6, 4
    net = nn.Sequential(
        MaskedConv2d("A", 1, fm, 5, 1, 2, bias=False), nn.BatchNorm2d(fm), nn.ReLU(True),
        MaskedConv2d("B", fm, fm, 3, 1, 1, bias=False), nn.BatchNorm2d(fm), nn.ReLU(True),
        nn.Conv2d(fm, levels, 1),
    )  # fmt: skip
    given.weights(net)
    optimizer = optim.Adam(net.parameters())
    images = given.randint(0, levels, (3, 1, 6, 6))
    input = images.double() / (levels - 1)
    losses = []
    net.train(True)
    for step in range(10):
        target = images[:, 0].long()
        loss = F.cross_entropy(net(input), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    given.record("losses", losses)

    sample = torch.Tensor(2, 1, 6, 6).to(input.dtype)
    sample.fill_(0)
    net.train(False)
    with torch.no_grad():
        for i in range(2):
            for j in range(6):
                out = net(sample)
                probs = F.softmax(out[:, :, i, j], dim=1).data
                chosen = torch.argmax(probs, dim=1).unsqueeze(1)
                sample[:, :, i, j] = chosen.double() / (levels - 1)
    given.record("sample", sample)

    # no output sees its own pixel or a later one
    probe = given.rand(1, 1, 6, 6).requires_grad_()
    net(probe)[0, :, 3, 2].sum().backward()
    seen = (probe.grad[0, 0] != 0).long()
    assert seen[3, 2:].sum() == 0
    assert seen[4:].sum() == 0
    given.record("seen", seen)
