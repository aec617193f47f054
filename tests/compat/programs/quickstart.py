"""The quickstart tutorial: a linear stack, a train loop and a test loop."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = (
    torch.accelerator.current_accelerator().type
    if hasattr(torch, "accelerator") and torch.accelerator.is_available()
    else "cpu"
)


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(6 * 6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)
        )

    def forward(self, x):
        x = self.flatten(x)
        logits = self.linear_relu_stack(x)
        return logits


def train(dataloader, model, loss_fn, optimizer, log):
    size = len(dataloader.dataset)
    model.train()
    for batch, (X, y) in enumerate(dataloader):
        X, y = X.to(device), y.to(device)

        # Compute prediction error
        pred = model(X)
        loss = loss_fn(pred, y)

        # Backpropagation
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

        if batch % 2 == 0:
            loss, current = loss.item(), (batch + 1) * len(X)
            line = f"loss: {loss:>7f}  [{current:>5d}/{size:>5d}]"
            assert line.endswith("]")
            log.append(loss)


def test(dataloader, model, loss_fn):
    size = len(dataloader.dataset)
    num_batches = len(dataloader)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in dataloader:
            X, y = X.to(device), y.to(device)
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    test_loss /= num_batches
    correct /= size
    return 100 * correct, test_loss


def run(given):
    training_data = TensorDataset(given.rand(12, 1, 6, 6), given.randint(0, 10, (12,)))
    test_data = TensorDataset(given.rand(6, 1, 6, 6), given.randint(0, 10, (6,)))
    train_dataloader = DataLoader(training_data, batch_size=4)
    test_dataloader = DataLoader(test_data, batch_size=4)
    for X, y in test_dataloader:
        text = f"Shape of X [N, C, H, W]: {X.shape} {y.dtype}"
        break
    assert text == "Shape of X [N, C, H, W]: torch.Size([4, 1, 6, 6]) torch.int64", text

    model = given.weights(NeuralNetwork().to(device))
    assert "(linear_relu_stack): Sequential(" in str(model)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-1)
    log, tests = [], []
    for t in range(4):
        train(train_dataloader, model, loss_fn, optimizer, log)
        tests.append(test(test_dataloader, model, loss_fn))
    given.record("log", log)
    given.record("tests", tests)

    model.eval()
    x, y = test_data[0][0], test_data[0][1]
    with torch.no_grad():
        x = x.to(device)
        pred = model(x)
        given.record("predicted", [pred[0].argmax(0), y])
