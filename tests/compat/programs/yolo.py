"""One-stage detection: a grid of boxes, anchors, IoU, the loss of objects, suppression."""

import torch
import torch.nn as nn


class CNNBlock(nn.Module):
    def __init__(self, in_channels, out_channels, bn_act=True, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=not bn_act, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels)
        self.leaky = nn.LeakyReLU(0.1)
        self.use_bn_act = bn_act

    def forward(self, x):
        if self.use_bn_act:
            return self.leaky(self.bn(self.conv(x)))
        return self.conv(x)


class Detector(nn.Module):
    def __init__(self, num_classes=3, num_anchors=2):
        super().__init__()
        self.num_classes, self.num_anchors = num_classes, num_anchors
        layers = []
        config = [(6, 3, 2), (8, 3, 2), "B"]
        in_channels = 3
        for module in config:
            if isinstance(module, tuple):
                out_channels, kernel_size, stride = module
                padding = 1 if kernel_size == 3 else 0
                layers.append(
                    CNNBlock(
                        in_channels,
                        out_channels,
                        kernel_size=kernel_size,
                        stride=stride,
                        padding=padding,
                    )
                )
                in_channels = out_channels
            elif module == "B":
                layers.append(CNNBlock(in_channels, in_channels, kernel_size=1))
        self.layers = nn.ModuleList(layers)
        self.head = CNNBlock(
            in_channels, (num_classes + 5) * num_anchors, bn_act=False, kernel_size=1
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        x = self.head(x)
        return x.reshape(
            x.shape[0], self.num_anchors, self.num_classes + 5, x.shape[2], x.shape[3]
        ).permute(0, 1, 3, 4, 2)


def intersection_over_union(boxes_preds, boxes_labels):
    box1_x1 = boxes_preds[..., 0:1] - boxes_preds[..., 2:3] / 2
    box1_y1 = boxes_preds[..., 1:2] - boxes_preds[..., 3:4] / 2
    box1_x2 = boxes_preds[..., 0:1] + boxes_preds[..., 2:3] / 2
    box1_y2 = boxes_preds[..., 1:2] + boxes_preds[..., 3:4] / 2
    box2_x1 = boxes_labels[..., 0:1] - boxes_labels[..., 2:3] / 2
    box2_y1 = boxes_labels[..., 1:2] - boxes_labels[..., 3:4] / 2
    box2_x2 = boxes_labels[..., 0:1] + boxes_labels[..., 2:3] / 2
    box2_y2 = boxes_labels[..., 1:2] + boxes_labels[..., 3:4] / 2
    x1, y1 = torch.max(box1_x1, box2_x1), torch.max(box1_y1, box2_y1)
    x2, y2 = torch.min(box1_x2, box2_x2), torch.min(box1_y2, box2_y2)
    # .clamp(0) is for the case when they do not intersect
    intersection = (x2 - x1).clamp(0) * (y2 - y1).clamp(0)
    box1_area = abs((box1_x2 - box1_x1) * (box1_y2 - box1_y1))
    box2_area = abs((box2_x2 - box2_x1) * (box2_y2 - box2_y1))
    return intersection / (box1_area + box2_area - intersection + 1e-6)


class YoloLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.mse = nn.MSELoss()
        self.bce = nn.BCEWithLogitsLoss()
        self.entropy = nn.CrossEntropyLoss()
        self.sigmoid = nn.Sigmoid()

    def forward(self, predictions, target, anchors):
        obj = target[..., 0] == 1
        noobj = target[..., 0] == 0
        no_object_loss = self.bce(predictions[..., 0:1][noobj], target[..., 0:1][noobj])

        anchors = anchors.reshape(1, 2, 1, 1, 2)
        box_preds = torch.cat(
            [self.sigmoid(predictions[..., 1:3]), torch.exp(predictions[..., 3:5]) * anchors],
            dim=-1,
        )
        ious = intersection_over_union(box_preds[obj], target[..., 1:5][obj]).detach()
        object_loss = self.mse(
            self.sigmoid(predictions[..., 0:1][obj]), ious * target[..., 0:1][obj]
        )

        xy = self.sigmoid(predictions[..., 1:3])
        wh = torch.log(1e-16 + target[..., 3:5] / anchors)
        predicted = torch.cat([xy, predictions[..., 3:5]], dim=-1)
        wanted = torch.cat([target[..., 1:3], wh], dim=-1)
        box_loss = self.mse(predicted[obj], wanted[obj])
        class_loss = self.entropy(predictions[..., 5:][obj], target[..., 5][obj].long())
        return 10 * box_loss + object_loss + 10 * no_object_loss + class_loss


def nms(boxes, scores, threshold):
    """Keep the best boxes that do not overlap."""
    keep = []
    order = torch.argsort(scores, descending=True)
    while order.numel() > 0:
        best = order[0].item()
        keep.append(best)
        if order.numel() == 1:
            break
        rest = order[1:]
        iou = intersection_over_union(boxes[best].unsqueeze(0), boxes[rest]).squeeze(-1)
        order = rest[iou < threshold]
    return keep


def run(given):
    model = given.weights(Detector())
    x = given.rand(2, 3, 12, 12)
    anchors = torch.tensor([[0.3, 0.4], [0.6, 0.5]])
    target = torch.zeros(2, 2, 3, 3, 6)
    target[0, 0, 1, 2] = torch.tensor([1.0, 0.4, 0.6, 0.5, 0.3, 2.0])
    target[1, 1, 0, 0] = torch.tensor([1.0, 0.2, 0.7, 0.8, 0.9, 0.0])
    target[1, 0, 2, 2, 0] = -1  # ignored
    loss_fn = YoloLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    losses = []
    for step in range(10):
        out = model(x)
        loss = loss_fn(out, target, anchors)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            given.record("output", out)
            given.gradients("first gradient", model)
        optimizer.step()
        losses.append(loss.item())
    given.record("losses", losses)
    boxes, scores = given.rand(12, 4), given.rand(12)
    given.record("kept", nms(boxes, scores, 0.2))
