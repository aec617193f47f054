"""Losses written out: label smoothing by scatter_, mixup, CutMix, focal loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class LabelSmoothingCrossEntropy(nn.Module):
    def __init__(self, classes, smoothing=0.1, dim=-1):
        super(LabelSmoothingCrossEntropy, self).__init__()
        self.confidence = 1.0 - smoothing
        self.smoothing = smoothing
        self.cls = classes
        self.dim = dim

    def forward(self, pred, target):
        pred = pred.log_softmax(dim=self.dim)
        with torch.no_grad():
            true_dist = torch.zeros_like(pred)
            true_dist.fill_(self.smoothing / (self.cls - 1))
            true_dist.scatter_(1, target.data.unsqueeze(1), self.confidence)
        return torch.mean(torch.sum(-true_dist * pred, dim=self.dim))


class FocalLoss(nn.Module):
    def __init__(self, gamma=2, alpha=None):
        super(FocalLoss, self).__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, input, target):
        logpt = F.log_softmax(input, dim=1)
        logpt = logpt.gather(1, target.view(-1, 1))
        logpt = logpt.view(-1)
        pt = logpt.exp().detach() if self.alpha == "detached" else logpt.exp()
        loss = -1 * (1 - pt) ** self.gamma * logpt
        return loss.mean()


def mixup_data(x, y, lam, index):
    """Return mixed inputs, pairs of targets, and lambda."""
    mixed_x = lam * x + (1 - lam) * x[index, :]
    y_a, y_b = y, y[index]
    return mixed_x, y_a, y_b, lam


def mixup_criterion(criterion, pred, y_a, y_b, lam):
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


def cutmix(x, y, index, box):
    x1, y1, x2, y2 = box
    x = x.clone()
    x[:, :, y1:y2, x1:x2] = x[index, :, y1:y2, x1:x2]
    lam = 1 - ((x2 - x1) * (y2 - y1) / (x.size()[-1] * x.size()[-2]))
    return x, y, y[index], lam


class SoftTargetCrossEntropy(nn.Module):
    def forward(self, x, target):
        loss = torch.sum(-target * F.log_softmax(x, dim=-1), dim=-1)
        return loss.mean()


def topk_accuracy(output, target, topk=(1,)):
    """Compute the accuracy over the k top predictions."""
    with torch.no_grad():
        maxk = max(topk)
        batch_size = target.size(0)
        _, pred = output.topk(maxk, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        res = []
        for k in topk:
            correct_k = correct[:k].reshape(-1).double().sum(0, keepdim=True)
            res.append(correct_k.mul_(100.0 / batch_size))
        return res


def run(given):
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.LeakyReLU(0.1), nn.MaxPool2d(4),
        nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip
    net = given.weights(net)
    x, y = given.randn(4, 3, 8, 8), given.randint(0, 5, (4,))
    index = torch.tensor([2, 3, 1, 0])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    smooth, focal, soft = LabelSmoothingCrossEntropy(5), FocalLoss(), SoftTargetCrossEntropy()
    criterion = nn.CrossEntropyLoss()
    one_hot = F.one_hot(y, num_classes=5).double()
    one_hot = one_hot * 0.7 + one_hot[index] * 0.3
    log, top = [], []
    for step in range(10):
        inputs, targets_a, targets_b, lam = mixup_data(x, y, 0.7, index)
        outputs = net(inputs)
        mixed = mixup_criterion(criterion, outputs, targets_a, targets_b, lam)
        softly = soft(outputs, one_hot)
        builtin = criterion(outputs, one_hot)
        cut, y_a, y_b, lam = cutmix(x, y, index, (1, 2, 6, 7))
        cut_loss = mixup_criterion(criterion, net(cut), y_a, y_b, lam)
        plain = net(x)
        losses = [mixed, softly, builtin, cut_loss, smooth(plain, y), focal(plain, y)]
        loss = sum(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append([value.item() for value in losses])
        top.append(topk_accuracy(plain, y, topk=(1, 3)))
    given.record("log", log)
    given.record("top", [[a.item(), b.item()] for a, b in top])
