"""Fully convolutional segmentation: bilinear deconvolution, skip connections, dilation, IoU."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def get_upsampling_weight(in_channels, out_channels, kernel_size):
    """Make a 2D bilinear kernel suitable for upsampling."""
    factor = (kernel_size + 1) // 2
    if kernel_size % 2 == 1:
        center = factor - 1
    else:
        center = factor - 0.5
    og = np.ogrid[:kernel_size, :kernel_size]
    filt = (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)
    weight = np.zeros((in_channels, out_channels, kernel_size, kernel_size), dtype=np.float64)
    weight[range(in_channels), range(out_channels), :, :] = filt
    return torch.from_numpy(weight)


class ASPP(nn.Module):
    """Atrous pyramid: parallel dilated convolutions and the mean of the image."""

    def __init__(self, in_channels, out_channels, rates):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=r, dilation=r, bias=False)
            for r in rates
        )
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, out_channels, 1))
        self.project = nn.Conv2d(out_channels * (len(rates) + 1), out_channels, 1)

    def forward(self, x):
        outs = [branch(x) for branch in self.branches]
        pooled = F.interpolate(
            self.image(x), size=x.shape[-2:], mode="bilinear", align_corners=False
        )
        return F.relu(self.project(torch.cat(outs + [pooled], dim=1)))


class FCN(nn.Module):
    def __init__(self, n_class=4):
        super(FCN, self).__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=10)
        self.pool1 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.aspp = ASPP(8, 8, [1, 2, 3])
        self.drop = nn.Dropout2d(0.0)
        self.score = nn.Conv2d(8, n_class, 1)
        self.score_pool1 = nn.Conv2d(6, n_class, 1)
        self.upscore2 = nn.ConvTranspose2d(n_class, n_class, 4, stride=2, bias=False)
        self.upscore4 = nn.ConvTranspose2d(n_class, n_class, 4, stride=2, bias=False)
        for m in self.modules():
            if isinstance(m, nn.ConvTranspose2d):
                assert m.kernel_size[0] == m.kernel_size[1]
                initial_weight = get_upsampling_weight(
                    m.in_channels, m.out_channels, m.kernel_size[0]
                )
                m.weight.data.copy_(initial_weight)

    def forward(self, x):
        h = x
        h = F.relu(self.conv1(h), inplace=True)
        pool1 = h = self.pool1(h)
        h = self.pool2(F.relu(self.conv2(h)))
        h = self.drop(self.aspp(h))
        h = self.upscore2(self.score(h))
        skip = self.score_pool1(pool1 * 0.1)
        skip = skip[:, :, 1 : 1 + h.size()[2], 1 : 1 + h.size()[3]]
        h = h[:, :, : skip.size(2), : skip.size(3)] + skip
        h = self.upscore4(h)
        h = h[:, :, 5 : 5 + x.size()[2], 5 : 5 + x.size()[3]].contiguous()
        return h


def cross_entropy2d(input, target, weight=None, size_average=True):
    # input: (n, c, h, w), target: (n, h, w)
    n, c, h, w = input.size()
    log_p = F.log_softmax(input, dim=1)
    # log_p: (n*h*w, c)
    log_p = log_p.transpose(1, 2).transpose(2, 3).contiguous()
    log_p = log_p[target.view(n, h, w, 1).repeat(1, 1, 1, c) >= 0]
    log_p = log_p.view(-1, c)
    mask = target >= 0
    target = target[mask]
    loss = F.nll_loss(log_p, target, weight=weight, reduction="sum")
    if size_average:
        loss /= mask.data.sum()
    return loss


def fast_hist(a, b, n):
    k = (a >= 0) & (a < n)
    return torch.bincount(n * a[k] + b[k], minlength=n**2).reshape(n, n)


def run(given):
    net = FCN()
    given.record("bilinear", net.upscore2.weight)
    model = given.weights(net)
    x, target = given.randn(1, 3, 14, 13), given.randint(-1, 4, (1, 14, 13))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.99, weight_decay=0.0005)
    losses = []
    x.requires_grad_()
    for step in range(10):
        optimizer.zero_grad()
        score = model(x)
        loss = cross_entropy2d(score, target)
        loss.backward()
        if step == 0:
            given.record("score", score)
            given.record("input gradient", x.grad)
            given.gradients("first gradient", model)
        optimizer.step()
        losses.append(loss.item())
    given.record("losses", losses)
    lbl_pred = score.data.max(1)[1]
    hist = fast_hist(target.flatten(), lbl_pred.flatten(), 4).double()
    given.record("confusion", hist)
    iu = torch.diag(hist) / (hist.sum(1) + hist.sum(0) - torch.diag(hist))
    given.record("mean iou", np.nanmean(iu.numpy()))
