"""Convolutional VAE with a free bit of KL and an annealed weight."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Flatten(nn.Module):
    def forward(self, input):
        return input.view(input.size(0), -1)


class UnFlatten(nn.Module):
    def forward(self, input, size=16):
        return input.view(input.size(0), size, 2, 2)


class ConvVAE(nn.Module):
    def __init__(self, image_channels=3, h_dim=64, z_dim=4):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(image_channels, 8, kernel_size=4, stride=2),
            nn.ELU(),
            nn.Conv2d(8, 16, kernel_size=4, stride=2),
            nn.ELU(),
            Flatten(),
        )
        self.mu_logvar = nn.Linear(h_dim, 2 * z_dim)
        self.fc = nn.Linear(z_dim, h_dim)
        self.decoder = nn.Sequential(
            UnFlatten(),
            nn.ConvTranspose2d(16, 8, kernel_size=4, stride=2),
            nn.ELU(),
            nn.ConvTranspose2d(8, image_channels, kernel_size=4, stride=2),
            nn.Sigmoid(),
        )

    def forward(self, x, noise):
        mu, logvar = self.mu_logvar(self.encoder(x)).chunk(2, dim=-1)
        logvar = torch.clamp(logvar, -6.0, 6.0)
        z = mu + torch.exp(logvar / 2) * noise
        return self.decoder(self.fc(z)), mu, logvar


def run(given):
    x = given.rand(3, 3, 14, 14)
    model = given.weights(ConvVAE())
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(10):
        beta = min(1.0, step / 5)
        recon, mu, logvar = model(x, given.randn(3, 4))
        mse = F.mse_loss(recon, x, reduction="sum") / x.shape[0]
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1)
        kl = torch.max(kl, torch.full_like(kl, 0.1)).mean()
        loss = mse + beta * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([mse.item(), kl.item()])
    given.record("losses", losses)
