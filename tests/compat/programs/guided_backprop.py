"""Guided backpropagation: forward and backward hooks on each ReLU."""

import torch
import torch.nn as nn
from torch.nn import ReLU


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Linear(8 * 2 * 2, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


class GuidedBackprop:
    """Produces gradients generated with guided back propagation from the given image."""

    def __init__(self, model):
        self.model = model
        self.gradients = None
        self.forward_relu_outputs = []
        self.handles = []
        self.model.eval()
        self.update_relus()
        self.hook_layers()

    def hook_layers(self):
        def hook_function(module, grad_in, grad_out):
            self.gradients = grad_in[0]

        first_layer = list(self.model.features._modules.items())[0][1]
        self.handles.append(first_layer.register_full_backward_hook(hook_function))

    def update_relus(self):
        def relu_backward_hook_function(module, grad_in, grad_out):
            """If there is a negative gradient, change it to zero."""
            corresponding_forward_output = self.forward_relu_outputs[-1]
            corresponding_forward_output = (corresponding_forward_output > 0).to(grad_in[0].dtype)
            modified_grad_out = corresponding_forward_output * torch.clamp(grad_in[0], min=0.0)
            del self.forward_relu_outputs[-1]  # Remove last forward output
            return (modified_grad_out,)

        def relu_forward_hook_function(module, ten_in, ten_out):
            self.forward_relu_outputs.append(ten_out)

        for module in self.model.modules():
            if isinstance(module, ReLU):
                self.handles.append(module.register_full_backward_hook(relu_backward_hook_function))
                self.handles.append(module.register_forward_hook(relu_forward_hook_function))

    def generate_gradients(self, input_image, target_class):
        model_output = self.model(input_image)
        self.model.zero_grad()
        one_hot_output = torch.zeros(1, model_output.size()[-1])
        one_hot_output[0][target_class] = 1
        model_output.backward(gradient=one_hot_output)
        return self.gradients.data.numpy()[0]


def run(given):
    model = given.weights(Net())
    image = given.randn(1, 3, 12, 12).requires_grad_()
    guide = GuidedBackprop(model)
    for target in range(2):
        image.grad = None
        given.record("guided %d" % target, guide.generate_gradients(image, target))
        given.record("image gradient %d" % target, image.grad)
    for handle in guide.handles:
        handle.remove()
    image.grad = None
    model.zero_grad()
    model(image)[0, 1].backward()
    given.record("plain", image.grad)
