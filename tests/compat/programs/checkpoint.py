"""Checkpoints: model, optimizer and schedule are saved, and training resumes to the same numbers."""

import os
import shutil
import tempfile

import torch
import torch.nn as nn
import torch.optim as optim


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.fc = nn.Linear(24, 4)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn(self.conv(x))))
        return self.fc(torch.flatten(x, 1))


def save_checkpoint(state, is_best, filename="checkpoint.pth.tar"):
    torch.save(state, filename)
    if is_best:
        shutil.copyfile(filename, filename.replace("checkpoint", "model_best"))


class AverageMeter(object):
    """Computes and stores the average and current value."""

    def __init__(self, name, fmt=":f"):
        self.name = name
        self.fmt = fmt
        self.reset()

    def reset(self):
        self.val = 0
        self.avg = 0
        self.sum = 0
        self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count

    def __str__(self):
        fmtstr = "{name} {val" + self.fmt + "} ({avg" + self.fmt + "})"
        return fmtstr.format(**self.__dict__)


def make():
    model = Net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    return model, optimizer, scheduler


def train(model, optimizer, scheduler, batches, epochs):
    criterion = nn.CrossEntropyLoss()
    model.train()
    losses = []
    for epoch in epochs:
        meter = AverageMeter("Loss", ":.4e")
        for images, target in batches:
            output = model(images)
            loss = criterion(output, target)
            meter.update(loss.item(), images.size(0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        assert str(meter).startswith("Loss ")
        losses.append(meter.avg)
    return losses, loss


def run(given):
    batches = [(given.randn(4, 3, 6, 6), given.randint(0, 4, (4,))) for _ in range(2)]
    folder = tempfile.mkdtemp()
    filename = os.path.join(folder, "checkpoint.pth.tar")
    model, optimizer, scheduler = make()
    given.weights(model)
    first, loss = train(model, optimizer, scheduler, batches, range(3))
    save_checkpoint(
        {
            "epoch": 3,
            "arch": "small",
            "state_dict": model.state_dict(),
            "best_acc1": 12.5,
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "loss": loss,
        },
        True,
        filename,
    )
    second, _ = train(model, optimizer, scheduler, batches, range(3, 6))
    given.record("losses", first + second)

    other, optimizer, scheduler = make()
    device = torch.device("cpu")
    checkpoint = torch.load(filename, map_location=device)
    start_epoch = checkpoint["epoch"]
    other.load_state_dict(checkpoint["state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    given.record("kept", [start_epoch, checkpoint["best_acc1"], float(checkpoint["loss"].detach())])
    assert checkpoint["arch"] == "small"
    saved = checkpoint["optimizer"]
    given.record("rate", saved["param_groups"][0]["lr"])
    given.record("places", saved["param_groups"][0]["params"])
    given.record("states", sorted(saved["state"].keys()))
    resumed, _ = train(other, optimizer, scheduler, batches, range(start_epoch, 6))
    given.record("resumed", resumed)
    for a, b in zip(model.parameters(), other.parameters()):
        assert torch.equal(a, b)

    # weights alone, some of them missing
    path = os.path.join(folder, "weights.pth")
    torch.save(model.state_dict(), path)
    state = torch.load(path, weights_only=True)
    state.pop("fc.bias")
    third = Net()
    missing = third.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["fc.bias"]
    pretrained_dict = {k: v for k, v in state.items() if k in third.state_dict()}
    model_dict = third.state_dict()
    model_dict.update(pretrained_dict)
    third.load_state_dict(model_dict)
    given.record("bn", third.bn.running_var)
    shutil.rmtree(folder)
