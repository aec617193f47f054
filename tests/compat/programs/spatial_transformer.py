"""Spatial transformer: a localization network, affine_grid and grid_sample."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, kernel_size=5)
        self.conv2 = nn.Conv2d(4, 6, kernel_size=3)
        self.conv2_drop = nn.Dropout2d(p=0.0)
        self.fc1 = nn.Linear(6 * 3 * 3, 16)
        self.fc2 = nn.Linear(16, 10)

        # Spatial transformer localization-network
        self.localization = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=5),
            nn.MaxPool2d(2, stride=2),
            nn.ReLU(True),
            nn.Conv2d(4, 5, kernel_size=3),
            nn.MaxPool2d(2, stride=2),
            nn.ReLU(True),
        )

        # Regressor for the 3 * 2 affine matrix
        self.fc_loc = nn.Sequential(nn.Linear(5 * 3 * 3, 8), nn.ReLU(True), nn.Linear(8, 3 * 2))

        # Initialize the weights/bias with identity transformation
        self.fc_loc[2].weight.data.zero_()
        self.fc_loc[2].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))

    # Spatial transformer network forward function
    def stn(self, x):
        xs = self.localization(x)
        xs = xs.view(-1, 5 * 3 * 3)
        theta = self.fc_loc(xs)
        theta = theta.view(-1, 2, 3)

        grid = F.affine_grid(theta, x.size(), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        return x

    def forward(self, x):
        # transform the input
        x = self.stn(x)
        # perform the usual forward pass
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 6 * 3 * 3)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.0, training=self.training)
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


def run(given):
    net = Net()
    x = given.randn(3, 1, 20, 20)
    target = given.randint(0, 10, (3,))
    with torch.no_grad():
        given.record("identity", net.stn(x))
    model = given.weights(net)
    with torch.no_grad():
        model.fc_loc[2].weight.mul_(0.1)
        model.fc_loc[2].bias.add_(torch.tensor([0.9, 0.1, 0.03, -0.1, 0.8, 0.02]))
    optimizer = optim.SGD(model.parameters(), lr=0.0001)
    model.train()
    x.requires_grad_()
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        output = model(x)
        loss = F.nll_loss(output, target)
        loss.backward()
        if step == 0:
            given.record("output", output)
            given.record("input gradient", x.grad)
            given.gradients("first gradient", model)
        optimizer.step()
        losses.append(loss.item())
    given.record("losses", losses)
    given.record("transformed", model.stn(x).cpu().detach())
