"""Transfer learning: a frozen body, a new head, phases with the best weights kept."""

import copy

import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim import lr_scheduler


class Backbone(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        return self.fc(x.mean(dim=(-2, -1)))


def set_parameter_requires_grad(model, feature_extracting):
    if feature_extracting:
        for param in model.parameters():
            param.requires_grad = False


def train_model(model, dataloaders, sizes, criterion, optimizer, scheduler, num_epochs, log):
    best_model_wts = copy.deepcopy(model.state_dict())
    best_acc = 0.0
    for epoch in range(num_epochs):
        # Each epoch has a training and validation phase
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss = 0.0
            running_corrects = 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                # track history only in train
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data)
            if phase == "train":
                scheduler.step()
            epoch_loss = running_loss / sizes[phase]
            epoch_acc = running_corrects.double() / sizes[phase]
            log.append([epoch_loss, float(epoch_acc)])
            if phase == "val" and epoch_acc >= best_acc:
                best_acc = epoch_acc
                best_model_wts = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_model_wts)
    return model


def run(given):
    torch.manual_seed(0)
    dataloaders = {
        phase: [(given.randn(3, 3, 9, 9), given.randint(0, 2, (3,))) for _ in range(2)]
        for phase in ["train", "val"]
    }
    sizes = {"train": 6, "val": 6}
    model = Backbone()
    set_parameter_requires_grad(model, feature_extracting=True)
    num_ftrs = model.fc.in_features
    model.fc = nn.Linear(num_ftrs, 2)
    model = given.weights(model)
    params_to_update = []
    for name, param in model.named_parameters():
        if param.requires_grad == True:
            params_to_update.append(param)
    given.record("to update", len(params_to_update))
    criterion = nn.CrossEntropyLoss()
    optimizer_ft = optim.SGD(params_to_update, lr=0.05, momentum=0.9)
    exp_lr_scheduler = lr_scheduler.StepLR(optimizer_ft, step_size=2, gamma=0.1)
    log = []
    model = train_model(
        model, dataloaders, sizes, criterion, optimizer_ft, exp_lr_scheduler, 3, log
    )
    given.record("log", log)

    # then all of it, the head at ten times the rate
    for param in model.parameters():
        param.requires_grad_(True)
    head = list(map(id, model.fc.parameters()))
    base_params = filter(lambda p: id(p) not in head, model.parameters())
    optimizer = optim.SGD(
        [{"params": base_params}, {"params": model.fc.parameters(), "lr": 1e-2}],
        lr=1e-3,
        momentum=0.9,
    )
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    log = []
    train_model(model, dataloaders, sizes, criterion, optimizer, scheduler, 2, log)
    given.record("unfrozen", log)
    given.record("rates", [group["lr"] for group in optimizer.param_groups])
