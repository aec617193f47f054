"""A summary by hooks: sizes, parameters, multiplications, statistics of activations."""

from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.up(self.depthwise(self.features(x)))
        return self.head(x.mean(dim=[2, 3]))


def summary(model, input_size):
    def register_hook(module):
        def hook(module, input, output):
            class_name = str(module.__class__).split(".")[-1].split("'")[0]
            m_key = "%s-%i" % (class_name, len(summary) + 1)
            summary[m_key] = OrderedDict()
            summary[m_key]["input_shape"] = list(input[0].size())
            summary[m_key]["output_shape"] = list(output.size())
            params = 0
            if hasattr(module, "weight") and hasattr(module.weight, "size"):
                params += torch.prod(torch.LongTensor(list(module.weight.size())))
                summary[m_key]["trainable"] = module.weight.requires_grad
            if hasattr(module, "bias") and hasattr(module.bias, "size"):
                params += torch.prod(torch.LongTensor(list(module.bias.size())))
            summary[m_key]["nb_params"] = params

        if not isinstance(module, nn.Sequential) and not isinstance(module, nn.ModuleList):
            if not (module == model):
                hooks.append(module.register_forward_hook(hook))

    x = torch.rand(2, *input_size)
    summary = OrderedDict()
    hooks = []
    model.apply(register_hook)
    model(x)
    for h in hooks:
        h.remove()
    return summary


def count_operations(model, x):
    total = []

    def conv_hook(self, input, output):
        batch_size, _, height, width = output.size()
        kernel = self.kernel_size[0] * self.kernel_size[1] * (self.in_channels / self.groups)
        bias = 1 if self.bias is not None else 0
        total.append(batch_size * self.out_channels * (kernel + bias) * height * width)

    def linear_hook(self, input, output):
        total.append(input[0].size(0) * (self.weight.nelement() + self.bias.nelement()))

    handles = []
    for name, m in model.named_modules():
        if isinstance(m, torch.nn.Conv2d):
            handles.append(m.register_forward_hook(conv_hook))
        elif isinstance(m, nn.Linear):
            handles.append(m.register_forward_hook(linear_hook))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return total


def run(given):
    model = Net()
    model.eval()
    rows = summary(model, (3, 8, 8))
    assert [key.split("-")[0] for key in rows] == [
        "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "ConvTranspose2d", "Linear"
    ]  # fmt: skip
    given.record("sizes", [int(np.prod(row["output_shape"])) for row in rows.values()])
    given.record("parameters", [int(row["nb_params"]) for row in rows.values()])
    given.record("operations", count_operations(model, torch.zeros(2, 3, 8, 8)))
    given.record("trainable", sum(p.numel() for p in model.parameters() if p.requires_grad))
    megabytes = sum(p.numel() * p.element_size() for p in model.float().parameters()) / 1024**2
    given.record("megabytes", megabytes)
    model.double()

    # statistics of activations and gradients while training
    given.weights(model)
    model.train()
    stats = {}

    def keep(name):
        def hook(module, inp, out):
            stats.setdefault(name, []).append([out.data.mean().item(), out.data.std().item()])

        return hook

    def scale_input(module, inputs):
        return (inputs[0] * 0.5,)

    for name, layer in model.named_children():
        layer.register_forward_hook(keep(name))
    pre = model.head.register_forward_pre_hook(scale_input)
    gradients = []
    model.up.weight.register_hook(lambda grad: gradients.append(grad.abs().mean().item()))
    model.head.weight.register_hook(lambda grad: grad * 2)
    x, y = given.randn(4, 3, 8, 8), given.randint(0, 5, (4,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    for name, values in stats.items():
        given.record("activations of " + name, values)
    given.record("gradients", gradients)
    pre.remove()
    given.record("without the hook", model(x))
