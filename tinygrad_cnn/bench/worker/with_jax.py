"""JAX on the CPU, each step compiled as one function (compilation is not timed)."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .task import LEARNING_RATE, MOMENTUM, PLAIN, Calls, Task

VARIANTS = ("",)
KINDS = PLAIN


def limit_threads(threads: int) -> AbstractContextManager[Any]:
    """Pin the process to as many cores: JAX, not yet imported, has no other limit."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return nullcontext()


def build(task: Task) -> Calls:
    """Return the calls of a task."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    images, labels = jnp.asarray(task.images), jnp.asarray(task.targets)
    parameters = [jnp.asarray(weight) for weight in task.weights]
    state: Any = (parameters, [jnp.zeros_like(p) for p in parameters])

    def logits(weights: Any, x: Any) -> Any:
        unused = iter(weights)
        for layer in task.layers:
            match layer:
                case ["Conv2d", _, _, _, {"padding": int(padding), **others}] if not others:
                    w, b = next(unused), next(unused)
                    x = lax.conv_general_dilated(x, w, (1, 1), [(padding, padding)] * 2)
                    x = x + b.reshape(1, -1, 1, 1)
                case ["Linear", _, _]:
                    w, b = next(unused), next(unused)
                    x = x @ w.T + b
                case ["MaxPool2d", size]:
                    window = (1, 1, size, size)
                    x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
                case ["Flatten"]:
                    x = x.reshape(len(x), -1)
                case ["ReLU"]:
                    x = jax.nn.relu(x)
                case _:
                    raise ValueError(f"no layer {layer}")
        return x

    def cross_entropy(weights: Any) -> Any:
        z = jax.nn.log_softmax(logits(weights, images))
        return -jnp.mean(jnp.take_along_axis(z, labels[:, None], axis=1))

    def update(weights: Any, velocities: Any) -> Any:
        loss, gradients = jax.value_and_grad(cross_entropy)(weights)
        velocities = [MOMENTUM * v + g for v, g in zip(velocities, gradients, strict=True)]
        weights = [p - LEARNING_RATE * v for p, v in zip(weights, velocities, strict=True)]
        return loss, weights, velocities

    compiled_update, compiled_logits = jax.jit(update), jax.jit(logits)

    def step() -> Any:
        nonlocal state
        loss, *state = jax.block_until_ready(compiled_update(*state))
        return loss.item()

    def infer() -> Any:
        return compiled_logits(parameters, images).block_until_ready()

    return Calls(step, infer, sum(p.size for p in parameters))
