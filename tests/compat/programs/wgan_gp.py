"""Wasserstein GAN with gradient penalty: backward through a gradient."""

import torch
import torch.nn as nn
from torch import autograd


class Generator(nn.Module):
    def __init__(self, latent_dim=6):
        super().__init__()
        self.fc = nn.Linear(latent_dim, 16 * 3 * 3)
        self.block = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z):
        out = self.fc(z).view(-1, 16, 3, 3)
        return self.block(out)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 16, 3, 2, 1, bias=False),
            nn.InstanceNorm2d(16, affine=True),
            nn.LeakyReLU(0.2),
        )
        self.fc = nn.Linear(16 * 3 * 3, 1)

    def forward(self, x):
        out = self.conv(x)
        return self.fc(out.reshape(out.shape[0], -1))


def compute_gradient_penalty(D, real_samples, fake_samples, alpha):
    # a random point on the line between real and fake samples
    interpolates = (alpha * real_samples + ((1 - alpha) * fake_samples)).requires_grad_(True)
    d_interpolates = D(interpolates)
    fake = torch.ones(real_samples.shape[0], 1, requires_grad=False)
    gradients = autograd.grad(
        outputs=d_interpolates,
        inputs=interpolates,
        grad_outputs=fake,
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    gradient_penalty = ((gradients.norm(2, dim=1) - 1) ** 2).mean()
    return gradient_penalty


def run(given):
    lambda_gp = 10
    generator = given.weights(Generator(), "generator")
    critic = given.weights(Critic(), "critic")
    optimizer_G = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    optimizer_D = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.9))
    log = []
    for i in range(10):
        real_imgs = given.randn(3, 1, 12, 12)
        optimizer_D.zero_grad()
        z = given.randn(3, 6)
        fake_imgs = generator(z).detach()
        real_validity = critic(real_imgs)
        fake_validity = critic(fake_imgs)
        penalty = compute_gradient_penalty(
            critic, real_imgs.data, fake_imgs.data, given.rand(3, 1, 1, 1)
        )
        d_loss = -torch.mean(real_validity) + torch.mean(fake_validity) + lambda_gp * penalty
        d_loss.backward()
        if i == 0:
            given.gradients("first gradient", critic)
        optimizer_D.step()
        log.append([d_loss.item(), penalty.item()])

        # train the generator every 2 steps
        optimizer_G.zero_grad()
        if i % 2 == 0:
            fake_imgs = generator(z)
            g_loss = -torch.mean(critic(fake_imgs))
            g_loss.backward()
            optimizer_G.step()
    given.record("log", log)
