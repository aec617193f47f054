"""Denoising diffusion: a schedule of noise, sinusoidal time, a small U-Net, sampling."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def linear_beta_schedule(timesteps, start=0.0001, end=0.02):
    return torch.linspace(start, end, timesteps)


def cosine_beta_schedule(timesteps, s=0.008):
    x = torch.linspace(0, timesteps, timesteps + 1)
    alphas_cumprod = torch.cos(((x / timesteps) + s) / (1 + s) * math.pi * 0.5) ** 2
    alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
    betas = 1 - (alphas_cumprod[1:] / alphas_cumprod[:-1])
    return torch.clip(betas, 0.0001, 0.9999)


def extract(a, t, x_shape):
    """Return the entries of a at t, with as many axes as x has."""
    batch_size = t.shape[0]
    out = a.gather(-1, t.cpu())
    return out.reshape(batch_size, *((1,) * (len(x_shape) - 1))).to(t.device)


class SinusoidalPositionEmbeddings(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, time):
        device = time.device
        half_dim = self.dim // 2
        embeddings = math.log(10000) / (half_dim - 1)
        embeddings = torch.exp(torch.arange(half_dim, device=device) * -embeddings)
        embeddings = time[:, None] * embeddings[None, :]
        embeddings = torch.cat((embeddings.sin(), embeddings.cos()), dim=-1)
        return embeddings


class Block(nn.Module):
    def __init__(self, in_ch, out_ch, time_emb_dim, up=False):
        super().__init__()
        self.time_mlp = nn.Linear(time_emb_dim, out_ch)
        if up:
            self.conv1 = nn.Conv2d(2 * in_ch, out_ch, 3, padding=1)
            self.transform = nn.ConvTranspose2d(out_ch, out_ch, 4, 2, 1)
        else:
            self.conv1 = nn.Conv2d(in_ch, out_ch, 3, padding=1)
            self.transform = nn.Conv2d(out_ch, out_ch, 4, 2, 1)
        self.conv2 = nn.Conv2d(out_ch, out_ch, 3, padding=1)
        self.norm1 = nn.GroupNorm(2, out_ch)
        self.act = nn.SiLU()

    def forward(self, x, t):
        h = self.norm1(self.act(self.conv1(x)))
        time_emb = self.act(self.time_mlp(t))
        # Extend last 2 dimensions
        time_emb = time_emb[(...,) + (None,) * 2]
        h = h + time_emb
        h = self.act(self.conv2(h))
        return self.transform(h)


class SimpleUnet(nn.Module):
    def __init__(self, time_emb_dim=6):
        super().__init__()
        down_channels, up_channels = (4, 6, 8), (8, 6, 4)
        self.time_mlp = nn.Sequential(
            SinusoidalPositionEmbeddings(time_emb_dim),
            nn.Linear(time_emb_dim, time_emb_dim),
            nn.ReLU(),
        )
        self.conv0 = nn.Conv2d(1, down_channels[0], 3, padding=1)
        self.downs = nn.ModuleList(
            [Block(down_channels[i], down_channels[i + 1], time_emb_dim) for i in range(2)]
        )
        self.ups = nn.ModuleList(
            [Block(up_channels[i], up_channels[i + 1], time_emb_dim, up=True) for i in range(2)]
        )
        self.output = nn.Conv2d(up_channels[-1], 1, 1)

    def forward(self, x, timestep):
        t = self.time_mlp(timestep)
        x = self.conv0(x)
        residual_inputs = []
        for down in self.downs:
            x = down(x, t)
            residual_inputs.append(x)
        for up in self.ups:
            residual_x = residual_inputs.pop()
            x = torch.cat((x, residual_x), dim=1)
            x = up(x, t)
        return self.output(x)


def run(given):
    T = 20
    betas = linear_beta_schedule(T)
    alphas = 1.0 - betas
    alphas_cumprod = torch.cumprod(alphas, dim=0)
    alphas_cumprod_prev = F.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
    sqrt_recip_alphas = torch.sqrt(1.0 / alphas)
    sqrt_one_minus = torch.sqrt(1.0 - alphas_cumprod)
    posterior_variance = betas * (1.0 - alphas_cumprod_prev) / (1.0 - alphas_cumprod)
    given.record("posterior variance", posterior_variance)
    given.record("cosine schedule", cosine_beta_schedule(10))

    model = given.weights(SimpleUnet())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x_0 = given.rand(3, 1, 8, 8) * 2 - 1
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        t = given.randint(0, T, (3,)).long()
        noise = given.randn(3, 1, 8, 8)
        x_t = extract(alphas_cumprod.sqrt(), t, x_0.shape) * x_0 + (
            extract(sqrt_one_minus, t, x_0.shape) * noise
        )
        loss = F.l1_loss(noise, model(x_t, t)) + F.huber_loss(noise, model(x_t, t), delta=0.5)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    given.record("losses", losses)

    @torch.no_grad()
    def sample_timestep(x, t):
        betas_t = extract(betas, t, x.shape)
        recip = extract(sqrt_recip_alphas, t, x.shape)
        model_mean = recip * (x - betas_t * model(x, t) / extract(sqrt_one_minus, t, x.shape))
        if t[0] == 0:
            return model_mean
        return model_mean + torch.sqrt(extract(posterior_variance, t, x.shape)) * given.randn(
            1, 1, 8, 8
        )

    img = given.randn(1, 1, 8, 8)
    for i in range(0, 4)[::-1]:
        t = torch.full((1,), i, dtype=torch.long)
        img = torch.clamp(sample_timestep(img, t), -1.0, 1.0)
    given.record("sample", img)
