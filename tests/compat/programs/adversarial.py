"""Adversarial examples: FGSM, PGD, and adversarial training."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, stride=2)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(x.view(x.shape[0], -1))


# FGSM attack code
def fgsm_attack(image, epsilon, data_grad):
    sign_data_grad = data_grad.sign()
    perturbed_image = image + epsilon * sign_data_grad
    perturbed_image = torch.clamp(perturbed_image, 0, 1)
    return perturbed_image


def pgd_linf(model, X, y, start, epsilon=0.1, alpha=0.02, num_iter=4):
    """Construct PGD adversarial examples on the examples X."""
    delta = torch.zeros_like(X, requires_grad=True)
    delta.data = start.clone() * 2 * epsilon - epsilon
    for t in range(num_iter):
        loss = nn.CrossEntropyLoss()(model(X + delta), y)
        loss.backward()
        delta.data = (delta + alpha * delta.grad.detach().sign()).clamp(-epsilon, epsilon)
        delta.data = (X + delta.data).clamp(0, 1) - X
        delta.grad.zero_()
    return delta.detach()


def pgd_l2(model, X, y, epsilon=1.0, alpha=0.4, num_iter=3):
    x_adv = X.clone().detach()
    for _ in range(num_iter):
        x_adv.requires_grad_(True)
        loss = F.cross_entropy(model(x_adv), y)
        grad = torch.autograd.grad(loss, x_adv)[0]
        norms = grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-12
        x_adv = x_adv.detach() + alpha * grad / norms
        delta = x_adv - X
        size = delta.reshape(len(X), -1).norm(p=2, dim=1)
        factor = torch.min(epsilon / size, torch.ones_like(size))
        x_adv = (X + delta * factor[:, None, None, None]).clamp(min=0, max=1).detach()
    return x_adv


def run(given):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = given.weights(Net().to(device))
    data, target = given.rand(3, 1, 14, 14), given.randint(0, 10, (3,))

    model.eval()
    data.requires_grad = True
    output = model(data)
    init_pred = output.max(1, keepdim=True)[1]
    loss = F.nll_loss(F.log_softmax(output, dim=1), target)
    model.zero_grad()
    loss.backward()
    data_grad = data.grad.data
    perturbed = fgsm_attack(data, 0.1, data_grad)
    final_pred = model(perturbed).max(1, keepdim=True)[1]
    given.record("fgsm", perturbed)
    given.record("predictions", [init_pred, final_pred])

    X = data.detach()
    given.record("pgd l2", pgd_l2(model, X, target))

    opt = torch.optim.SGD(model.parameters(), lr=0.05)
    total_loss, total_err, losses = 0.0, 0.0, []
    for _ in range(10):
        delta = pgd_linf(model, X, target, given.rand(3, 1, 14, 14))
        yp = model(X + delta)
        loss = nn.CrossEntropyLoss()(yp, target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total_err += (yp.max(dim=1)[1] != target).sum().item()
        total_loss += loss.item() * X.shape[0]
        losses.append(loss.item())
    given.record("losses", losses)
    given.record("totals", [total_loss, total_err])
    given.record("delta", delta)
