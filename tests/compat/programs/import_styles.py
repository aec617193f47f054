"""Every way of importing that files use, on one small network."""

import torch
import torch as T
import torch.nn
import torch.nn.functional
import torch.nn.functional as func
import torch.nn.init as weight_init
import torch.nn.utils as nn_utils
import torch.optim
import torch.utils.data
import torch.utils.data as data
from torch import Tensor, nn, optim
from torch import cat as concatenate
from torch.autograd import Variable
from torch.nn import BatchNorm2d, Conv2d, Linear, Module, ReLU, functional
from torch.nn.functional import log_softmax, relu
from torch.nn.init import constant_
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, lr_scheduler
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torch.utils.data.dataset import Dataset


class Rows(Dataset):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, i: int):
        return self.x[i], self.y[i]


class Net(Module):
    def __init__(self):
        Module.__init__(self)
        self.conv = Conv2d(1, 4, (3, 3))
        self.norm = BatchNorm2d(4)
        self.relu = ReLU()
        self.fc = Linear(in_features=64, out_features=3)
        self.gain = Parameter(T.ones(1))

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = functional.max_pool2d(x, (2, 2), stride=(1, 1))
        x = torch.nn.functional.avg_pool2d(x, 2, stride=1)
        x = func.adaptive_avg_pool2d(x, (4, 4))
        return log_softmax(self.gain * self.fc(x.reshape(x.size(0), -1)), dim=1)


def run(given):
    net = Net()
    for m in net.modules():
        if isinstance(m, _BatchNorm):
            constant_(m.weight, 0.5)
    given.record("norm", net.norm.weight)
    given.weights(net)
    rows = Rows(given.randn(6, 1, 8, 8), given.randint(0, 3, (6,)))
    loader = DataLoader(dataset=rows, batch_size=3)
    assert isinstance(loader, data.DataLoader)
    assert isinstance(rows, torch.utils.data.Dataset)
    optimizer = SGD(params=net.parameters(), lr=0.05)
    assert isinstance(optimizer, optim.Optimizer)
    schedule = StepLR(optimizer, 2)
    assert lr_scheduler.StepLR is StepLR
    losses = []
    for epoch in range(5):
        for x, y in loader:
            x, y = Variable(x), Variable(y)
            optimizer.zero_grad()
            loss = torch.nn.NLLLoss()(net(x), y)
            loss.backward()
            clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
    given.record("losses", losses)
    assert nn_utils.clip_grad_norm_ is clip_grad_norm_
    assert weight_init.constant_ is constant_
    assert nn.Module is Module
    given.record("joined", concatenate([relu(x), x], 1))
