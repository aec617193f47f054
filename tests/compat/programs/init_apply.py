"""Initialization through apply: every scheme has the spread it promises."""

import math

import torch
import torch.nn as nn
from torch.nn import init


def init_weights(net, init_type="normal", init_gain=0.02):
    def init_func(m):
        classname = m.__class__.__name__
        if hasattr(m, "weight") and (
            classname.find("Conv") != -1 or classname.find("Linear") != -1
        ):
            if init_type == "normal":
                init.normal_(m.weight.data, 0.0, init_gain)
            elif init_type == "xavier":
                init.xavier_normal_(m.weight.data, gain=init_gain)
            elif init_type == "xavier_uniform":
                init.xavier_uniform_(m.weight, gain=init_gain)
            elif init_type == "kaiming":
                init.kaiming_normal_(m.weight.data, a=0, mode="fan_in")
            elif init_type == "kaiming_uniform":
                init.kaiming_uniform_(m.weight, a=math.sqrt(5))
            elif init_type == "uniform":
                init.uniform_(m.weight, -init_gain, init_gain)
            else:
                raise NotImplementedError("method [%s] is not implemented" % init_type)
            if hasattr(m, "bias") and m.bias is not None:
                init.constant_(m.bias.data, 0.0)
        elif classname.find("BatchNorm2d") != -1:
            init.normal_(m.weight.data, 1.0, init_gain)
            init.constant_(m.bias.data, 0.0)

    net.apply(init_func)  # apply the initialization function <init_func>


def spread(weight):
    return weight.detach().std().item()


def run(given):
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(8, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(),
        nn.Linear(32, 100),
    )  # fmt: skip
    expected = {
        "normal": 0.02,
        "xavier": 0.02 * math.sqrt(2 / (8 * 9 + 32 * 9)),
        "xavier_uniform": 0.02 * math.sqrt(2 / (8 * 9 + 32 * 9)),
        "kaiming": math.sqrt(2 / (8 * 9)),
        "kaiming_uniform": math.sqrt(1 / (3 * 8 * 9)),
        "uniform": 0.02 / math.sqrt(3),
    }
    for name, std in expected.items():
        init_weights(net, name)
        assert abs(spread(net[0].weight) / std - 1) < 0.1, (name, spread(net[0].weight), std)
        given.record("biases of %s" % name, net[0].bias)

    eye = torch.empty(3, 5)
    init.eye_(eye)
    given.record("eye", eye)
    given.record("ones", init.ones_(torch.empty(2, 3)))
    given.record("zeros", init.zeros_(torch.empty(2)))
    given.record("constant", init.constant_(torch.empty(2, 2), 0.3))
    q = init.orthogonal_(torch.empty(4, 6))
    given.record("orthogonal", q @ q.t())
    dirac = init.dirac_(torch.empty(4, 4, 3, 3))
    given.record("dirac", dirac)
    given.record("gains", [init.calculate_gain(n) for n in ("relu", "tanh", "linear", "sigmoid")]
                 + [init.calculate_gain("leaky_relu", 0.2)])  # fmt: skip
    bounded = init.trunc_normal_(torch.empty(50, 20), std=1.0, a=-1.5, b=1.5)
    assert bounded.abs().max() <= 1.5

    same = nn.Conv2d(4, 4, 3, padding=1)
    init.dirac_(same.weight)
    init.zeros_(same.bias)
    x = given.randn(2, 4, 5, 5)
    assert torch.allclose(same(x), x)

    # a layer with its own reset_parameters
    class Scale(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(n, n))
            self.bias = nn.Parameter(torch.Tensor(n))
            self.register_parameter("extra", None)
            self.reset_parameters()

        def reset_parameters(self):
            stdv = 1.0 / math.sqrt(self.weight.size(1))
            self.weight.data.uniform_(-stdv, stdv)
            self.bias.data.zero_()

        def forward(self, input):
            return nn.functional.linear(input, self.weight, self.bias)

    scale = Scale(4)
    assert scale.extra is None
    assert scale.weight.abs().max() <= 0.5
    given.record("names", len(list(scale.named_parameters())))
    scale = given.weights(scale)
    scale(given.randn(3, 4)).pow(2).mean().backward()
