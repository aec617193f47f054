"""The default generator: what draws from it, and what threads, tasks and copies see of it."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.core.random import default_generator
from tinygrad_cnn.data import Compose, Elastic, RandomHorizontalFlip, Rotate, Shift
from tinygrad_cnn.train.own_state import load_own_state, own_state

Draw = Callable[..., Any]

INITIALIZERS = {
    name: getattr(nn.init, name)
    for name in {*nn.init.__all__} - {"Initializer", "constant", "fans", "normal", "zeros"}
} | {"normal(0.5)": nn.init.normal(0.5)}  # that draw numbers

WEIGHTS: dict[str, Draw] = {
    "Linear": lambda **rng: nn.Linear(3, 2, **rng),
    "Conv2d": lambda **rng: nn.Conv2d(2, 4, 3, groups=2, **rng),
    "ConvTranspose2d": lambda **rng: nn.ConvTranspose2d(2, 4, 3, **rng),
    "MLP": lambda **rng: nn.MLP((4, 3, 2), **rng),
    "LeNet5": lambda **rng: nn.LeNet5(**rng),
    "VGG": lambda **rng: nn.VGG(image_size=8, widths=(2,), hidden=4, **rng),
    "build": lambda **rng: nn.build("mlp", input_shape=(1, 2, 2), classes=3, **rng),
}

TRANSFORMS = [
    Shift(2),
    Rotate(30),
    Elastic(8, 2),
    RandomHorizontalFlip(),
    Compose(Shift(2), RandomHorizontalFlip()),
]


def numbers(model: nn.Module) -> bytes:
    return b"".join(array.tobytes() for array in model.state_dict().values())


def dropped(layer: nn.Module) -> list[float]:
    return np.asarray(layer(np.ones(64, np.float32))).tolist()


def in_thread(function: Callable[[], Any], context: Context | None = None) -> Any:
    """Return the result of `function` in a new thread, whose context is empty if none is given."""
    results: list[Any] = []
    run = (context or Context()).run
    thread = Thread(target=lambda: results.append(run(function)))
    thread.start()
    thread.join()
    return results[0]


# --- what draws from it --------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_seed_gives_the_bits_of_a_generator_of_that_seed(name: str) -> None:
    tg.manual_seed(3)
    first, second = WEIGHTS[name](), WEIGHTS[name]()
    shared = np.random.default_rng(3)
    assert numbers(first) == numbers(WEIGHTS[name](rng=shared))
    assert numbers(second) == numbers(WEIGHTS[name](rng=shared))  # it draws on, not again
    assert numbers(first) != numbers(second)


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_initializers_draw_from_the_default_generator(name: str) -> None:
    initializer = INITIALIZERS[name]
    tg.manual_seed(3)
    expected = initializer((4, 3), np.random.default_rng(3))
    np.testing.assert_array_equal(initializer((4, 3)), expected)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_transforms_draw_from_the_default_generator(
    transform: Callable[..., NDArray[Any]],
) -> None:
    images = np.random.default_rng(0).random((8, 1, 9, 9), np.float32)
    tg.manual_seed(3)
    expected = transform(images, np.random.default_rng(3))
    np.testing.assert_array_equal(transform(images), expected)
    assert not np.array_equal(transform(images), expected)


@pytest.mark.parametrize("name", [*WEIGHTS, "Dropout"])
def test_a_given_generator_leaves_the_default_one_alone(name: str) -> None:
    make = {**WEIGHTS, "Dropout": nn.Dropout}[name]
    before = tg.manual_seed(3).bit_generator.state
    make(rng=np.random.default_rng(0))
    assert default_generator().bit_generator.state == before


def test_manual_seed_returns_the_default_generator() -> None:
    assert tg.manual_seed(0) is default_generator()
    assert tg.manual_seed(0) is not tg.manual_seed(0)
    assert tg.manual_seed(np.int64(2)).random() == np.random.default_rng(2).random()


def test_the_default_generator_is_one_for_all_draws_without_a_seed() -> None:
    assert Context().run(lambda: default_generator() is default_generator())


@pytest.mark.parametrize("seed", [None, -1, 0.5, True, "0"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"manual_seed: seed is .*, expected an integer"):
        tg.manual_seed(seed)


def test_numbers_differ_from_run_to_run_without_a_seed() -> None:
    program = "import tinygrad_cnn as tg; print(tg.nn.Linear(3, 2).weight.numpy().tobytes().hex())"
    outputs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 2


# --- dropout -------------------------------------------------------------------------------------


def test_dropout_of_a_seed_drops_the_same_and_each_layer_its_own() -> None:
    results = []
    for _ in range(2):
        tg.manual_seed(0)
        results.append([dropped(nn.Dropout()), dropped(nn.Dropout())])
    assert results[0] == results[1]
    assert results[0][0] != results[0][1]


def test_dropout_keeps_a_generator_that_later_seeds_and_draws_do_not_move() -> None:
    default = tg.manual_seed(0)
    layer = nn.Dropout()
    alike = copy.deepcopy(layer)
    before = default.bit_generator.state
    first = dropped(layer)
    assert default.bit_generator.state == before
    tg.manual_seed(1)
    assert dropped(alike) == first


def test_the_dropout_of_a_ready_model_has_a_generator_of_its_own() -> None:
    default = tg.manual_seed(0)
    model = nn.VGG(image_size=8, widths=(2,), hidden=4, dropout=0.5)
    (dropout,) = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert dropout.rng is not default


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "file"]
)
def test_a_copy_of_dropout_goes_on_with_the_same_bits(copied: Callable[[Any], Any]) -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Dropout())
    dropped(model)
    other = copied(model)
    assert dropped(other) == dropped(model)
    assert other[0].rng is not model[0].rng


def test_the_own_state_of_dropout_continues_in_a_new_model() -> None:
    model, other = nn.Sequential(nn.Dropout()), nn.Sequential(nn.Dropout())
    dropped(model)
    load_own_state(other, own_state(model))
    assert dropped(other) == dropped(model)


def test_layers_of_weights_hold_no_generator() -> None:
    assert own_state(nn.LeNet5()) == {}


def test_the_state_of_the_default_generator_decides_all_that_follows() -> None:
    rng = tg.manual_seed(0)
    nn.Dropout()
    state = rng.bit_generator.state
    first = dropped(nn.Dropout()), numbers(nn.Linear(2, 2))
    rng.bit_generator.state = state
    assert (dropped(nn.Dropout()), numbers(nn.Linear(2, 2))) == first


# --- threads and tasks ---------------------------------------------------------------------------


def test_a_thread_does_not_see_the_seed_of_its_creator() -> None:
    here = tg.manual_seed(0)
    first, second = (in_thread(default_generator) for _ in range(2))
    assert first is not here
    assert len({rng.random() for rng in (here, first, second)}) == 3


def test_a_seed_in_a_thread_is_the_threads_own() -> None:
    here = tg.manual_seed(0)

    def seeded() -> bytes:
        tg.manual_seed(3)
        return numbers(nn.Linear(3, 2))

    expected = numbers(nn.Linear(3, 2, rng=np.random.default_rng(3)))
    assert in_thread(seeded) == expected
    assert default_generator() is here


def test_a_thread_in_a_copied_context_shares_the_generator() -> None:
    here = tg.manual_seed(0)
    assert in_thread(default_generator, copy_context()) is here


def test_tasks_share_the_generator_of_their_creator_until_they_seed() -> None:
    here = tg.manual_seed(0)

    async def own(seed: int) -> list[float]:
        tg.manual_seed(seed)
        drawn = []
        for _ in range(3):
            await asyncio.sleep(0)
            drawn.append(default_generator().random())
        return drawn

    async def shared() -> np.random.Generator:
        return default_generator()

    async def together() -> list[Any]:
        return await asyncio.gather(own(1), own(2), shared())

    *drawn, generator = asyncio.run(together())
    assert drawn == [np.random.default_rng(seed).random(3).tolist() for seed in (1, 2)]
    assert generator is here is default_generator()
