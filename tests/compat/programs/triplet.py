"""Triplet embedding network: margin loss, normalized embeddings, hard negatives."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class EmbeddingNet(nn.Module):
    def __init__(self):
        super(EmbeddingNet, self).__init__()
        self.convnet = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.PReLU(), nn.MaxPool2d(2, stride=2),
            nn.Conv2d(6, 8, 3), nn.PReLU(8), nn.MaxPool2d(2, stride=2),
        )  # fmt: skip
        self.fc = nn.Sequential(
            nn.Linear(8 * 3 * 3, 16), nn.PReLU(), nn.Linear(16, 16), nn.PReLU(), nn.Linear(16, 4)
        )

    def forward(self, x):
        output = self.convnet(x)
        output = output.view(output.size()[0], -1)
        output = self.fc(output)
        return output

    def get_embedding(self, x):
        return F.normalize(self.forward(x), p=2, dim=1)


class TripletNet(nn.Module):
    def __init__(self, embedding_net):
        super(TripletNet, self).__init__()
        self.embedding_net = embedding_net

    def forward(self, x1, x2, x3):
        return self.embedding_net(x1), self.embedding_net(x2), self.embedding_net(x3)


class TripletLoss(nn.Module):
    def __init__(self, margin):
        super(TripletLoss, self).__init__()
        self.margin = margin

    def forward(self, anchor, positive, negative, size_average=True):
        distance_positive = (anchor - positive).pow(2).sum(1)  # .pow(.5)
        distance_negative = (anchor - negative).pow(2).sum(1)  # .pow(.5)
        losses = F.relu(distance_positive - distance_negative + self.margin)
        return losses.mean() if size_average else losses.sum()


def pdist(vectors):
    return (
        -2 * vectors.mm(torch.t(vectors))
        + vectors.pow(2).sum(dim=1).view(1, -1)
        + vectors.pow(2).sum(dim=1).view(-1, 1)
    )


def batch_hard(embeddings, labels, margin):
    distances = pdist(embeddings)
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    furthest = distances.masked_fill(~same, -1e9).max(dim=1)[0]
    closest = distances.masked_fill(same, 1e9).min(dim=1)[0]
    return F.softplus(furthest - closest + margin).mean()


def run(given):
    anchor, positive, negative = (given.randn(3, 1, 20, 20) for _ in range(3))
    labels = torch.tensor([0, 1, 2] * 2 + [0, 0, 1])
    net = given.weights(TripletNet(EmbeddingNet()))
    ours = TripletLoss(1.0)
    theirs = nn.TripletMarginLoss(margin=1.0, p=2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    log = []
    for step in range(10):
        a, p, n = net(anchor, positive, negative)
        hard = batch_hard(F.normalize(torch.cat([a, p, n])), labels, 0.2)
        loss = ours(a, p, n) + theirs(a, p, n) + hard
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            given.gradients("first gradient", net)
        optimizer.step()
        log.append([loss.item(), hard.item()])
    given.record("log", log)
    net.eval()
    given.record("embedding", net.embedding_net.get_embedding(anchor))
