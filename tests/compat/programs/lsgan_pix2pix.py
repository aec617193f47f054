"""Image to image: a U-Net generator by recursion, a patch discriminator, LSGAN and L1."""

import functools
import itertools

import torch
import torch.nn as nn


class UnetSkipConnectionBlock(nn.Module):
    """X -- downsampling -- |submodule| -- upsampling -- X, joined with what came in."""

    def __init__(self, outer_nc, inner_nc, submodule=None, outermost=False, innermost=False,
                 norm_layer=nn.BatchNorm2d):  # fmt: skip
        super(UnetSkipConnectionBlock, self).__init__()
        self.outermost = outermost
        if type(norm_layer) == functools.partial:
            use_bias = norm_layer.func == nn.InstanceNorm2d
        else:
            use_bias = norm_layer == nn.InstanceNorm2d
        downconv = nn.Conv2d(outer_nc, inner_nc, kernel_size=4, stride=2, padding=1, bias=use_bias)
        downrelu = nn.LeakyReLU(0.2, True)
        downnorm = norm_layer(inner_nc)
        uprelu = nn.ReLU(True)
        upnorm = norm_layer(outer_nc)
        up_in = inner_nc if innermost else inner_nc * 2
        upconv = nn.ConvTranspose2d(
            up_in, outer_nc, kernel_size=4, stride=2, padding=1, bias=outermost or use_bias
        )
        if outermost:
            model = [downconv] + [submodule] + [uprelu, upconv, nn.Tanh()]
        elif innermost:
            model = [downrelu, downconv] + [uprelu, upconv, upnorm]
        else:
            model = [downrelu, downconv, downnorm] + [submodule] + [uprelu, upconv, upnorm]
        self.model = nn.Sequential(*model)

    def forward(self, x):
        if self.outermost:
            return self.model(x)
        return torch.cat([x.clone(), self.model(x)], 1)


class NLayerDiscriminator(nn.Module):
    def __init__(self, input_nc, ndf=6):
        super(NLayerDiscriminator, self).__init__()
        sequence = [nn.Conv2d(input_nc, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        sequence += [nn.Conv2d(ndf, 1, kernel_size=4, stride=1, padding=1)]
        self.model = nn.Sequential(*sequence)

    def forward(self, input):
        return self.model(input)


class GANLoss(nn.Module):
    def __init__(self, target_real_label=1.0, target_fake_label=0.0):
        super(GANLoss, self).__init__()
        self.register_buffer("real_label", torch.tensor(target_real_label))
        self.register_buffer("fake_label", torch.tensor(target_fake_label))
        self.loss = nn.MSELoss()

    def __call__(self, prediction, target_is_real):
        target_tensor = self.real_label if target_is_real else self.fake_label
        return self.loss(prediction, target_tensor.expand_as(prediction))


class ImagePool:
    def __init__(self, pool_size):
        self.pool_size = pool_size
        self.images = []

    def query(self, images):
        return_images = []
        for image in images:
            image = torch.unsqueeze(image.data, 0)
            if len(self.images) < self.pool_size:
                self.images.append(image)
                return_images.append(image)
            else:
                tmp = self.images[0].clone()
                self.images[0] = image
                return_images.append(tmp)
        return torch.cat(return_images, 0)


def set_requires_grad(nets, requires_grad=False):
    if not isinstance(nets, list):
        nets = [nets]
    for net in nets:
        if net is not None:
            for param in net.parameters():
                param.requires_grad = requires_grad


def run(given):
    norm = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    block = UnetSkipConnectionBlock(8, 8, innermost=True)
    block = UnetSkipConnectionBlock(6, 8, submodule=block, norm_layer=norm)
    netG = given.weights(UnetSkipConnectionBlock(3, 6, submodule=block, outermost=True), "G")
    netD = given.weights(NLayerDiscriminator(6), "D")
    criterionGAN, criterionL1 = GANLoss(), torch.nn.L1Loss()
    optimizer_G = torch.optim.Adam(
        itertools.chain(netG.parameters()), lr=2e-4, betas=(0.5, 0.999), eps=1e-4
    )
    optimizer_D = torch.optim.Adam(netD.parameters(), lr=2e-4, betas=(0.5, 0.999), eps=1e-4)
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: 1.0 - max(0, epoch - 4) / 8.0)
        for o in (optimizer_G, optimizer_D)
    ]
    pool = ImagePool(2)
    real_A, real_B = given.rand(2, 3, 16, 16) * 2 - 1, given.rand(2, 3, 16, 16) * 2 - 1
    log = []
    for step in range(10):
        fake_B = netG(real_A)
        # update D
        set_requires_grad(netD, True)
        optimizer_D.zero_grad()
        fake_AB = pool.query(torch.cat((real_A, fake_B), 1))
        loss_D_fake = criterionGAN(netD(fake_AB.detach()), False)
        loss_D_real = criterionGAN(netD(torch.cat((real_A, real_B), 1)), True)
        loss_D = (loss_D_fake + loss_D_real) * 0.5
        loss_D.backward()
        optimizer_D.step()
        # update G; D requires no gradients when optimizing G
        set_requires_grad(netD, False)
        optimizer_G.zero_grad()
        loss_G_GAN = criterionGAN(netD(torch.cat((real_A, fake_B), 1)), True)
        loss_G_L1 = criterionL1(fake_B, real_B) * 10.0
        (loss_G_GAN + loss_G_L1).backward()
        optimizer_G.step()
        for scheduler in schedulers:
            scheduler.step()
        log.append([loss_D.item(), loss_G_GAN.item(), loss_G_L1.item()])
    given.record("log", log)
    given.record("fake", fake_B)
    given.record("rate", optimizer_G.param_groups[0]["lr"])
