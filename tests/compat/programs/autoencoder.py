"""Convolutional autoencoder: strided convolutions, then transposed ones, MSE."""

import torch
from torch import nn
from torch.utils.data import DataLoader


class autoencoder(nn.Module):
    def __init__(self):
        super(autoencoder, self).__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=3, padding=1),  # b, 8, 10, 10
            nn.ReLU(True),
            nn.MaxPool2d(2, stride=2),  # b, 8, 5, 5
            nn.Conv2d(8, 4, 3, stride=2, padding=1),  # b, 4, 3, 3
            nn.ReLU(True),
            nn.MaxPool2d(2, stride=1),  # b, 4, 2, 2
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 3, stride=2),  # b, 8, 5, 5
            nn.ReLU(True),
            nn.ConvTranspose2d(8, 4, 5, stride=3, padding=1),  # b, 4, 15, 15
            nn.ReLU(True),
            nn.ConvTranspose2d(4, 1, 2, stride=2, padding=1),  # b, 1, 28, 28
            nn.Tanh(),
        )

    def forward(self, x):
        x = self.encoder(x)
        x = self.decoder(x)
        return x


def to_img(x):
    x = 0.5 * (x + 1)
    x = x.clamp(0, 1)
    x = x.view(x.size(0), 1, 28, 28)
    return x


def run(given):
    images = given.rand(8, 1, 28, 28) * 2 - 1
    labels = given.randint(0, 10, (8,))
    dataloader = DataLoader(list(zip(images, labels)), batch_size=4, shuffle=False)
    model = given.weights(autoencoder())
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    losses = []
    for epoch in range(5):
        for data in dataloader:
            img, _ = data
            output = model(img)
            loss = criterion(output, img)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    given.record("losses", losses)
    given.record("pictures", to_img(output.cpu().data))
