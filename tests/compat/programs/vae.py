"""Variational autoencoder with linear layers: BCE plus KL divergence."""

import torch
from torch import nn, optim
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self, eps):
        super(VAE, self).__init__()
        self.eps = eps
        self.fc1 = nn.Linear(64, 24)
        self.fc21 = nn.Linear(24, 5)
        self.fc22 = nn.Linear(24, 5)
        self.fc3 = nn.Linear(5, 24)
        self.fc4 = nn.Linear(24, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = self.eps.expand_as(std)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


# Reconstruction + KL divergence losses summed over all elements and batch
def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def run(given):
    model = given.weights(VAE(given.randn(1, 5)))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    data = given.rand(4, 1, 8, 8)
    data.requires_grad_()
    model.train()
    train_loss = 0
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        if step == 0:
            given.record("recon", recon_batch)
            given.record("input gradient", data.grad)
            given.gradients("first gradient", model)
        train_loss += loss.item()
        losses.append(loss.item() / len(data))
        optimizer.step()
    given.record("losses", losses)
    model.eval()
    with torch.no_grad():
        sample = model.decode(given.randn(6, 5)).cpu()
        given.record("sample", sample.view(6, 1, 8, 8))
