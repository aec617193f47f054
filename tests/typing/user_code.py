"""Typical code of a user, which type checkers accept under strict settings: see `test_typing`.

``assert_type`` states the types that an editor shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.check import check_gradients, check_op, strategies
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.train import evaluate, fit

# --- ops: arrays give arrays, a Tensor among them gives a Tensor ---------------------------------

array = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
tensor = tg.Tensor(array, requires_grad=True, name="tensor")

assert_type(tg.relu(array), NDArray[Any])
assert_type(tg.relu([1.0, -1.0]), NDArray[Any])
assert_type(tg.relu(tensor), tg.Tensor)
assert_type(tg.add(array, 1), NDArray[Any])
assert_type(tg.add(array, tensor), tg.Tensor)
assert_type(tg.linear(array, w=tensor, bias=None), tg.Tensor)
assert_type(tg.linear(array, array, bias=tensor[:, 0]), tg.Tensor)
assert_type(tg.where(array > 0, tensor, 0.0), tg.Tensor)
assert_type(tg.where(tensor > 0, array, 0.0), tg.Tensor)
assert_type(tg.concatenate([array, array], axis=1), NDArray[Any])
assert_type(tg.stack([tensor, array]), tg.Tensor)
assert_type(tg.softmax(tensor, axis=0, temperature=2.0), tg.Tensor)
assert_type(tg.split(tensor, 2), list[tg.Tensor])
assert_type(tg.split(array, [1, 2]), list[NDArray[Any]])
assert_type(tg.einsum("ij,kj->ik", tensor, array), tg.Tensor)
assert_type(tg.einsum("ij->", array), NDArray[Any])
assert_type(tg.topk(tensor, 2), tuple[tg.Tensor, NDArray[Any]])
assert_type(tg.argmax(tensor, axis=1), NDArray[Any])
assert_type(tensor.any(), NDArray[Any])
assert_type(tensor.std(axis=0).squeeze(), tg.Tensor)
assert_type(tg.relu.name, str)

# --- operators and methods -----------------------------------------------------------------------

assert_type(array * tensor, tg.Tensor)
assert_type(2 - tensor / array, tg.Tensor)
assert_type(tensor @ array.T, tg.Tensor)
assert_type(tensor > 0, tg.Tensor)
assert_type((tensor > 0) & ~(tensor < 1) | (array > 2), tg.Tensor)
assert_type(tensor // 2 + tensor % array, tg.Tensor)
assert_type(tensor.sum(axis=1, keepdims=True).T.reshape(-1)[0], tg.Tensor)
assert_type(tensor.detach().numpy(), NDArray[Any])
assert_type(tensor.grad, NDArray[Any] | None)
assert_type(tensor.shape, tuple[int, ...])


with tg.no_grad():
    weights = tg.nn.Parameter(array)
    weights[0] = tensor[1]
    weights[1:, 0] = 1.0
(tensor * tensor).backward(gradient=tensor.detach())

# --- an op of one's own --------------------------------------------------------------------------


@tg.op(formula="x³", elementwise=True)
def cube(x: np.ndarray, scale: float = 1.0) -> np.ndarray:
    return scale * x * x * x


@cube.derivative("x", formula="g·3x²")
def _(g: np.ndarray, *, x: np.ndarray, scale: float) -> np.ndarray:
    return g * (3 * scale * x * x)


cube.calls(lambda draw, s: (draw(s.arrays()), draw(s.sampled_from([1.0, 0.5]))), note="scaled")


@cube.calls(large=[{"shape": (40, 50)}])
def _(draw: tg.check.Draw, s: tg.check.Strategies, shape: tuple[int, ...] = (2,)) -> np.ndarray:
    return draw(s.arrays(shape))


@tg.op(formula="√(1 + x²)", elementwise=True)
def arc(x: np.ndarray, *, root: Any = ...) -> np.ndarray:
    return np.asarray(root)


@arc.intermediate
def root(x: np.ndarray) -> np.ndarray:
    return tg.sqrt(1.0 + x * x)


@arc.derivative("x", formula="g·x / √(1 + x²)")
def _(g: np.ndarray, *, x: np.ndarray, root: np.ndarray) -> np.ndarray:
    return g * x / root


assert_type(arc(tensor), tg.Tensor)
assert_type(tg.sqrt(arc(array)), NDArray[Any])


def energy(x: tg.Tensor) -> tg.Tensor:
    return (x * x).sum()


assert_type(cube(array, scale=2.0), np.ndarray)
assert_type(cube(tensor, scale=2.0), tg.Tensor)
assert_type(tg.grad(cube(tensor).sum(), tensor), list[NDArray[Any]])
assert_type(tg.grad(cube(tensor).sum(), tensor, create_graph=True), list[tg.Tensor])
assert_type(tg.jacobian(cube)(array), NDArray[Any])
assert_type(tg.hessian(lambda x: cube(x).sum())(tensor), NDArray[Any])
check_op(cube, inputs=strategies.arrays())
check_gradients(energy, array)

# --- modules: a call has the signature of forward ------------------------------------------------


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        self.layers = [nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)]
        self.scale = nn.Parameter(np.ones(width), name="scale")

    def forward(self, x: tg.Tensor, skip: bool = True) -> tg.Tensor:
        y = x
        for layer in self.layers:
            y = layer(y)
        return (x + y if skip else y) * self.scale


class Ends(nn.Module):
    """A module may return something else than a Tensor."""

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return x.min(), x.max()


assert_type(Block(4)(tensor, skip=False), tg.Tensor)
assert_type(Ends()(tensor), tuple[tg.Tensor, tg.Tensor])
assert_type(nn.Linear(4, 2)(array), tg.Tensor)
assert_type(nn.ReLU()(array), NDArray[Any])
assert_type(nn.ReLU()(tensor), tg.Tensor)
assert_type(nn.Sequential(nn.Linear(4, 2), nn.Tanh())(array), tg.Tensor)
assert_type(nn.LeNet5()(tg.Tensor(np.zeros((1, 1, 28, 28)))), tg.Tensor)


# --- a training loop, by hand and by `fit` -------------------------------------------------------


def train(model: nn.Module, loader: DataLoader, epochs: int) -> list[float]:
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses: list[float] = []
    for _ in range(epochs):
        for images, labels in loader:
            loss = tg.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"loss {np.mean(losses):.3f}")
    with tg.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.data -= 0.1 * parameter.grad
    return losses


def main(folder: Path) -> None:
    tg.manual_seed(0)
    split = tg.data.digits()
    loader = DataLoader(split.train, batch_size=64, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(864, 10)
    )
    train(model, loader, epochs=1)
    history = fit(model, tg.cross_entropy, optim.Adam(model.parameters()), loader, epochs=1)
    assert_type(history[-1].loss, float)
    test = evaluate(model, DataLoader(split.test, batch_size=500), tg.cross_entropy)
    print(model.summary((1, 28, 28)), test.accuracy)
    images, labels = next(iter(loader))
    with tg.trace() as trace:
        loss = tg.cross_entropy(model(images), labels)
        loss.backward()
    tg.draw(loss, trace=trace, depth=1).render(folder / "model.svg")
    missing, unexpected = model.load_state_dict(model.state_dict())
    print(missing, unexpected, tg.derive(loss, wrt=next(iter(model.parameters()))))
