"""Layers of a course from scratch: affine, conv, pool, batch norm and dropout as functions."""

import torch
import torch.nn.functional as F


def affine_forward(x, w, b):
    out = x.view(x.shape[0], -1).mm(w) + b
    return out, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.mm(w.t()).view(x.shape)
    dw = x.view(x.shape[0], -1).t().mm(dout)
    db = dout.sum(dim=0)
    return dx, dw, db


def relu_forward(x):
    return x.clamp(min=0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def conv_forward(x, w, b, stride, pad):
    """The convolution by im2col: F.unfold, then a matrix product."""
    N, C, H, W = x.shape
    Fn, _, HH, WW = w.shape
    out_h = 1 + (H + 2 * pad - HH) // stride
    out_w = 1 + (W + 2 * pad - WW) // stride
    cols = F.unfold(x, (HH, WW), padding=pad, stride=stride)
    out = w.view(Fn, -1) @ cols + b.view(1, -1, 1)
    return out.view(N, Fn, out_h, out_w), (x, w, b, cols, stride, pad)


def conv_backward(dout, cache):
    x, w, b, cols, stride, pad = cache
    N, C, H, W = x.shape
    Fn, _, HH, WW = w.shape
    flat = dout.reshape(N, Fn, -1)
    db = flat.sum(dim=(0, 2))
    dw = torch.einsum("nfp,nkp->fk", flat, cols).view(w.shape)
    dcols = torch.matmul(w.view(Fn, -1).t(), flat)
    dx = F.fold(dcols, (H, W), (HH, WW), padding=pad, stride=stride)
    return dx, dw, db


def max_pool_forward(x, size):
    N, C, H, W = x.shape
    windows = x.view(N, C, H // size, size, W // size, size)
    out = windows.permute(0, 1, 2, 4, 3, 5).reshape(N, C, H // size, W // size, -1).max(dim=-1)[0]
    return out, (x, out, size)


def max_pool_backward(dout, cache):
    x, out, size = cache
    up = out.repeat_interleave(size, dim=2).repeat_interleave(size, dim=3)
    mask = (x == up).to(x.dtype)
    return mask * dout.repeat_interleave(size, dim=2).repeat_interleave(size, dim=3)


def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    D = x.shape[1]
    running_mean = bn_param.get("running_mean", torch.zeros(D, dtype=x.dtype))
    running_var = bn_param.get("running_var", torch.zeros(D, dtype=x.dtype))
    if mode == "train":
        mu, var = x.mean(dim=0), x.var(dim=0, unbiased=False)
        running_mean = momentum * running_mean + (1 - momentum) * mu
        running_var = momentum * running_var + (1 - momentum) * var
        std = (var + eps).sqrt()
        x_hat = (x - mu) / std
        cache = (x_hat, gamma, std)
    elif mode == "test":
        x_hat, cache = (x - running_mean) / (running_var + eps).sqrt(), None
    else:
        raise ValueError('Invalid forward batchnorm mode "%s"' % mode)
    bn_param["running_mean"] = running_mean
    bn_param["running_var"] = running_var
    return gamma * x_hat + beta, cache


def batchnorm_backward(dout, cache):
    x_hat, gamma, std = cache
    N = dout.shape[0]
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    dx = gamma / (N * std) * (N * dout - dbeta - x_hat * dgamma)
    return dx, dgamma, dbeta


def softmax_loss(x, y):
    N = x.shape[0]
    shifted = x - x.max(dim=1, keepdim=True).values
    log_probs = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    loss = -log_probs[torch.arange(N), y].sum() / N
    dx = log_probs.exp()
    dx[torch.arange(N), y] -= 1
    return loss, dx / N


def svm_loss(x, y):
    N = x.shape[0]
    correct = x[torch.arange(N), y]
    margins = (x - correct[:, None] + 1.0).clamp(min=0.0)
    margins[torch.arange(N), y] = 0.0
    loss = margins.sum() / N
    dx = torch.zeros_like(x)
    dx[margins > 0] = 1
    dx[torch.arange(N), y] -= (margins > 0).sum(dim=1).to(x.dtype)
    return loss, dx / N


def run(given):
    x, y = given.randn(3, 2, 8, 8), given.randint(0, 4, (3,))
    w1, b1 = given.randn(5, 2, 3, 3) * 0.3, given.randn(5) * 0.1
    w2, b2 = given.randn(80, 6) * 0.1, given.randn(6) * 0.1
    gamma, beta = given.randn(6), given.randn(6)
    w3, b3 = given.randn(6, 4), given.randn(4)
    values = [x, w1, b1, w2, b2, gamma, beta, w3, b3]
    names = ["x", "w1", "b1", "w2", "b2", "gamma", "beta", "w3", "b3"]

    def forward(x, w1, b1, w2, b2, gamma, beta, w3, b3):
        caches = []
        h, c = conv_forward(x, w1, b1, stride=1, pad=1)
        caches.append(c)
        h, c = relu_forward(h)
        caches.append(c)
        h, c = max_pool_forward(h, 2)
        caches.append(c)
        h, c = affine_forward(h, w2, b2)
        caches.append(c)
        h, c = batchnorm_forward(h, gamma, beta, bn_param)
        caches.append(c)
        h, c = relu_forward(h)
        caches.append(c)
        h, c = affine_forward(h, w3, b3)
        caches.append(c)
        return h, caches

    bn_param = {"mode": "train"}
    with torch.no_grad():
        scores, caches = forward(*values)
        loss, d = softmax_loss(scores, y)
        d, dw3, db3 = affine_backward(d, caches.pop())
        d = relu_backward(d, caches.pop())
        d, dgamma, dbeta = batchnorm_backward(d, caches.pop())
        d, dw2, db2 = affine_backward(d, caches.pop())
        d = max_pool_backward(d.view(3, 5, 4, 4), caches.pop())
        d = relu_backward(d, caches.pop())
        dx, dw1, db1 = conv_backward(d, caches.pop())
    by_hand = [dx, dw1, db1, dw2, db2, dgamma, dbeta, dw3, db3]
    given.record("running mean", bn_param["running_mean"])

    leaves = [v.clone().requires_grad_() for v in values]
    scores, _ = forward(*leaves)
    loss = F.cross_entropy(scores, y)
    loss.backward()
    given.record("loss", loss)
    for name, leaf, grad in zip(names, leaves, by_hand):
        assert torch.allclose(leaf.grad, grad, atol=1e-10), name
        given.record("d" + name, leaf.grad)
        given.record("by hand d" + name, grad)
    bn_param["mode"] = "test"
    with torch.no_grad():
        given.record("tested", forward(*values)[0])
    loss, grad = svm_loss(scores.detach(), y)
    given.record("svm", loss)
    given.record("svm gradient", grad)
