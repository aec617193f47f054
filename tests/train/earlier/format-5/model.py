"""A model with all that a checkpoint keeps; each parameter has a true gradient."""

from tinygrad_cnn import nn


class Net(nn.Module):
    def __init__(self, input_shape, classes, rng):
        self.conv = nn.Conv2d(input_shape[0], 2, 3, stride=3, bias=False, rng=rng)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.3, rng=rng)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(2 * 2 * 2, classes, rng=rng)

    def forward(self, x):
        return self.fc(self.dropout(self.flatten(self.norm(self.conv(x)))))
