"""A convolutional net whose parameters are slices of one flat vector."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class WeightsParser:
    """A helper class to index into a parameter vector."""

    def __init__(self):
        self.idxs_and_shapes = {}
        self.N = 0

    def add_weights(self, name, shape):
        start = self.N
        self.N += int(np.prod(shape))
        self.idxs_and_shapes[name] = (slice(start, self.N), shape)

    def get(self, vect, name):
        idxs, shape = self.idxs_and_shapes[name]
        return vect[idxs].reshape(shape)


def make_nn(layers, parser):
    for i, (kind, shape) in enumerate(layers):
        if kind in ("conv", "full"):
            parser.add_weights("w%d" % i, shape)
            parser.add_weights("b%d" % i, (shape[0],) if kind == "conv" else (shape[1],))

    def predictions(W_vect, inputs):
        cur = inputs
        for i, (kind, shape) in enumerate(layers):
            if kind == "conv":
                cur = F.conv2d(cur, parser.get(W_vect, "w%d" % i), parser.get(W_vect, "b%d" % i))
            elif kind == "pool":
                cur = F.max_pool2d(cur, shape)
            elif kind == "tanh":
                cur = torch.tanh(cur)
            else:
                cur = cur.reshape(cur.shape[0], -1)
                cur = torch.addmm(parser.get(W_vect, "b%d" % i), cur, parser.get(W_vect, "w%d" % i))
        return cur - torch.logsumexp(cur, dim=1, keepdim=True)

    def loss(W_vect, X, T, L2_reg=1.0):
        log_prior = -L2_reg * torch.dot(W_vect, W_vect)
        log_lik = torch.sum(predictions(W_vect, X) * T)
        return -log_prior - log_lik

    return predictions, loss


def run(given):
    layers = [("conv", (4, 1, 3, 3)), ("pool", 2), ("tanh", None), ("conv", (6, 4, 2, 2)),
              ("pool", 2), ("tanh", None), ("full", (6 * 2 * 2, 8)), ("tanh", None),
              ("full", (8, 5))]  # fmt: skip
    parser = WeightsParser()
    predictions, loss = make_nn(layers, parser)
    W = (given.randn(parser.N) * 0.1).requires_grad_()
    X = given.randn(4, 1, 12, 12)
    T = torch.eye(5)[given.randint(0, 5, (4,))]
    cur_dir = torch.zeros(parser.N)
    losses = []
    for step in range(10):
        value = loss(W, X, T)
        (grad_W,) = torch.autograd.grad(value, W)
        cur_dir = 0.9 * cur_dir + 0.1 * grad_W
        W = (W - 1e-2 * cur_dir).detach().requires_grad_()
        losses.append(value.item())
    given.record("losses", losses)
    given.record("gradient", grad_W)
    given.record("W", W)
    error = (T.argmax(dim=1) != predictions(W, X).argmax(dim=1)).double().mean()
    given.record("error", error)

    # the directional curvature: a product with the Hessian
    v = given.randn(parser.N)
    (g,) = torch.autograd.grad(loss(W, X, T), W, create_graph=True)
    (hv,) = torch.autograd.grad(g @ v, W)
    given.record("hessian product", hv)

    model = given.weights(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    vector = parameters_to_vector(model.parameters())
    given.record("vector", vector)
    vector_to_parameters(vector.detach() * 0.5, model.parameters())
