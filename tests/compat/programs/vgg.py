"""VGG with batch normalization, built from a list of widths."""

import torch
import torch.nn as nn

cfg = {
    "VGG11": [8, "M", 16, "M", 24, 24, "M", 32, 32, "M", 32, 32, "M"],
    "VGG13": [8, 8, "M", 16, 16, "M", 24, 24, "M", 32, 32, "M", 32, 32, "M"],
}


class VGG(nn.Module):
    def __init__(self, vgg_name, num_classes=10):
        super(VGG, self).__init__()
        self.features = self._make_layers(cfg[vgg_name])
        self.classifier = nn.Linear(32, num_classes)
        self._initialize_weights()

    def forward(self, x):
        out = self.features(x)
        out = out.view(out.size(0), -1)
        out = self.classifier(out)
        return out

    def _make_layers(self, cfg):
        layers = []
        in_channels = 3
        for v in cfg:
            if v == "M":
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            else:
                layers += [
                    nn.Conv2d(in_channels, v, kernel_size=3, padding=1),
                    nn.BatchNorm2d(v),
                    nn.ReLU(inplace=True),
                ]
                in_channels = v
        layers += [nn.AvgPool2d(kernel_size=1, stride=1)]
        return nn.Sequential(*layers)

    def _initialize_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                if m.bias is not None:
                    nn.init.constant_(m.bias, 0)
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
                nn.init.constant_(m.bias, 0)


def run(given):
    net = VGG("VGG11")
    given.record("first scales", net.features[1].weight)
    given.record("first shifts", net.features[0].bias)
    y = net(torch.zeros(2, 3, 32, 32))
    given.record("size", list(y.size()))
    net.features[1].reset_running_stats()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
    given.train(net, given.randn(4, 3, 32, 32), given.randint(0, 10, (4,)))
