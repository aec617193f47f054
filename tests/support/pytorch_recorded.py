"""Record what PyTorch computes, for `test_pytorch.py`: run this file where PyTorch is installed.

It imports nothing of the package.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parents[1] / "pytorch.npz"
SIGNATURES = [
    "nn.CosineEmbeddingLoss", "nn.TripletMarginLoss",
    "nn.BatchNorm1d", "nn.Dropout1d", "nn.Dropout2d", "nn.Embedding", "nn.InstanceNorm2d",
    "nn.LayerNorm", "nn.LocalResponseNorm",
    "nn.AdaptiveAvgPool1d", "nn.AdaptiveAvgPool2d", "nn.AdaptiveMaxPool1d", "nn.AdaptiveMaxPool2d",
    "nn.AvgPool1d", "nn.Conv1d", "nn.ConvTranspose1d", "nn.MaxPool1d", "nn.PixelShuffle",
    "nn.CircularPad2d", "nn.Fold", "nn.Unfold", "nn.PixelUnshuffle",
    "nn.ReflectionPad2d", "nn.ReplicationPad2d",
    "nn.Upsample", "nn.ZeroPad2d",
    "nn.AvgPool2d", "nn.BatchNorm2d", "nn.Conv2d", "nn.ConvTranspose2d", "nn.Dropout",
    "nn.Flatten", "nn.GELU", "nn.GroupNorm", "nn.LeakyReLU", "nn.Linear", "nn.MaxPool2d",
    "nn.ReLU", "nn.Sigmoid",
    "nn.CELU", "nn.ELU", "nn.Hardsigmoid", "nn.Hardswish", "nn.Hardtanh",
    "nn.LogSoftmax", "nn.Mish", "nn.PReLU", "nn.ReLU6", "nn.SELU", "nn.SiLU", "nn.Softplus",
    "nn.BCELoss", "nn.BCEWithLogitsLoss", "nn.CrossEntropyLoss", "nn.HuberLoss", "nn.KLDivLoss",
    "nn.L1Loss", "nn.MSELoss", "nn.NLLLoss", "nn.SmoothL1Loss",
    "nn.Softmax", "nn.Tanh", "optim.SGD", "optim.Adam", "optim.AdamW", "optim.RMSprop",
    "optim.lr_scheduler.StepLR", "optim.lr_scheduler.CosineAnnealingLR",
    "optim.lr_scheduler.OneCycleLR", "optim.lr_scheduler.ReduceLROnPlateau", "optim.Adagrad",
    "optim.Adadelta", "optim.LBFGS", "optim.lr_scheduler.MultiStepLR",
    "optim.lr_scheduler.ExponentialLR", "optim.lr_scheduler.LinearLR",
    "optim.lr_scheduler.CosineAnnealingWarmRestarts", "optim.lr_scheduler.LambdaLR",
    "optim.lr_scheduler.SequentialLR", "optim.lr_scheduler.ChainedScheduler",
    "nn.utils.clip_grad_norm_", "nn.utils.clip_grad_value_", "nn.Module.load_state_dict",
    "nn.Module.train", "nn.Module.requires_grad_",
]  # fmt: skip
NAMESPACES = [
    "nn", "nn.utils", "nn.init", "nn.Module", "optim", "optim.lr_scheduler", "optim.Optimizer",
    "optim.swa_utils",
]  # fmt: skip
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("SGD", {"lr": 0.1}),
    "dampened": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.1}),
    "adagrad": (
        "Adagrad",
        {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2},
    ),
    "adadelta": ("Adadelta", {"rho": 0.8, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"alpha": 0.9, "momentum": 0.5, "weight_decay": 0.1}),
}
SCHEDULES: dict[str, tuple[str, dict[str, Any], int]] = {
    "step": ("StepLR", {"step_size": 3}, 10),
    "cosine": ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}, 12),
    "milestones": ("MultiStepLR", {"milestones": [2, 3, 3, 7]}, 10),
    "exponential": ("ExponentialLR", {"gamma": 0.7}, 10),
    "warm-up": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 6}, 9),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 3, "eta_min": 0.01}, 20),
    "rise": ("OneCycleLR", {"max_lr": 2.0, "total_steps": 9, "pct_start": 1.0}, 8),
    "cycle": ("OneCycleLR", {"max_lr": 2.0, "epochs": 8, "steps_per_epoch": 50}, 399),
    "lines": (
        "OneCycleLR",
        {"max_lr": 2.0, "total_steps": 400, "anneal_strategy": "linear"},
        399,
    ),
    "plateau": (
        "ReduceLROnPlateau",
        {"factor": 0.5, "patience": 0, "threshold": 0.1, "cooldown": 2, "min_lr": 0.003},
        20,
    ),
    "plateau-max": (
        "ReduceLROnPlateau",
        {"mode": "max", "factor": 0.5, "patience": 0, "threshold": 0.5, "threshold_mode": "abs"},
        20,
    ),
}


def filled(layer: Any) -> Any:
    """Return a layer of PyTorch or ours with parameters 0, 1/8, 2/8, ..."""
    for parameter in layer.parameters():
        for k, index in enumerate(np.ndindex(*parameter.shape)):
            parameter.data[index] = k / 8
    return layer


COMPUTED: dict[str, Callable[[Any], Any]] = {
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(6, 0.1, affine=False),
    "BatchNorm2d-untracked": lambda nn: nn.BatchNorm2d(6, track_running_stats=False).eval(),
    "BatchNorm2d-eval": lambda nn: nn.BatchNorm2d(6, affine=False).eval(),
    "InstanceNorm2d": lambda nn: nn.InstanceNorm2d(6),
    "LayerNorm": lambda nn: nn.LayerNorm((4, 2)),
    "LayerNorm-1": lambda nn: nn.LayerNorm(2, 0.1, elementwise_affine=False),
    "LocalResponseNorm": lambda nn: nn.LocalResponseNorm(4, 0.5, 0.6, 2.0),
    "AdaptiveAvgPool2d": lambda nn: nn.AdaptiveAvgPool2d((3, 2)),
    "AdaptiveAvgPool2d-large": lambda nn: nn.AdaptiveAvgPool2d((7, None)),
    "AdaptiveMaxPool2d": lambda nn: nn.AdaptiveMaxPool2d((3, 2)),
    "MaxPool2d": lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "Conv2d-reflect": lambda nn: filled(nn.Conv2d(6, 2, 3, 2, 1, padding_mode="reflect")),
    "Conv2d-replicate": lambda nn: filled(nn.Conv2d(6, 2, 2, 1, "same", padding_mode="replicate")),
    "Conv2d-circular": lambda nn: filled(nn.Conv2d(6, 2, 3, 1, (2, 1), padding_mode="circular")),
    "Conv1d-circular": lambda nn: nn.Sequential(
        nn.Flatten(2), filled(nn.Conv1d(6, 2, 3, 2, 1, padding_mode="circular"))
    ),
    "Unfold": lambda nn: nn.Unfold((3, 2), (1, 2), (1, 2), 2),
    "Fold": lambda nn: nn.Sequential(
        nn.Unfold((2, 1), 2, 1), nn.Fold((5, 7), (2, 1), 1, 0, (1, 2))
    ),
    "ReflectionPad2d": lambda nn: nn.ReflectionPad2d((1, 0, 2, 1)),
    "PixelShuffle": lambda nn: nn.Sequential(
        nn.AdaptiveAvgPool2d(2), nn.PixelUnshuffle(2), nn.PixelShuffle(2)
    ),
    "Upsample": lambda nn: nn.Upsample(scale_factor=(1.75, 2.0)),
    "Upsample-exact": lambda nn: nn.Upsample((7, 5), mode="nearest-exact"),
    "Upsample-bilinear": lambda nn: nn.Upsample(scale_factor=(1.7, 2.5), mode="bilinear"),
    "Upsample-bilinear-corners": lambda nn: nn.Upsample((3, 5), None, "bilinear", True),
    "Upsample-bicubic": lambda nn: nn.Upsample((3, 5), mode="bicubic"),
    "Upsample-bicubic-corners": lambda nn: nn.Upsample((7, 1), None, "bicubic", True),
    "Upsample-area": lambda nn: nn.Upsample((3, 4), mode="area"),
    "GELU": lambda nn: nn.GELU(),
    "GELU-tanh": lambda nn: nn.GELU("tanh"),
    "CELU": lambda nn: nn.CELU(0.5),
    "ELU": lambda nn: nn.ELU(0.5),
    "Hardswish": lambda nn: nn.Hardswish(),
    "Hardtanh": lambda nn: nn.Hardtanh(-0.5, 1.0),
    "LogSigmoid": lambda nn: nn.LogSigmoid(),
    "LogSoftmax": lambda nn: nn.LogSoftmax(1),
    "Mish": lambda nn: nn.Mish(),
    "PReLU": lambda nn: nn.PReLU(6, 0.5),
    "ReLU6": lambda nn: nn.ReLU6(),
    "SELU": lambda nn: nn.SELU(),
    "SiLU": lambda nn: nn.SiLU(),
    "Softplus": lambda nn: nn.Softplus(2.0, 3.0),
    "Softsign": lambda nn: nn.Softsign(),
    "Tanhshrink": lambda nn: nn.Tanhshrink(),
    "GroupNorm": lambda nn: nn.GroupNorm(2, 6),
    "GroupNorm-1": lambda nn: nn.GroupNorm(1, 6, 0.1, affine=False),
}
"""Layers of PyTorch's `nn` or ours, whose result and first two derivatives are recorded."""
LOSSES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "CrossEntropy": (lambda nn, t: nn.CrossEntropyLoss(), "labels"),
    "CrossEntropy-weight": (lambda nn, t: nn.CrossEntropyLoss(t(WEIGHT)), "labels"),
    "CrossEntropy-ignore": (
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHT), ignore_index=1, label_smoothing=0.2), "labels"
    ),
    "CrossEntropy-sum": (
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHT), reduction="sum", label_smoothing=0.2),
        "labels",
    ),
    "CrossEntropy-images": (
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHT), ignore_index=2, reduction="none"), "images"
    ),
    "CrossEntropy-images-mean": (
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHT), ignore_index=2), "images"
    ),
    "CrossEntropy-rows": (
        lambda nn, t: nn.CrossEntropyLoss(t(WEIGHT), label_smoothing=0.2), "rows"
    ),
    "NLL": (lambda nn, t: nn.NLLLoss(), "labels"),
    "NLL-images": (lambda nn, t: nn.NLLLoss(t(WEIGHT), ignore_index=2), "images"),
    "BCE": (lambda nn, t: nn.BCELoss(), "probabilities"),
    "BCE-weight": (lambda nn, t: nn.BCELoss(t(WEIGHT), reduction="none"), "probabilities"),
    "BCE-saturated": (lambda nn, t: nn.BCELoss(reduction="none"), "saturated"),
    "BCEWithLogits": (lambda nn, t: nn.BCEWithLogitsLoss(), "rows"),
    "BCEWithLogits-weights": (
        lambda nn, t: nn.BCEWithLogitsLoss(t(WEIGHT), reduction="sum", pos_weight=t(WEIGHT[::-1])),
        "rows",
    ),
    "BCEWithLogits-extreme": (lambda nn, t: nn.BCEWithLogitsLoss(reduction="none"), "extreme"),
    "TripletMargin": (lambda nn, t: nn.TripletMarginLoss(), "triplets"),
    "TripletMargin-1": (
        lambda nn, t: nn.TripletMarginLoss(0.5, 1.0, swap=True, reduction="none"), "triplets"
    ),
    "CosineEmbedding": (lambda nn, t: nn.CosineEmbeddingLoss(), "signs"),
    "CosineEmbedding-margin": (
        lambda nn, t: nn.CosineEmbeddingLoss(0.5, reduction="none"), "signs"
    ),
    "MSE": (lambda nn, t: nn.MSELoss(), "pairs"),
    "L1": (lambda nn, t: nn.L1Loss(reduction="none"), "pairs"),
    "SmoothL1": (lambda nn, t: nn.SmoothL1Loss(beta=0.5), "pairs"),
    "SmoothL1-0": (lambda nn, t: nn.SmoothL1Loss(reduction="sum", beta=0.0), "pairs"),
    "Huber": (lambda nn, t: nn.HuberLoss("none", 0.5), "pairs"),
    "KLDiv": (lambda nn, t: nn.KLDivLoss(reduction="batchmean"), "rows"),
    "KLDiv-mean": (lambda nn, t: nn.KLDivLoss(), "rows"),
    "KLDiv-log": (lambda nn, t: nn.KLDivLoss(reduction="sum", log_target=True), "pairs"),
}  # fmt: skip
"""Losses of PyTorch's `nn` or ours; `t` makes a tensor of the other arguments of `examples`."""
WEIGHT = [0.5, 2.0, 1.5]
GROUPS: dict[str, Callable[[Any, Any], Any]] = {
    "step": lambda module, o: module.StepLR(o, 2),
    "lambda": lambda module, o: module.LambdaLR(o, lambda t: 1 / (1 + t)),
    "cosine": lambda module, o: module.CosineAnnealingLR(o, 7, 0.01),
    "one after another": lambda module, o: module.SequentialLR(
        o, [module.LinearLR(o, 0.25, total_iters=3), module.StepLR(o, 2, 0.5)], [3]
    ),
    "all at once": lambda module, o: module.ChainedScheduler(
        [module.LinearLR(o, 0.25, total_iters=3), module.ExponentialLR(o, 0.9)]
    ),
}
"""Schedules of an optimizer with two parameter groups."""
SEARCHES: dict[str, dict[str, Any]] = {
    "fixed": {"lr": 0.01, "max_iter": 7, "history_size": 4},
    "wolfe": {"line_search_fn": "strong_wolfe", "max_iter": 9},
    "short": {"line_search_fn": "strong_wolfe", "lr": 0.001, "max_iter": 3, "history_size": 2},
}
"""Options of L-BFGS."""
"""Layers of PyTorch's `nn` or ours, whose result and first two derivatives are recorded, for x³."""
SAMPLED = {
    f"{mode}-{border}-{'corners' if corners else 'edges'}": (mode, border, corners)
    for mode in ("bilinear", "nearest")
    for border in ("zeros", "border", "reflection")
    for corners in (True, False)
}
"""Options of `grid_sample`, whose result and gradients are recorded, of an `affine_grid`."""
METRICS = [9, 8, 7.5, 7.3, 7.3, 6, 6, 6, 6, 6, 6, 5.9, 5.2, 5.1, 5.1, 5.1, 5.1, 5.1, 9, 1]


def layers(nn: Any) -> list[Any]:
    """Return the layers of a network; `nn` is PyTorch's or ours."""
    return [
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(4), nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(4, 2, 3, stride=2, output_padding=1), nn.MaxPool2d(2, padding=1),
        nn.BatchNorm2d(2, momentum=None), nn.AvgPool2d(2, 1), nn.Tanh(), nn.Dropout(0.0),
        nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
        nn.Flatten(), nn.Linear(72, 3), nn.BatchNorm1d(3),
    ]  # fmt: skip


def rates(module: Any, optimizer: Any, name: str) -> list[tuple[float, float]]:
    """Return learning rate and momentum before and after each step of a schedule."""
    kind, options, steps = SCHEDULES[name]
    schedule = getattr(module, kind)(optimizer, **options)
    seen = [state(optimizer)]
    for t in range(steps):
        schedule.step(*([METRICS[t]] if "Plateau" in kind else []))
        seen.append(state(optimizer))
    return seen


def state(optimizer: Any) -> tuple[float, float]:
    group = getattr(optimizer, "param_groups", [vars(optimizer)])[0]
    return group["lr"], group["momentum"] if "momentum" in group else group["betas"][0]


def path(optimizer: Any, p: Any, gradients: Sequence[Any], values: Callable[[], Any]) -> Any:
    """Return the values of a parameter after each step."""
    seen = []
    for p.grad in gradients:
        optimizer.step()
        seen.append(values())
    return np.array(seen)


def problem() -> tuple[Any, Any]:
    """Return initial values and five gradients."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 3)), rng.normal(size=(5, 2, 3))


def two_groups(optim: Any, parameter: Callable[[Any], Any]) -> Any:
    """Return SGD with two parameter groups, and its parameters."""
    start, _ = problem()
    weights, biases = parameter(start), parameter(start[0])
    groups = [{"params": [weights], "weight_decay": 0.2}, {"params": [biases], "lr": 0.02}]
    return optim.SGD(groups, lr=0.1, momentum=0.9), [weights, biases]


def rates_of_groups(schedule: Any) -> list[list[float]]:
    seen = [schedule.get_last_lr()]
    for _ in range(9):
        schedule.step()
        seen.append(schedule.get_last_lr())
    return seen


def descent(optimizer: Any, x: Any, value: Callable[[Any], float]) -> Any:
    """Return Rosenbrock's function along the steps of L-BFGS, and where it ended."""

    def closure() -> Any:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = (10.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
        loss.backward()
        return loss

    calls = 0
    losses = [optimizer.step(closure).item() for _ in range(6)]
    return [*losses, *map(float, value(x)), calls]


def images() -> tuple[Any, Any]:
    """Return an input of the layers in `COMPUTED`, and the gradient that flows in."""
    x, g = np.random.default_rng(1).normal(size=(2, 3, 6, 4, 2))
    return 2.0 * x, g


def examples(kind: str) -> tuple[Any, ...]:
    """Return a prediction, to differentiate losses by, and their other arguments."""
    rng = np.random.default_rng(2)
    x = 2.0 * rng.normal(size=(4, 3))
    images = 2.0 * rng.normal(size=(2, 3, 2, 2))
    rows = rng.dirichlet(np.ones(3), 4)
    rows[0] = [0.0, 1.0, 0.0]
    return {
        "labels": (x, np.array([2, 0, 1, 1])),
        "images": (images, np.array([[[0, 2], [1, 1]], [[2, 0], [0, 1]]])),
        "rows": (x, rows),
        "pairs": (x, np.where(rows == 0, x, rows)),  # with equal entries
        "probabilities": (1.0 / (1.0 + np.exp(-x)), rows),
        "triplets": (x, x[::-1] + 0.1, rng.normal(size=(4, 3))),
        "signs": (x, x + rng.normal(size=(4, 3)), np.array([1, -1, 1, -1])),
        "saturated": (np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])),
        "extreme": (np.array([-1e4, -1e4, 1e4, 1e4]), np.array([0.0, 1.0, 0.0, 1.0])),
    }[kind]


def maps() -> Any:
    """Return affine maps; the identity, which keeps the pixels, is among them."""
    return np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.9, 1.1, 0.3], [-1.3, 0.4, 0.2]],
                     [[-2.7, 0.3, 0.1], [0.2, 1.8, -0.43]]])  # fmt: skip


def record() -> None:
    """Write the file."""
    import torch

    def found(name: str) -> Any:
        value: Any = torch
        for part in name.split("."):
            value = getattr(value, part)
        return value

    torch.manual_seed(0)
    kept: dict[str, Any] = {}
    signatures = {
        name: [
            [p.name, p.kind.name, None if p.default is p.empty else p.default]
            for p in inspect.signature(found(name)).parameters.values()
        ]
        for name in SIGNATURES
    }
    kept["signatures"] = json.dumps(signatures)
    kept["names"] = json.dumps({name: dir(found(name)) for name in NAMESPACES})
    kept["version"] = torch.__version__

    model = torch.nn.Sequential(*layers(torch.nn))
    x = torch.randn(3, 2, 10, 10)
    kept["x"] = x.numpy()
    for when in ("before", "after"):
        arrays = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        kept |= {f"{when}/{name}": array for name, array in arrays.items()}
        if when == "before":
            for _ in range(2):
                kept["trained"] = model(x).detach().numpy()
    kept["evaluated"] = model.eval()(x).detach().numpy()

    values, g = images()
    for name, make in COMPUTED.items():
        leaf = torch.tensor(values, requires_grad=True)
        y = make(torch.nn).double()(leaf**3)
        flow, back = torch.tensor(np.resize(g, y.shape)), torch.tensor(g)
        (first,) = torch.autograd.grad(y, leaf, flow, create_graph=True)
        (second,) = torch.autograd.grad(first, leaf, back)
        for part, tensor in (("y", y), ("first", first), ("second", second)):
            kept[f"{part}/{name}"] = tensor.detach().numpy()

    for name, (make, kind) in LOSSES.items():
        x, *others = (torch.tensor(array) for array in examples(kind))
        leaf = x.clone().requires_grad_()
        loss = make(torch.nn, lambda value: torch.tensor(value, dtype=torch.float64))(leaf, *others)
        (first,) = torch.autograd.grad(loss.sum(), leaf)
        kept[f"loss/{name}"], kept[f"slope/{name}"] = loss.detach().numpy(), first.numpy()

    for name, options in SAMPLED.items():
        leaf = torch.tensor(values, requires_grad=True)
        theta = torch.tensor(maps(), requires_grad=True)
        grid = torch.nn.functional.affine_grid(theta, values.shape, options[2])
        y = torch.nn.functional.grid_sample(leaf, grid, *options)
        found = (y, *torch.autograd.grad(y, [leaf, theta], torch.tensor(g)))
        kept[f"sampled/{name}"] = np.concatenate([part.detach().numpy().ravel() for part in found])

    start, gradients = problem()
    for name, (kind, options) in OPTIMIZERS.items():
        p = torch.nn.Parameter(torch.tensor(start))
        optimizer = getattr(torch.optim, kind)([p], **options)
        steps = [torch.tensor(g) for g in gradients]
        kept[f"path/{name}"] = path(optimizer, p, steps, lambda p=p: p.detach().numpy().copy())
    for name in SCHEDULES:
        for kind in ("SGD", "Adam"):
            optimizer = getattr(torch.optim, kind)([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
            kept[f"rates/{name}/{kind}"] = rates(torch.optim.lr_scheduler, optimizer, name)

    def parameter(value: Any) -> Any:
        return torch.nn.Parameter(torch.tensor(value))

    optimizer, parameters = two_groups(torch.optim, parameter)
    for i, p in enumerate(parameters):
        p.grad = torch.tensor(gradients[i] if i == 0 else gradients[i][0])
    for _ in range(3):
        optimizer.step()
    kept["groups"] = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    for name, make in GROUPS.items():
        schedule = make(torch.optim.lr_scheduler, two_groups(torch.optim, parameter)[0])
        kept[f"group rates/{name}"] = rates_of_groups(schedule)
    for name, options in SEARCHES.items():
        x = parameter(np.array([-1.2, 1.0, 0.7]))
        kept[f"search/{name}"] = descent(
            torch.optim.LBFGS([x], **options), x, lambda x: x.detach().numpy()
        )
    p = torch.nn.Parameter(torch.tensor(start))
    p.grad = torch.tensor(gradients[0])
    kept["norm"] = torch.nn.utils.clip_grad_norm_([p], 0.5).numpy()
    kept["clipped"] = p.grad.numpy().copy()
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    record()
