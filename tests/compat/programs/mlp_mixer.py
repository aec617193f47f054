"""MLP-Mixer and ConvMixer: patches, mixing of tokens and channels, residual wrappers."""

import torch
import torch.nn as nn


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn(x) + x


class MlpBlock(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, dim)
        )

    def forward(self, x):
        return self.net(x)


class MixerBlock(nn.Module):
    def __init__(self, dim, num_patch, token_dim, channel_dim):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.token_mix = MlpBlock(num_patch, token_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.channel_mix = MlpBlock(dim, channel_dim)

    def forward(self, x):
        y = self.norm1(x).transpose(-1, -2)
        x = x + self.token_mix(y).transpose(1, 2)
        return x + self.channel_mix(self.norm2(x))


class MLPMixer(nn.Module):
    def __init__(self, dim=8, patch=4, image=12, depth=2, classes=5):
        super().__init__()
        assert image % patch == 0, "Image dimensions must be divisible by the patch size."
        self.to_patch_embedding = nn.Conv2d(3, dim, patch, patch)
        n = (image // patch) ** 2
        self.mixer_blocks = nn.ModuleList([MixerBlock(dim, n, 6, 12) for _ in range(depth)])
        self.layer_norm = nn.LayerNorm(dim)
        self.mlp_head = nn.Sequential(nn.Linear(dim, classes))
        self.cls_shift = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x):
        x = self.to_patch_embedding(x).flatten(2).transpose(1, 2) + self.cls_shift
        for mixer_block in self.mixer_blocks:
            x = mixer_block(x)
        x = self.layer_norm(x)
        return self.mlp_head(x.mean(dim=1))


def ConvMixer(dim, depth, kernel_size=5, patch_size=4, n_classes=5):
    return nn.Sequential(
        nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size),
        nn.GELU(),
        nn.BatchNorm2d(dim),
        *[
            nn.Sequential(
                Residual(
                    nn.Sequential(
                        nn.Conv2d(dim, dim, kernel_size, groups=dim, padding="same"),
                        nn.GELU(approximate="tanh"),
                        nn.BatchNorm2d(dim),
                    )
                ),
                nn.Conv2d(dim, dim, kernel_size=1),
                nn.GELU(),
                nn.BatchNorm2d(dim),
            )
            for i in range(depth)
        ],
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(dim, n_classes),
    )


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.mixer = MLPMixer()
        self.conv_mixer = ConvMixer(6, 2)

    def forward(self, x):
        return self.mixer(x) + self.conv_mixer(x)


def run(given):
    given.train(Pair(), given.randn(3, 3, 12, 12), given.randint(0, 5, (3,)), lr=0.01)
