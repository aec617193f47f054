"""Deep dream and class visualization: gradient ascent on an image, octaves, jitter by roll."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(3, 6, 3, padding=1, padding_mode="zeros"),
                "conv2": nn.Conv2d(6, 8, 3, stride=2, padding=1),
            }
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, x, until=None):
        for name, layer in self.layers.items():
            x = torch.tanh(layer(x)) if name == "conv1" else F.softplus(layer(x))
            if name == until:
                return x
        return self.fc(x.mean((2, 3)))


def dream(model, image, octaves=3, steps=2, lr=0.1):
    size = torch.tensor(image.shape[-2:])
    for octave in range(octaves):
        new_size = [int(s * 1.5**octave) for s in size.tolist()]
        image = F.interpolate(image, size=new_size, mode="bilinear", align_corners=False)
        image = image.detach().requires_grad_(True)
        for _ in range(steps):
            model.zero_grad()
            loss = model(image, until="conv2").norm()
            loss.backward()
            avg_grad = image.grad.data.abs().mean()
            image.data += lr / avg_grad * image.grad.data
            image.data = image.data.clamp(-2.0, 2.0)
            image.grad.data.zero_()
    return image.detach(), loss.item()


def class_visualization(model, target_y, img, l2_reg=1e-3, learning_rate=25, num_iterations=10):
    img = img.clone().requires_grad_()
    for t in range(num_iterations):
        # Randomly jitter the image a bit; this gives slightly nicer results
        ox, oy = t % 3, (2 * t) % 5
        img.data.copy_(torch.roll(img.data, shifts=(ox, oy), dims=(-2, -1)))
        score = model(img)[0, target_y] - l2_reg * (img * img).sum()
        score.backward()
        with torch.no_grad():
            img += learning_rate * img.grad / img.grad.norm()
            img.grad.zero_()
        # Undo the random jitter
        img.data.copy_(torch.roll(img.data, (-ox, -oy), (-2, -1)))
        # As regularizer, clamp
        for c in range(3):
            img.data[:, c].clamp_(min=-1.5, max=1.5 + 0.1 * c)
    return img


def run(given):
    model = given.weights(Net())
    model.eval()
    for param in model.parameters():
        param.requires_grad = False
    image, loss = dream(model, given.randn(1, 3, 8, 8))
    given.record("dream", image)
    given.record("dream loss", loss)
    seen = class_visualization(model, 3, given.randn(1, 3, 8, 8))
    given.record("class image", seen)
    given.record("scores", model(seen))
