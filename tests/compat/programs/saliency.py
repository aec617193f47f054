"""Saliency maps: vanilla gradient, gradient times input, SmoothGrad, occlusion."""

import torch
import torch.nn as nn


class SmallCNN(nn.Module):
    def __init__(self, num_classes=5):
        super(SmallCNN, self).__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(8 * 3 * 3, num_classes)

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def compute_saliency_maps(X, y, model):
    """Return the largest absolute gradient over the channels, (N, H, W)."""
    model.eval()
    X.requires_grad_()
    scores = model(X)
    scores = scores.gather(1, y.view(-1, 1)).squeeze()
    scores.backward(torch.ones(scores.shape))
    saliency, _ = torch.max(X.grad.abs(), dim=1)
    return saliency


def smooth_grad(model, image, target, noises, sigma=0.1):
    total = torch.zeros_like(image)
    for noise in noises:
        noisy = (image + sigma * noise).detach().requires_grad_(True)
        score = model(noisy)[torch.arange(len(image)), target].sum()
        (grad,) = torch.autograd.grad(score, noisy)
        total += grad**2
    return total / len(noises)


@torch.no_grad()
def occlusion(model, image, label, size=4):
    heat = torch.zeros(image.shape[-2] // size, image.shape[-1] // size)
    for i in range(heat.shape[0]):
        for j in range(heat.shape[1]):
            hidden = image.clone()
            hidden[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size] = 0.5
            heat[i, j] = torch.softmax(model(hidden), dim=1)[0, label]
    return heat


def run(given):
    model = given.weights(SmallCNN())
    X, y = given.rand(3, 3, 12, 12), given.randint(0, 5, (3,))
    maps = compute_saliency_maps(X, y, model)
    given.record("maps", maps)
    given.record("times input", (X * X.grad).sum(dim=1))
    given.gradients("gradient of scores", model)
    model.zero_grad()
    given.record(
        "smooth", smooth_grad(model, X.detach(), y, [given.randn(3, 3, 12, 12) for _ in range(3)])
    )
    given.record("occlusion", occlusion(model, X[:1].detach(), y[0].item()))
    low, high = maps.min(), maps.max()
    given.record("scaled", (maps - low) / (high - low))
    values, places = torch.topk(maps.view(3, -1), k=4, dim=1)
    given.record("top values", values)
    given.record("top places", places)
