"""HIPS autograd. It has no layers or losses: they are built here from its NumPy."""

from __future__ import annotations

from typing import Any

from .task import LEARNING_RATE, MOMENTUM, PLAIN, Calls, Chain, Task, chain_values, repeated

VARIANTS = ("",)
KINDS = PLAIN


def build(task: Task) -> Calls:
    """Return the calls of a task."""
    import autograd
    import autograd.numpy as anp
    import numpy as np
    from autograd.scipy.signal import convolve

    parameters = [weight.copy() for weight in task.weights]
    velocities = [np.zeros_like(weight) for weight in task.weights]
    rows = np.arange(len(task.targets))

    def logits(weights: Any) -> Any:
        x: Any = task.images
        unused = iter(weights)
        for layer in task.layers:
            match layer:
                case ["Conv2d", _, _, _, {"padding": int(padding), **others}] if not others:
                    w, b = next(unused), next(unused)
                    border = (padding, padding)
                    x = anp.pad(x, ((0, 0), (0, 0), border, border), mode="constant")
                    flipped = w[:, :, ::-1, ::-1]  # a convolution flips; networks correlate
                    x = convolve(x, flipped, axes=([2, 3], [2, 3]), dot_axes=([1], [1]),
                                 mode="valid")  # fmt: skip
                    x = x + anp.reshape(b, (1, -1, 1, 1))
                case ["Linear", _, _]:
                    w, b = next(unused), next(unused)
                    x = anp.dot(x, w.T) + b
                case ["MaxPool2d", size]:  # non-overlapping windows
                    N, C, H, W = x.shape
                    x = anp.reshape(x, (N, C, H // size, size, W // size, size))
                    x = anp.max(x, axis=(3, 5))
                case ["Flatten"]:
                    x = anp.reshape(x, (len(x), -1))
                case ["ReLU"]:
                    x = anp.maximum(x, np.float32(0))
                case _:
                    raise ValueError(f"no layer {layer}")
        return x

    def cross_entropy(weights: Any) -> Any:
        z = logits(weights)
        z = z - anp.max(z, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[rows, task.targets])

    value_and_gradients = autograd.value_and_grad(cross_entropy)

    def step() -> Any:
        loss, gradients = value_and_gradients(parameters)
        for p, v, g in zip(parameters, velocities, gradients, strict=True):
            v *= MOMENTUM
            v += g
            p -= LEARNING_RATE * v
        return loss

    return Calls(step, lambda: logits(parameters), sum(p.size for p in parameters))


def chain() -> Chain:
    """Return the chain of small ops."""
    import autograd.numpy as anp
    import numpy as np
    from autograd import make_vjp

    x0, w0, b0 = chain_values()
    ones = np.ones_like(x0)

    recorded = make_vjp(lambda weights: repeated(anp.tanh, x0, *weights))
    return Chain(lambda: recorded((w0, b0)), lambda made: made[0](ones))
