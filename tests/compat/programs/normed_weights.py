"""A critic with spectral normalization and a generator with weight normalization."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm, weight_norm


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(1, 4, 3, padding=1))
        self.conv2 = nn.utils.spectral_norm(nn.Conv2d(4, 8, 4, stride=2, padding=1, bias=False))
        self.fc = spectral_norm(nn.Linear(8, 1))

    def forward(self, x):
        h = F.leaky_relu(self.conv1(x), 0.1)
        h = F.leaky_relu(self.conv2(h), 0.1)
        return self.fc(torch.sum(h, dim=(2, 3)))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = weight_norm(nn.Linear(6, 16), name="weight")
        self.up = spectral_norm(nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1))
        self.out = weight_norm(nn.Conv2d(4, 1, 3, padding=1), dim=None)

    def forward(self, z):
        h = F.relu(self.fc(z)).view(-1, 4, 2, 2)
        return torch.tanh(self.out(F.relu(self.up(h))))


def start(given, model):
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(F.normalize(given.randn(*buffer.shape), dim=0))


def run(given):
    critic = given.weights(Critic(), "critic")
    generator = given.weights(Generator(), "generator")
    start(given, critic)
    start(given, generator)
    d_optim = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    g_optim = torch.optim.SGD(generator.parameters(), lr=2e-2)
    log = []
    for step in range(5):
        real, z = given.randn(4, 1, 4, 4), given.randn(4, 6)
        d_optim.zero_grad()
        fake = generator(z).detach()
        d_loss = F.relu(1.0 - critic(real)).mean() + F.relu(1.0 + critic(fake)).mean()
        d_loss.backward()
        d_optim.step()
        g_optim.zero_grad()
        g_loss = -critic(generator(z)).mean()
        g_loss.backward()
        g_optim.step()
        log.append([d_loss.item(), g_loss.item()])
    given.record("log", log)
    critic.eval()
    given.record("evaluated", critic(real))
    given.record("weight", critic.conv1.weight)
    nn.utils.remove_spectral_norm(critic.conv1)
    given.record("names", len(list(critic.state_dict())))
    given.record("after", critic(real))
