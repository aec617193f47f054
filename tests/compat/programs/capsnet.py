"""Capsules: squash, routing by agreement, margin loss, reconstruction."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable


def squash(s, dim=-1):
    squared_norm = torch.sum(s**2, dim=dim, keepdim=True)
    return squared_norm / (1 + squared_norm) * s / (torch.sqrt(squared_norm) + 1e-8)


class PrimaryCapsules(nn.Module):
    def __init__(self, in_channels, out_channels, dim_caps, kernel_size=3, stride=2):
        super(PrimaryCapsules, self).__init__()
        self.dim_caps = dim_caps
        self._caps_channel = int(out_channels / dim_caps)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=kernel_size, stride=stride)

    def forward(self, x):
        out = self.conv(x)
        out = out.view(out.size(0), self._caps_channel, out.size(2), out.size(3), self.dim_caps)
        out = out.view(out.size(0), -1, self.dim_caps)
        return squash(out)


class RoutingCapsules(nn.Module):
    def __init__(self, in_dim, in_caps, num_caps, dim_caps, num_routing):
        super(RoutingCapsules, self).__init__()
        self.num_caps = num_caps
        self.num_routing = num_routing
        self.W = nn.Parameter(0.01 * torch.randn(1, num_caps, in_caps, dim_caps, in_dim))

    def forward(self, x):
        batch_size = x.size(0)
        x = x.unsqueeze(1).unsqueeze(4)
        # (1, J, I, D, d) @ (B, 1, I, d, 1) -> (B, J, I, D, 1)
        u_hat = torch.matmul(self.W, x)
        u_hat = u_hat.squeeze(-1)
        temp_u_hat = u_hat.detach()
        b = Variable(torch.zeros(batch_size, self.num_caps, x.size(2), 1))
        for _ in range(self.num_routing - 1):
            c = F.softmax(b, dim=1)
            s = (c * temp_u_hat).sum(dim=2)
            v = squash(s)
            uv = torch.matmul(temp_u_hat, v.unsqueeze(-1))
            b += uv
        c = F.softmax(b, dim=1)
        s = (c * u_hat).sum(dim=2)
        return squash(s)


class CapsuleNetwork(nn.Module):
    def __init__(self, num_classes=3):
        super(CapsuleNetwork, self).__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.relu = nn.ReLU(inplace=True)
        self.primary = PrimaryCapsules(8, 8, 4)
        self.digits = RoutingCapsules(4, 2 * 4 * 4, num_classes, 6, 3)
        self.decoder = nn.Sequential(
            nn.Linear(6 * num_classes, 12), nn.ReLU(inplace=True), nn.Linear(12, 144), nn.Sigmoid()
        )

    def forward(self, x, y=None):
        out = self.relu(self.conv(x))
        out = self.digits(self.primary(out))
        preds = torch.norm(out, dim=-1)
        if y is None:
            _, max_length_idx = preds.max(dim=1)
            y = torch.eye(preds.size(1)).index_select(dim=0, index=max_length_idx)
        reconstruction = self.decoder((out * y.unsqueeze(-1)).contiguous().view(out.size(0), -1))
        return preds, reconstruction.view(-1, 1, 12, 12)


class CapsuleLoss(nn.Module):
    def __init__(self, upper_bound=0.9, lower_bound=0.1, lmda=0.5):
        super(CapsuleLoss, self).__init__()
        self.upper, self.lower, self.lmda = upper_bound, lower_bound, lmda
        self.mse = nn.MSELoss(reduction="sum")

    def forward(self, images, labels, logits, reconstructions):
        left = (self.upper - logits).relu() ** 2
        right = (logits - self.lower).relu() ** 2
        margin_loss = torch.sum(labels * left) + self.lmda * torch.sum((1 - labels) * right)
        return margin_loss + 0.0005 * self.mse(reconstructions.contiguous(), images)


def run(given):
    model = given.weights(CapsuleNetwork())
    images, labels = given.rand(3, 1, 12, 12), torch.eye(3)[torch.LongTensor([2, 0, 1])]
    criterion = CapsuleLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.96)
    images = Variable(images, requires_grad=True)
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        logits, reconstructions = model(images, labels)
        loss = criterion(images, labels, logits, reconstructions)
        loss.backward()
        if step == 0:
            given.record("lengths", logits)
            given.record("input gradient", images.grad)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    given.record("losses", losses)
    given.record("reconstructed", model(images)[1])
