"""Conditional GAN: labels by embedding, BatchNorm1d, one-sided smoothing."""

import numpy as np
import torch
import torch.nn as nn


class Generator(nn.Module):
    def __init__(self, n_classes, latent_dim, img_shape):
        super(Generator, self).__init__()
        self.img_shape = img_shape
        self.label_emb = nn.Embedding(n_classes, n_classes)

        def block(in_feat, out_feat, normalize=True):
            layers = [nn.Linear(in_feat, out_feat, bias=not normalize)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(
            *block(latent_dim + n_classes, 12, normalize=False),
            *block(12, 16),
            nn.Linear(16, int(np.prod(img_shape))),
            nn.Tanh(),
        )

    def forward(self, noise, labels):
        # Concatenate label embedding and image to produce input
        gen_input = torch.cat((self.label_emb(labels), noise), -1)
        img = self.model(gen_input)
        img = img.view(img.size(0), *self.img_shape)
        return img


class Discriminator(nn.Module):
    def __init__(self, n_classes, img_shape):
        super(Discriminator, self).__init__()
        self.label_embedding = nn.Embedding(n_classes, n_classes)
        self.model = nn.Sequential(
            nn.Linear(n_classes + int(np.prod(img_shape)), 16),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(16, 16),
            nn.Dropout(0.0),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(16, 1),
        )

    def forward(self, img, labels):
        d_in = torch.cat((img.view(img.size(0), -1), self.label_embedding(labels)), -1)
        validity = self.model(d_in)
        return validity


def run(given):
    n_classes, latent_dim, img_shape = 4, 5, (1, 6, 6)
    adversarial_loss = torch.nn.MSELoss()
    generator = given.weights(Generator(n_classes, latent_dim, img_shape), "G")
    discriminator = given.weights(Discriminator(n_classes, img_shape), "D")
    optimizer_G = torch.optim.Adam(generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    log = []
    for i in range(10):
        real_imgs, labels = given.randn(4, 1, 6, 6), given.randint(0, 4, (4,))
        batch_size = real_imgs.shape[0]
        valid = torch.ones(batch_size, 1).mul(0.9)
        fake = torch.zeros((batch_size, 1))

        optimizer_G.zero_grad()
        z = given.randn(batch_size, latent_dim)
        gen_labels = given.randint(0, n_classes, (batch_size,))
        gen_imgs = generator(z, gen_labels)
        g_loss = adversarial_loss(discriminator(gen_imgs, gen_labels), valid)
        g_loss.backward()
        optimizer_G.step()

        optimizer_D.zero_grad()
        d_real_loss = adversarial_loss(discriminator(real_imgs, labels), valid)
        d_fake_loss = adversarial_loss(discriminator(gen_imgs.detach(), gen_labels), fake)
        d_loss = (d_real_loss + d_fake_loss) / 2
        d_loss.backward()
        optimizer_D.step()
        log.append([d_loss.item(), g_loss.item()])
    given.record("log", log)
    labels = np.array([num for _ in range(2) for num in range(n_classes)])
    generator.eval()
    pictures = generator(given.randn(8, latent_dim), torch.from_numpy(labels))
    given.record("pictures", pictures.data)
