"""Networks that the studio is to explain, and what their modules gave, seen without a trace."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.train import (
    DataSettings,
    ModelSettings,
    RunSettings,
    TrainedModel,
    TrainingSettings,
)

CLASSES = tuple("0123456789")


def run_of(
    model: nn.Module, name: str = "lenet5", shape: tuple[int, int] = (28, 28)
) -> TrainedModel:
    """Return a model as a training leaves it behind."""
    data = DataSettings(
        source="digits", name="digits", classes=CLASSES, input_shape=(1, *shape), mean=(0.13,),
        std=(0.31,), training_images=1, test_images=1,
    )  # fmt: skip
    settings = RunSettings(data=data, model=ModelSettings(name=name), training=TrainingSettings())
    return TrainedModel(model.eval(), settings)


def built(name: str, **options: Any) -> TrainedModel:
    """Return a model of `nn.MODELS` whose batch norms have seen something."""
    rng = np.random.default_rng(7)
    model = nn.build(name, input_shape=(1, 28, 28), classes=10, rng=rng, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            state = module.state_dict()
            drawn = {n: rng.uniform(0.3, 2.0, a.shape).astype(a.dtype) for n, a in state.items()}
            module.load_state_dict(drawn)
    return run_of(model, name)


def odd() -> TrainedModel:
    """Return a network of windows as no ready model has them."""
    rng = np.random.default_rng(3)
    model = nn.Sequential(
        nn.Conv2d(1, 4, (3, 5), stride=(2, 1), padding=(2, 0), rng=rng),
        nn.LeakyReLU(),
        nn.Conv2d(4, 6, (3, 2), padding="same", dilation=2, groups=2, bias=False, rng=rng),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        nn.AvgPool2d(2, 1, padding=1, count_include_pad=False),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(6 * 5 * 8, 10, bias="per_connection", rng=rng, bias_init=nn.init.kaiming_uniform),
        nn.Softmax(temperature=2.0),
    )
    return run_of(model)


NETWORKS: dict[str, Callable[[], TrainedModel]] = {
    "lenet5": lambda: built("lenet5"),
    "lenet5, tanh, average": lambda: built("lenet5", activation="tanh", pooling="average"),
    "mlp": lambda: built("mlp", hidden=(12,)),
    "mlp, softmax": lambda: built("mlp", hidden=(8, 6), activation="relu", output="softmax"),
    "mlp, gelu": lambda: built("mlp", hidden=(12,), activation="gelu"),
    "vgg": lambda: built("vgg", widths=(3, 4), hidden=8, batch_norm=True, dropout=0.4),
    "odd": odd,
}


@functools.cache
def network(name: str) -> TrainedModel:
    """Return the network of that name in `NETWORKS`, always the same one."""
    return NETWORKS[name]()


def picture(seed: int, shape: tuple[int, int] = (28, 28)) -> NDArray[np.uint8]:
    """Return strokes on black: half of the pixels are 0."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 256, shape) * rng.integers(0, 2, shape)).astype(np.uint8)


pictures = st.integers(0, 50).map(picture)
temperatures = st.sampled_from([1.0, 0.25, 3.0])


def normalized(run: TrainedModel, image: NDArray[np.uint8], dtype: str = "f4") -> NDArray[Any]:
    """Return a picture as the network takes it, by the settings' own numbers."""
    data = run.settings.data
    scaled = (image / 255.0 - data.mean[0]) / data.std[0]
    return scaled[None, None].astype(dtype)


def outputs(
    run: TrainedModel, image: NDArray[np.uint8]
) -> list[tuple[str, nn.Module, NDArray[Any]]]:
    """Return what each module without modules in it gave, in the order of the calls.

    It is asked itself: its ``forward`` is wrapped, in a copy of the model.
    """
    model = copy.deepcopy(run.model)
    seen: list[tuple[str, nn.Module, NDArray[Any]]] = []

    def watched(name: str, module: nn.Module) -> None:
        own = module.forward

        def forward(x: Any) -> Any:
            y = own(x)
            seen.append((name, module, np.array(y._array[0])))
            return y

        module.forward = forward

    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            watched(name, module)
    with tg.no_grad():
        model(tg.Tensor(normalized(run, image)))
    return seen


def in_float64(run: TrainedModel) -> TrainedModel:
    """Return a copy that computes in float64, made anew and given the same numbers."""
    model = copy.deepcopy(run.model)
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor._array = tensor._array.astype("f8")
    return TrainedModel(model, run.settings)
