"""The CIFAR tutorial: running loss, overall and per-class accuracy, tensors explained."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

classes = ("plane", "car", "bird", "cat")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc1 = nn.Linear(8 * 2 * 2, 12)
        self.fc2 = nn.Linear(12, len(classes))

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        # If the size is a square, you can specify with a single number
        x = x.view(-1, self.num_flat_features(x))
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x

    def num_flat_features(self, x):
        size = x.size()[1:]  # all dimensions except the batch dimension
        num_features = 1
        for s in size:
            num_features *= s
        return num_features


def tensors(given):
    """Tensors, NumPy and gradients."""
    x = torch.empty(5, 3).fill_(2.0)
    y = torch.zeros(5, 3, dtype=torch.long)
    result = torch.empty(5, 3)
    torch.add(x, y, out=result)
    given.record("added", result)
    z = given.randn(4, 4)
    given.record("resized", [list(z.view(16).size())[0], list(z.view(-1, 8).size())[0]])
    a = torch.ones(5)
    b = a.numpy()
    a.add_(1)
    assert b[0] == 2.0
    given.record("shared", b)
    c = np.ones(5)
    d = torch.from_numpy(c)
    np.add(c, 1, out=c)
    given.record("from numpy", d)
    x = torch.ones(2, 2, requires_grad=True)
    y = x + 2
    z = y * y * 3
    out = z.mean()
    out.backward()
    given.record("x.grad", x.grad)
    x = given.randn(3).requires_grad_()
    y = x * 2
    while y.data.norm() < 1000:
        y = y * 2
    v = torch.tensor([0.1, 1.0, 0.0001], dtype=y.dtype)
    y.backward(v)
    given.record("product", x.grad)
    with torch.no_grad():
        assert (x**2).requires_grad is False
    assert x.detach().eq(x).all()


def run(given):
    tensors(given)
    net = given.weights(Net())
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    trainloader = [(given.rand(3, 3, 16, 16), given.randint(0, 4, (3,))) for _ in range(5)]
    printed = []
    for epoch in range(2):  # loop over the dataset multiple times
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            # get the inputs; data is a list of [inputs, labels]
            inputs, labels = data
            # zero the parameter gradients
            optimizer.zero_grad()
            # forward + backward + optimize
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            # print statistics
            running_loss += loss.item()
            if i % 2 == 1:
                printed.append(running_loss / 2)
                running_loss = 0.0
    given.record("printed", printed)

    correct, total = 0, 0
    correct_pred = {classname: 0 for classname in classes}
    total_pred = {classname: 0 for classname in classes}
    with torch.no_grad():
        for images, labels in trainloader:
            outputs = net(images)
            _, predicted = torch.max(outputs.data, 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
            for label, prediction in zip(labels, predicted):
                if label == prediction:
                    correct_pred[classes[label]] += 1
                total_pred[classes[label]] += 1
    given.record("accuracy", 100 * correct // total)
    given.record("by class", [[correct_pred[name], total_pred[name]] for name in classes])
    params = list(net.parameters())
    given.record("first size", list(params[0].size()))
