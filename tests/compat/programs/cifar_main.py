"""The main loop of a CIFAR zoo: cosine schedule, best checkpoint, resume."""

import os
import tempfile

import torch
import torch.backends.cudnn as cudnn
import torch.nn as nn
import torch.optim as optim


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.linear = nn.Linear(8 * 4 * 4, 4)

    def forward(self, x):
        out = self.features(x)
        out = out.view(out.size(0), -1)
        return self.linear(out)


def run(given):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    best_acc = 0  # best test accuracy
    start_epoch = 0  # start from epoch 0 or last checkpoint epoch
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "ckpt.pth")

    trainset = torch.utils.data.TensorDataset(given.randn(8, 3, 8, 8), given.randint(0, 4, (8,)))
    trainloader = torch.utils.data.DataLoader(trainset, batch_size=4, shuffle=False, num_workers=0)
    testset = torch.utils.data.TensorDataset(given.randn(6, 3, 8, 8), given.randint(0, 4, (6,)))
    testloader = torch.utils.data.DataLoader(testset, batch_size=3, shuffle=False, num_workers=0)

    net = given.weights(Net())
    net = net.to(device)
    if device == "cuda":
        net = torch.nn.DataParallel(net)
        cudnn.benchmark = True
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    log = []

    def train(epoch):
        net.train()
        train_loss = 0
        correct = 0
        total = 0
        for batch_idx, (inputs, targets) in enumerate(trainloader):
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()

            train_loss += loss.item()
            _, predicted = outputs.max(1)
            total += targets.size(0)
            correct += predicted.eq(targets).sum().item()
        return train_loss / (batch_idx + 1), 100.0 * correct / total

    def test(epoch):
        nonlocal best_acc
        net.eval()
        test_loss = 0
        correct = 0
        total = 0
        with torch.no_grad():
            for batch_idx, (inputs, targets) in enumerate(testloader):
                inputs, targets = inputs.to(device), targets.to(device)
                outputs = net(inputs)
                loss = criterion(outputs, targets)
                test_loss += loss.item()
                _, predicted = outputs.max(1)
                total += targets.size(0)
                correct += predicted.eq(targets).sum().item()
        # Save checkpoint.
        acc = 100.0 * correct / total
        if acc >= best_acc:
            state = {
                "net": net.state_dict(),
                "acc": acc,
                "epoch": epoch,
            }
            torch.save(state, path)
            best_acc = acc
        return test_loss / (batch_idx + 1), acc

    for epoch in range(start_epoch, start_epoch + 5):
        log.append([*train(epoch), *test(epoch), optimizer.param_groups[0]["lr"]])
        scheduler.step()
    given.record("log", log)

    # resume
    assert os.path.isfile(path), "Error: no checkpoint found!"
    checkpoint = torch.load(path)
    again = Net()
    again.load_state_dict(checkpoint["net"])
    given.record("checkpoint", [checkpoint["acc"], checkpoint["epoch"]])
    again.eval()
    given.record("again", again(testset.tensors[0]))
    os.remove(path)
    os.rmdir(folder)
