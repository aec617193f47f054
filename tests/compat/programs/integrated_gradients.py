"""Integrated gradients, and its completeness."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(4, 8, kernel_size=3, stride=1)
        self.fc = nn.Linear(8 * 3 * 3, 6)

    def forward(self, x):
        x = F.softplus(self.conv1(x))
        x = torch.tanh(self.conv2(x))
        x = x.flatten(start_dim=1)
        return F.softmax(self.fc(x), dim=-1)


class IntegratedGradients:
    def __init__(self, model):
        self.model = model
        self.model.eval()

    def generate_images_on_linear_path(self, input_image, baseline, steps):
        step_list = np.arange(steps + 1) / steps
        return [baseline + (input_image - baseline) * float(step) for step in step_list]

    def generate_gradients(self, image, target_class):
        image = image.detach().clone().requires_grad_(True)
        model_output = self.model(image)
        self.model.zero_grad()
        model_output[0][target_class].backward()
        return image.grad.data

    def generate_integrated_gradients(self, image, baseline, target_class, steps):
        xbar_list = self.generate_images_on_linear_path(image, baseline, steps)
        total = torch.zeros_like(image)
        for i, xbar in enumerate(xbar_list):
            weight = 0.5 if i in (0, steps) else 1.0
            total += weight * self.generate_gradients(xbar, target_class) / steps
        return total * (image - baseline)


def batched(model, image, baseline, target, steps):
    """Return the same in one batch with autograd.grad."""
    alphas = torch.linspace(0.0, 1.0, steps + 1).view(-1, 1, 1, 1)
    path = (baseline + alphas * (image - baseline)).requires_grad_()
    out = model(path)[:, target]
    grads = torch.autograd.grad(torch.unbind(out), path)[0]
    average = (grads[:-1] + grads[1:]) / 2.0
    return average.mean(dim=0, keepdim=True) * (image - baseline)


def run(given):
    model = given.weights(Net())
    image, baseline = given.rand(1, 1, 11, 11), torch.zeros(1, 1, 11, 11)
    ig = IntegratedGradients(model)
    result = ig.generate_integrated_gradients(image, baseline, target_class=2, steps=8)
    together = batched(model, image, baseline, 2, 8)
    assert torch.allclose(result, together)
    with torch.no_grad():
        change = model(image)[0, 2] - model(baseline)[0, 2]
    given.record("attribution", result)
    given.record("together", together)
    given.record("completeness", [result.sum().item(), change.item()])
    model.zero_grad()
