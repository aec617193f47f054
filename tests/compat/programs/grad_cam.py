"""Grad-CAM: hooks keep the activations and gradients of the last convolution."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.layer2 = nn.Sequential(
            nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.layer2(self.layer1(x))
        x = self.avgpool(x)
        return self.fc(torch.flatten(x, 1))


class ActivationsAndGradients:
    """Keeps activations and gradients of target layers."""

    def __init__(self, model, target_layers):
        self.model = model
        self.gradients = []
        self.activations = []
        self.handles = []
        for target_layer in target_layers:
            self.handles.append(target_layer.register_forward_hook(self.save_activation))
            self.handles.append(target_layer.register_forward_hook(self.save_gradient))

    def save_activation(self, module, input, output):
        self.activations.append(output.cpu().detach())

    def save_gradient(self, module, input, output):
        if not hasattr(output, "requires_grad") or not output.requires_grad:
            return

        def _store_grad(grad):
            self.gradients = [grad.cpu().detach()] + self.gradients

        output.register_hook(_store_grad)

    def __call__(self, x):
        self.gradients = []
        self.activations = []
        return self.model(x)

    def release(self):
        for handle in self.handles:
            handle.remove()


def grad_cam(model, layers, x, target):
    keeper = ActivationsAndGradients(model, layers)
    logits = keeper(x)
    model.zero_grad()
    loss = sum([logits[i, int(target[i])] for i in range(len(target))])
    loss.backward(retain_graph=True)
    maps = []
    for activation, gradient in zip(keeper.activations, keeper.gradients):
        weights = torch.mean(gradient, dim=(2, 3), keepdim=True)
        cam = F.relu((weights * activation).sum(dim=1, keepdim=True))
        cam = F.interpolate(cam, size=x.shape[2:], mode="bilinear", align_corners=False)
        cam -= cam.amin(dim=(2, 3), keepdim=True)
        cam /= cam.amax(dim=(2, 3), keepdim=True) + 1e-7
        maps.append(cam.squeeze(1))
    keeper.release()
    return logits, torch.stack(maps).mean(0)


def run(given):
    model = given.weights(Net()).eval()
    x = given.randn(2, 3, 16, 12)
    logits, cam = grad_cam(model, [model.layer1[0], model.layer2], x, torch.tensor([1, 3]))
    given.record("logits", logits)
    given.record("cam", cam)

    # the older way: a full backward hook
    grads = {}

    def keep(name):
        def hook(module, grad_input, grad_output):
            grads[name] = grad_output[0].detach()

        return hook

    handle = model.avgpool.register_full_backward_hook(keep("avgpool"))
    model.zero_grad()
    features = model.layer2(model.layer1(x))
    features.retain_grad()
    score = model.fc(model.avgpool(features).flatten(1))[:, 2].sum()
    score.backward()
    handle.remove()
    given.record("retained", features.grad)
    given.record("hooked", grads["avgpool"])

    # class activation map: the weights of the last layer
    cam = torch.einsum("c,nchw->nhw", model.fc.weight[2], features)
    given.record("class activation", cam)
