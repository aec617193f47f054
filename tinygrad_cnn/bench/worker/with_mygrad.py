"""MyGrad. It has no modules and no momentum: both are a few lines of NumPy here."""

from __future__ import annotations

from typing import Any

from .task import LEARNING_RATE, MOMENTUM, PLAIN, Calls, Chain, Task, chain_values, repeated

VARIANTS = ("",)
KINDS = PLAIN


def build(task: Task) -> Calls:
    """Return the calls of a task."""
    import mygrad
    import numpy as np
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    mygrad.turn_memory_guarding_off()  # as its docs advise for speed
    parameters = [mygrad.tensor(weight) for weight in task.weights]
    velocities = [np.zeros_like(weight) for weight in task.weights]

    def logits() -> Any:
        x: Any = task.images
        unused = iter(parameters)
        for layer in task.layers:
            match layer:
                case ["Conv2d", _, _, _, {"padding": int(padding), **others}] if not others:
                    w, b = next(unused), next(unused)
                    x = conv_nd(x, w, stride=1, padding=padding) + b.reshape(1, -1, 1, 1)
                case ["Linear", _, _]:
                    w, b = next(unused), next(unused)
                    x = mygrad.matmul(x, w.T) + b
                case ["MaxPool2d", size]:
                    x = max_pool(x, (size, size), size)
                case ["Flatten"]:
                    x = x.reshape(len(x), -1)
                case ["ReLU"]:
                    x = relu(x)
                case _:
                    raise ValueError(f"no layer {layer}")
        return x

    def step() -> Any:
        loss = softmax_crossentropy(logits(), task.targets)
        loss.backward()
        for p, v in zip(parameters, velocities, strict=True):
            v *= MOMENTUM
            v += p.grad
            p.data[...] -= LEARNING_RATE * v
            p.null_grad()
        return loss.item()

    def infer() -> Any:
        with mygrad.no_autodiff:
            return logits()

    return Calls(step, infer, sum(p.size for p in parameters))


def chain() -> Chain:
    """Return the chain of small ops."""
    import mygrad

    mygrad.turn_memory_guarding_off()
    x0, w0, b0 = chain_values()
    w, b = mygrad.tensor(w0), mygrad.tensor(b0)

    def backward(y: Any) -> Any:
        y.backward()
        return w.grad, b.grad

    return Chain(lambda: repeated(mygrad.tanh, x0, w, b), backward)
