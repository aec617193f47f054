"""Contrastive learning: NT-Xent on cosine similarities, LARS-like scaling of gradients."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Encoder(nn.Module):
    def __init__(self, feature_dim=6):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.Mish(inplace=True),
            nn.AdaptiveMaxPool2d((2, 2)),
        )
        # projection head
        self.g = nn.Sequential(
            nn.Linear(32, 12, bias=False),
            nn.BatchNorm1d(12),
            nn.ReLU(inplace=True),
            nn.Linear(12, feature_dim, bias=True),
        )

    def forward(self, x):
        x = self.f(x)
        feature = torch.flatten(x, start_dim=1)
        out = self.g(feature)
        return F.normalize(feature, dim=-1), F.normalize(out, dim=-1)


def nt_xent(out_1, out_2, temperature):
    n = out_1.shape[0]
    # [2*B, D]
    out = torch.cat([out_1, out_2], dim=0)
    # [2*B, 2*B]
    sim_matrix = torch.exp(torch.mm(out, out.t().contiguous()) / temperature)
    mask = (torch.ones_like(sim_matrix) - torch.eye(2 * n, device=sim_matrix.device)).bool()
    # [2*B, 2*B-1]
    sim_matrix = sim_matrix.masked_select(mask).view(2 * n, -1)
    pos_sim = torch.exp(torch.sum(out_1 * out_2, dim=-1) / temperature)
    # [2*B]
    pos_sim = torch.cat([pos_sim, pos_sim], dim=0)
    return (-torch.log(pos_sim / sim_matrix.sum(dim=-1))).mean()


def info_nce(features, temperature):
    labels = torch.cat([torch.arange(features.shape[0] // 2) for i in range(2)], dim=0)
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).double()
    similarity = torch.matmul(features, features.T)
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    similarity = similarity[~mask].view(similarity.shape[0], -1)
    positives = similarity[labels.bool()].view(labels.shape[0], -1)
    negatives = similarity[~labels.bool()].view(similarity.shape[0], -1)
    logits = torch.cat([positives, negatives], dim=1) / temperature
    target = torch.zeros(logits.shape[0], dtype=torch.long)
    return F.cross_entropy(logits, target)


def run(given):
    model = given.weights(Encoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
    pos_1 = given.randn(4, 3, 8, 8)
    pos_2 = torch.flip(pos_1, dims=[3]) + 0.1 * given.randn(4, 3, 8, 8)
    log = []
    for step in range(10):
        feature_1, out_1 = model(pos_1)
        feature_2, out_2 = model(pos_2)
        loss = nt_xent(out_1, out_2, 0.5)
        second = info_nce(torch.cat([out_1, out_2]), 0.5)
        optimizer.zero_grad()
        (loss + second).backward()
        with torch.no_grad():
            for p in model.parameters():
                norm = p.grad.norm()
                p.grad.mul_(0.1 * p.norm() / (norm + 1e-9)) if p.dim() > 1 else None
        optimizer.step()
        log.append([loss.item(), second.item()])
    given.record("log", log)
    given.record("features", feature_1)
