"""EDSR: residual blocks without norms, a fixed shift of the mean, pixel shuffle, L1."""

import math

import torch
import torch.nn as nn


def default_conv(in_channels, out_channels, kernel_size, bias=True):
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=(kernel_size // 2), bias=bias)


class MeanShift(nn.Conv2d):
    def __init__(
        self, rgb_range, rgb_mean=(0.4488, 0.4371, 0.4040), rgb_std=(1.0, 1.0, 1.0), sign=-1
    ):
        super(MeanShift, self).__init__(3, 3, kernel_size=1)
        std = torch.Tensor(rgb_std)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1) / std.view(3, 1, 1, 1)
        self.bias.data = sign * rgb_range * torch.Tensor(rgb_mean) / std
        for p in self.parameters():
            p.requires_grad = False


class ResBlock(nn.Module):
    def __init__(self, conv, n_feats, kernel_size, bias=True, act=nn.ReLU(True), res_scale=1):
        super(ResBlock, self).__init__()
        m = []
        for i in range(2):
            m.append(conv(n_feats, n_feats, kernel_size, bias=bias))
            if i == 0:
                m.append(act)
        self.body = nn.Sequential(*m)
        self.res_scale = res_scale

    def forward(self, x):
        res = self.body(x).mul(self.res_scale)
        res += x
        return res


class Upsampler(nn.Sequential):
    def __init__(self, conv, scale, n_feats, act=False, bias=True):
        m = []
        if (scale & (scale - 1)) == 0:  # Is scale = 2^n?
            for _ in range(int(math.log(scale, 2))):
                m.append(conv(n_feats, 4 * n_feats, 3, bias))
                m.append(nn.PixelShuffle(2))
                if act == "prelu":
                    m.append(nn.PReLU(n_feats))
        else:
            raise NotImplementedError
        super(Upsampler, self).__init__(*m)


class EDSR(nn.Module):
    def __init__(self, n_resblocks=2, n_feats=6, scale=4, conv=default_conv):
        super(EDSR, self).__init__()
        act = nn.ReLU(True)
        self.sub_mean = MeanShift(1.0)
        self.add_mean = MeanShift(1.0, sign=1)
        m_head = [conv(3, n_feats, 3)]
        m_body = [ResBlock(conv, n_feats, 3, act=act, res_scale=0.1) for _ in range(n_resblocks)]
        m_body.append(conv(n_feats, n_feats, 3))
        m_tail = [Upsampler(conv, scale, n_feats, act="prelu"), conv(n_feats, 3, 3)]
        self.head = nn.Sequential(*m_head)
        self.body = nn.Sequential(*m_body)
        self.tail = nn.Sequential(*m_tail)

    def forward(self, x):
        x = self.sub_mean(x)
        x = self.head(x)
        res = self.body(x)
        res += x
        x = self.tail(res)
        x = self.add_mean(x)
        return x


def calc_psnr(sr, hr, scale, rgb_range):
    diff = (sr - hr) / rgb_range
    gray_coeffs = [65.738, 129.057, 25.064]
    convert = diff.new_tensor(gray_coeffs).view(1, 3, 1, 1) / 256
    diff = diff.mul(convert).sum(dim=1)
    valid = diff[..., scale:-scale, scale:-scale]
    mse = valid.pow(2).mean()
    return -10 * math.log10(mse)


def run(given):
    fixed = MeanShift(1.0)
    given.record("fixed", [fixed.weight.detach().sum(), fixed.bias.detach().sum()])
    model = EDSR()
    given.weights(model.head, "head")
    given.weights(model.body, "body")
    given.weights(model.tail, "tail")
    lr, hr = given.rand(2, 3, 5, 6), given.rand(2, 3, 20, 24)
    trainable = filter(lambda x: x.requires_grad, model.parameters())
    optimizer = torch.optim.Adam(trainable, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[4, 7], gamma=0.5)
    loss_fn = nn.L1Loss()
    log = []
    for step in range(10):
        optimizer.zero_grad()
        sr = model(lr)
        loss = loss_fn(sr, hr)
        loss.backward()
        optimizer.step()
        scheduler.step()
        log.append([loss.item(), calc_psnr(sr, hr, 4, 1.0)])
    given.record("log", log)
    given.record("sr", sr)
