"""One-cycle rates, clipped gradients, label smoothing, weight decay, a rate per step."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def accuracy(outputs, labels):
    _, preds = torch.max(outputs, dim=1)
    return torch.tensor(torch.sum(preds == labels).item() / len(preds))


class ImageClassificationBase(nn.Module):
    def training_step(self, batch):
        images, labels = batch
        out = self(images)
        loss = F.cross_entropy(out, labels, label_smoothing=0.1)
        return loss

    def validation_step(self, batch):
        images, labels = batch
        out = self(images)
        loss = F.cross_entropy(out, labels)
        acc = accuracy(out, labels)
        return {"val_loss": loss.detach(), "val_acc": acc}

    def validation_epoch_end(self, outputs):
        batch_losses = [x["val_loss"] for x in outputs]
        epoch_loss = torch.stack(batch_losses).mean()
        batch_accs = [x["val_acc"] for x in outputs]
        epoch_acc = torch.stack(batch_accs).mean()
        return {"val_loss": epoch_loss.item(), "val_acc": epoch_acc.item()}


def conv_block(in_channels, out_channels, pool=False):
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class ResNet9(ImageClassificationBase):
    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.conv1 = conv_block(in_channels, width)
        self.conv2 = conv_block(width, 2 * width, pool=True)
        self.res1 = nn.Sequential(
            conv_block(2 * width, 2 * width), conv_block(2 * width, 2 * width)
        )
        self.conv3 = conv_block(2 * width, 4 * width, pool=True)
        self.res2 = nn.Sequential(
            conv_block(4 * width, 4 * width), conv_block(4 * width, 4 * width)
        )
        self.classifier = nn.Sequential(
            nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.0), nn.Linear(4 * width, num_classes)
        )

    def forward(self, xb):
        out = self.conv1(xb)
        out = self.conv2(out)
        out = self.res1(out) + out
        out = self.conv3(out)
        out = self.res2(out) + out
        return self.classifier(out)


@torch.no_grad()
def evaluate(model, val_loader):
    model.eval()
    outputs = [model.validation_step(batch) for batch in val_loader]
    return model.validation_epoch_end(outputs)


def get_lr(optimizer):
    for param_group in optimizer.param_groups:
        return param_group["lr"]


def fit_one_cycle(epochs, max_lr, model, train_loader, val_loader, weight_decay=0, grad_clip=None,
                  opt_func=torch.optim.SGD):  # fmt: skip
    history = []
    optimizer = opt_func(model.parameters(), max_lr, weight_decay=weight_decay)
    sched = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr, epochs=epochs, steps_per_epoch=len(train_loader)
    )
    for epoch in range(epochs):
        model.train()
        train_losses, lrs = [], []
        for batch in train_loader:
            loss = model.training_step(batch)
            train_losses.append(loss)
            loss.backward()
            if grad_clip:
                nn.utils.clip_grad_value_(model.parameters(), grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            lrs.append(get_lr(optimizer))
            sched.step()
        result = evaluate(model, val_loader)
        result["train_loss"] = torch.stack(train_losses).mean().item()
        result["lrs"] = lrs
        history.append(result)
    return history


def run(given):
    loader = [(given.randn(4, 3, 8, 8), given.randint(0, 5, (4,))) for _ in range(2)]
    model = given.weights(ResNet9(3, 5))
    history = [evaluate(model, loader)]
    history += fit_one_cycle(
        5, 0.01, model, loader, loader, weight_decay=1e-4, grad_clip=0.1, opt_func=torch.optim.Adam
    )
    given.record("losses", [x["val_loss"] for x in history])
    given.record("training losses", [x.get("train_loss", 0.0) for x in history])
    given.record("rates", [x["lrs"] for x in history[1:]])

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lr_lambda=lambda t: min(1, (t + 1) / 4)
    )
    norms = []
    for step in range(5):
        optimizer.zero_grad()
        model.training_step(loader[0]).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        scheduler.step()
        norms.append([norm.item(), scheduler.get_last_lr()[0]])
    given.record("norms", norms)
