"""A course's barebones ConvNet: plain tensors, F.conv2d, manual updates, then nn.Sequential."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

USE_GPU = True
dtype = torch.float64
if USE_GPU and torch.cuda.is_available():
    device = torch.device("cuda")
else:
    device = torch.device("cpu")


def flatten(x):
    N = x.shape[0]  # read in N, C, H, W
    return x.view(N, -1)  # "flatten" the C * H * W values into a single vector per image


class Flatten(nn.Module):
    def forward(self, x):
        return flatten(x)


def three_layer_convnet(x, params):
    conv_w1, conv_b1, conv_w2, conv_b2, fc_w, fc_b = params
    x = F.relu(F.conv2d(x, conv_w1, conv_b1, padding=2))
    x = F.relu(F.conv2d(x, conv_w2, conv_b2, padding=1))
    return flatten(x).mm(fc_w) + fc_b


def check_accuracy(loader, model_fn, params):
    num_correct, num_samples = 0, 0
    with torch.no_grad():
        for x, y in loader:
            x = x.to(device=device, dtype=dtype)  # move to device, e.g. GPU
            y = y.to(device=device, dtype=torch.int64)
            scores = model_fn(x, params)
            _, preds = scores.max(1)
            num_correct += (preds == y).sum()
            num_samples += preds.size(0)
        acc = float(num_correct) / num_samples
    return acc


def train_part2(model_fn, params, learning_rate, loader, losses):
    for t, (x, y) in enumerate(loader):
        x = x.to(device=device, dtype=dtype)
        y = y.to(device=device, dtype=torch.long)
        scores = model_fn(x, params)
        loss = F.cross_entropy(scores, y)
        loss.backward()
        # Update parameters; no_grad so that the updates are not recorded
        with torch.no_grad():
            for w in params:
                w -= learning_rate * w.grad
                # Manually zero the gradients after running the backward pass
                w.grad.zero_()
        losses.append(loss.item())


class ThreeLayerConvNet(nn.Module):
    def __init__(self, in_channel, channel_1, channel_2, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channel, channel_1, 5, padding=2)
        nn.init.kaiming_normal_(self.conv1.weight)
        nn.init.zeros_(self.conv1.bias)
        self.conv2 = nn.Conv2d(channel_1, channel_2, 3, padding=1)
        nn.init.kaiming_normal_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)
        self.fc = nn.Linear(channel_2 * 8 * 8, num_classes)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc(flatten(x))


def run(given):
    loader = [(given.randn(4, 3, 8, 8), given.randint(0, 10, (4,))) for _ in range(4)]
    params = []
    for shape in [(6, 3, 5, 5), (6,), (4, 6, 3, 3), (4,), (4 * 8 * 8, 10), (10,)]:
        w = given.randn(*shape).to(device=device, dtype=dtype) * 0.1
        w.requires_grad = True
        params.append(w)
    losses = []
    train_part2(three_layer_convnet, params, 3e-3, loader, losses)
    given.record("losses", losses)
    given.record("accuracy", check_accuracy(loader, three_layer_convnet, params))
    for i, w in enumerate(params):
        given.record("parameter %d" % i, w)

    model = given.weights(ThreeLayerConvNet(3, 6, 4, 10)).to(device=device)
    optimizer = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, nesterov=True)
    other = nn.Sequential(
        nn.Conv2d(3, 6, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.Conv2d(6, 4, kernel_size=3, padding=1),
        nn.ReLU(),
        Flatten(),
        nn.Linear(4 * 8 * 8, 10),
    )
    other = given.weights(other, "sequential")
    second = optim.Adam(other.parameters(), lr=1e-3)
    losses = []
    for e in range(3):
        for t, (x, y) in enumerate(loader):
            model.train()  # put model to training mode
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            second.zero_grad()
            F.cross_entropy(other(x), y).backward()
            second.step()
            losses.append(loss.item())
    given.record("module losses", losses)
