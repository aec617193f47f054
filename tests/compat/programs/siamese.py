"""Siamese network with contrastive loss on pairs from a Dataset class."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class PairDataset(Dataset):
    def __init__(self, first, second, same):
        self.first = first
        self.second = second
        self.same = same

    def __getitem__(self, index):
        return self.first[index], self.second[index], self.same[index]

    def __len__(self):
        return len(self.first)


class SiameseNetwork(nn.Module):
    def __init__(self):
        super(SiameseNetwork, self).__init__()
        self.cnn1 = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(1, 4, kernel_size=3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(4),
            nn.ReflectionPad2d(1),
            nn.Conv2d(4, 8, kernel_size=3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(8),
        )
        self.fc1 = nn.Sequential(
            nn.Linear(8 * 10 * 10, 20),
            nn.ReLU(inplace=True),
            nn.Linear(20, 5),
        )

    def forward_once(self, x):
        output = self.cnn1(x)
        output = output.view(output.size()[0], -1)
        output = self.fc1(output)
        return output

    def forward(self, input1, input2):
        output1 = self.forward_once(input1)
        output2 = self.forward_once(input2)
        return output1, output2


class ContrastiveLoss(torch.nn.Module):
    def __init__(self, margin=2.0):
        super(ContrastiveLoss, self).__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        euclidean_distance = F.pairwise_distance(output1, output2, keepdim=True)
        loss_contrastive = torch.mean(
            (1 - label) * torch.pow(euclidean_distance, 2)
            + label * torch.pow(torch.clamp(self.margin - euclidean_distance, min=0.0), 2)
        )
        return loss_contrastive


def run(given):
    data = PairDataset(
        given.randn(8, 1, 10, 10), given.randn(8, 1, 10, 10), given.randint(0, 2, (8, 1)).double()
    )
    train_dataloader = DataLoader(data, shuffle=False, num_workers=0, batch_size=4)
    net = given.weights(SiameseNetwork())
    criterion = ContrastiveLoss(margin=3.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0005)
    loss_history = []
    for epoch in range(0, 5):
        for i, data in enumerate(train_dataloader, 0):
            img0, img1, label = data
            optimizer.zero_grad()
            output1, output2 = net(img0, img1)
            loss_contrastive = criterion(output1, output2, label)
            loss_contrastive.backward()
            optimizer.step()
            loss_history.append(loss_contrastive.item())
    given.record("losses", loss_history)
    given.record("distance", F.pairwise_distance(output1, output2))
    given.record("cosine", F.cosine_similarity(output1, output2, dim=1))
