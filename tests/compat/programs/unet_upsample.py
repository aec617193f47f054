"""U-Net with bilinear upsampling, several classes, cross-entropy and multiclass dice."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def double_conv(in_channels, out_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, n_class):
        super().__init__()
        self.dconv_down1 = double_conv(3, 6)
        self.dconv_down2 = double_conv(6, 12)
        self.dconv_down3 = double_conv(12, 16)

        self.maxpool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

        self.dconv_up2 = double_conv(12 + 16, 12)
        self.dconv_up1 = double_conv(12 + 6, 6)
        self.conv_last = nn.Conv2d(6, n_class, 1)

    def forward(self, x):
        conv1 = self.dconv_down1(x)
        x = self.maxpool(conv1)
        conv2 = self.dconv_down2(x)
        x = self.maxpool(conv2)
        x = self.dconv_down3(x)

        x = self.upsample(x)
        x = torch.cat([x, conv2], dim=1)
        x = self.dconv_up2(x)
        x = self.upsample(x)
        x = torch.cat([x, conv1], dim=1)
        x = self.dconv_up1(x)
        return self.conv_last(x)


def multiclass_dice(probs, target, n_class, smooth=1.0):
    one_hot = F.one_hot(target, n_class).permute(0, 3, 1, 2).to(probs.dtype)
    dims = (0, 2, 3)
    intersection = torch.sum(probs * one_hot, dims)
    cardinality = torch.sum(probs + one_hot, dims)
    dice_score = (2.0 * intersection + smooth) / (cardinality + smooth)
    return (1.0 - dice_score).mean()


def calc_loss(pred, target, metrics, ce_weight=0.5):
    ce = F.cross_entropy(pred, target, ignore_index=255)
    dice = multiclass_dice(F.softmax(pred, dim=1), target.clamp(max=2), 3)
    loss = ce * ce_weight + dice * (1 - ce_weight)

    metrics["ce"].append(ce.data.cpu().numpy() * target.size(0))
    metrics["dice"].append(dice.data.cpu().numpy() * target.size(0))
    metrics["loss"].append(loss.data.cpu().numpy() * target.size(0))
    return loss


def mean_iou(pred, target, n_class):
    ious = []
    pred = pred.view(-1)
    target = target.view(-1)
    for cls in range(n_class):
        pred_inds = pred == cls
        target_inds = target == cls
        intersection = (pred_inds & target_inds).sum().item()
        union = (pred_inds | target_inds).sum().item()
        ious.append(float(intersection) / float(max(union, 1)))
    return ious


def run(given):
    x = given.randn(2, 3, 16, 16)
    labels = given.randint(0, 3, (2, 16, 16))
    labels[0, :2, :] = 255  # the border is not labeled
    model = given.weights(UNet(3))
    optimizer_ft = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
    metrics = {"ce": [], "dice": [], "loss": []}
    x.requires_grad_(True)
    for step in range(10):
        optimizer_ft.zero_grad()
        with torch.set_grad_enabled(True):
            outputs = model(x)
            loss = calc_loss(outputs, labels, metrics)
            loss.backward()
        if step == 0:
            given.record("output", outputs)
            given.record("input gradient", x.grad)
        optimizer_ft.step()
    for k in metrics.keys():
        given.record(k, metrics[k])
    preds = torch.argmax(model(x), dim=1)
    given.record("iou", mean_iou(preds, labels, 3))
