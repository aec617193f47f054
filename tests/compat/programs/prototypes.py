"""Prototypical network: distances to the mean of each class."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def conv_block(in_channels, out_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class ProtoNet(nn.Module):
    def __init__(self, x_dim=1, hid_dim=6, z_dim=6):
        super(ProtoNet, self).__init__()
        self.encoder = nn.Sequential(conv_block(x_dim, hid_dim), conv_block(hid_dim, z_dim))

    def forward(self, x):
        x = self.encoder(x)
        return x.view(x.size(0), -1)


def euclidean_dist(x, y):
    """Squared distances between the rows of x, N x D, and those of y, M x D."""
    n, m, d = x.size(0), y.size(0), x.size(1)
    if d != y.size(1):
        raise Exception
    x = x.unsqueeze(1).expand(n, m, d)
    y = y.unsqueeze(0).expand(n, m, d)
    return torch.pow(x - y, 2).sum(2)


def prototypical_loss(input, target, n_support):
    classes = torch.unique(target)
    n_classes = len(classes)
    n_query = target.eq(classes[0].item()).sum().item() - n_support

    def supp_idxs(c):
        return target.eq(c).nonzero()[:n_support].squeeze(1)

    support_idxs = list(map(supp_idxs, classes))
    prototypes = torch.stack([input[idx_list].mean(0) for idx_list in support_idxs])
    query_idxs = torch.stack(list(map(lambda c: target.eq(c).nonzero()[n_support:], classes))).view(
        -1
    )
    query_samples = input[query_idxs]
    dists = euclidean_dist(query_samples, prototypes)
    log_p_y = F.log_softmax(-dists, dim=1).view(n_classes, n_query, -1)

    target_inds = torch.arange(0, n_classes)
    target_inds = target_inds.view(n_classes, 1, 1)
    target_inds = target_inds.expand(n_classes, n_query, 1).long()
    loss_val = -log_p_y.gather(2, target_inds).squeeze().view(-1).mean()
    _, y_hat = log_p_y.max(2)
    acc_val = y_hat.eq(target_inds.squeeze(2)).float().mean()
    return loss_val, acc_val, dists


def run(given):
    model = given.weights(ProtoNet())
    x = given.randn(12, 1, 8, 8)
    target = torch.tensor([5, 5, 5, 5, 7, 7, 7, 7, 9, 9, 9, 9])
    optim = torch.optim.Adam(params=model.parameters(), lr=0.001, eps=1e-4)
    lr_scheduler = torch.optim.lr_scheduler.StepLR(optimizer=optim, gamma=0.5, step_size=5)
    model.train()
    log = []
    for step in range(10):
        optim.zero_grad()
        model_output = model(x)
        loss, acc, dists = prototypical_loss(model_output, target=target, n_support=2)
        loss.backward()
        optim.step()
        lr_scheduler.step()
        log.append([loss.item(), acc.item()])
    given.record("log", log)
    given.record("distances", dists)
    given.record("cdist", torch.cdist(model_output[:3], model_output[3:6]))
