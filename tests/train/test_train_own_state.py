"""What a model keeps beside its Tensors: saved where it can be, else said at the start."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stopping import StopAt

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.core.random import default_generator
from tinygrad_cnn.train import (
    RunError,
    RunFolder,
    TrainedModel,
    TrainingRun,
    TrainingSettings,
    load_run,
)
from tinygrad_cnn.train.global_random import global_random, seeded_globally
from tinygrad_cnn.train.own_state import load_own_state, own_state, unsaved
from tinygrad_cnn.train.state import read_state, write_state

SOURCE = """
import random
from collections import Counter, deque, namedtuple
from functools import partial

import numpy as np

from tinygrad_cnn import nn
from tinygrad_cnn.core.tensor import Tensor

Pair = namedtuple("Pair", "calls noise")
SHARED = [0]


class Noise:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.rng.normal() + self.calls


def drawing(rng):
    calls = 0

    def draw():
        nonlocal calls
        calls += 1
        return rng.normal() + calls

    return draw


class Net(nn.Module):
    calls = 0

    def __init__(self, input_shape, classes, rng):
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(784, classes, rng=rng)
        {constructor}

    def forward(self, x):
        x = self.fc(self.flatten(x))
        if self.training:
            {forward}
        return x
"""

SAVED = {
    "a counter": ("self.count = 0", "self.count += 1; x = x * self.count"),
    "a lazy counter": (
        "self.odd = 0",
        "self.count = getattr(self, 'count', 0) + 1; x = x * self.count",
    ),
    "a class's counter, written to the object": ("pass", "self.calls += 1; x = x * self.calls"),
    "an array": ("self.mean = np.zeros(3)", "self.mean += 0.1; x = x + self.mean.sum()"),
    "an array that is rebound": (
        "self.mean = np.zeros(3, 'f4')",
        "self.mean = np.append(self.mean, np.float32(1)); x = x * self.mean.sum()",
    ),
    "a NumPy number": (
        "self.scale = np.float32(1)",
        "self.scale = self.scale * np.float32(1.1); x = x * Tensor(np.asarray(self.scale))",
    ),
    "a Tensor that an op computed": (
        "self.mean = Tensor(np.zeros(3, 'f4'))",
        "self.mean = self.mean * 0.9 + 1.0; x = x * self.mean.sum()",
    ),
    "a Tensor whose name starts with _": (
        "self._mean = Tensor([0.0])",
        "self._mean = Tensor(self._mean.data + 1); x = x * self._mean",
    ),
    "a RandomState": ("self.old = np.random.RandomState(3)", "x = x + self.old.normal()"),
    "a bit generator": (
        "self.bits = np.random.MT19937(3)",
        "x = x + np.random.Generator(self.bits).normal()",
    ),
    "Python's Random": ("self.python = random.Random(3)", "x = x + self.python.gauss(0, 1)"),
    "a generator in a list": (
        "self.rngs = [[np.random.default_rng(i)] for i in range(2)]",
        "x = x + self.rngs[1][0].normal()",
    ),
    "a lazy generator": (
        "self.rng = None",
        "self.rng = self.rng or np.random.default_rng(3); x = x + self.rng.normal()",
    ),
    "a generator in a dict": (
        "self.rngs = dict(a=np.random.Generator(np.random.SFC64(1)))",
        "x = x + self.rngs['a'].normal()",
    ),
    "a generator at two places": (
        "self.a = self.b = np.random.default_rng(3)",
        "x = x + self.a.normal() + self.b.normal()",
    ),
    "an object": ("self.noise = Noise(3)", "x = x + self.noise()"),
    "a closure": ("self.noise = drawing(np.random.default_rng(3))", "x = x + self.noise()"),
    "a partial": (
        "self.noise = partial(np.random.Generator.normal, np.random.default_rng(3))",
        "x = x + self.noise()",
    ),
    "a deque": (
        "self.last = deque([1.0], maxlen=2)",
        "self.last.append(sum(self.last)); x = x * sum(self.last)",
    ),
    "a Counter": ("self.seen = Counter()", "self.seen['x'] += 1; x = x * self.seen['x']"),
    "a set": ("self.seen = {0}", "self.seen.add(len(self.seen)); x = x * len(self.seen)"),
    "a namedtuple": (
        "self.pair = Pair(0, np.random.default_rng(3))",
        "self.pair = self.pair._replace(calls=self.pair.calls + 1); "
        "x = x * self.pair.calls + self.pair.noise.normal()",
    ),
    "NumPy's global generator": ("self.start = np.random.normal()", "x = x + np.random.normal()"),
    "Python's global generator": ("self.start = random.random()", "x = x + random.random()"),
    "the default generator": (
        "self.first = nn.Linear(784, classes)",
        "x = x + nn.init.standard_normal((1,))",
    ),
    "a Dropout without rng": ("self.dropout = nn.Dropout()", "x = self.dropout(x)"),
    "a new Dropout without rng in each call": ("pass", "x = nn.Dropout()(x)"),
}
UNSAVED = {
    "an iterator": ("self.count = iter(range(999))", "x = x * next(self.count)", "count (range_it"),
    "complex numbers": (
        "self.phase = np.ones(1, 'c16')",
        "self.phase *= 2; x = x * float(self.phase[0].real)",
        "phase (array of complex128)",
    ),
    "a seed sequence": (
        "self.seeds = np.random.SeedSequence(3)",
        "x = x + np.random.default_rng(self.seeds.spawn(1)[0]).normal()",
        "seeds (SeedSequence)",
    ),
    "keys that are objects": ("self.d = {(1, 2): 0}", "self.d[1, 2] += 1; x = x * self.d[1, 2]",
                              "d (dict)"),
    "a global list": ("pass", "SHARED[0] += 1; x = x * SHARED[0]", "outside the modules"),
    "a class's counter": ("pass", "Net.calls += 1; x = x * Net.calls", "outside the modules"),
    "generators that are spawned": (
        "self.rng = np.random.default_rng(3)",
        "x = x + self.rng.spawn(1)[0].normal()",
        "outside the modules",
    ),
}  # fmt: skip


@pytest.fixture
def make(
    few_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], TrainingRun]:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # most of the time of a run this small

    def made(constructor: str, forward: str) -> TrainingRun:
        path = tmp_path / "net.py"
        path.write_text(SOURCE.format(constructor=constructor, forward=forward), encoding="utf-8")
        training = TrainingSettings(epochs=2, batch_size=30, lr=0.001)
        return TrainingRun.new(few_file, f"{path}:Net", training)

    return made


@pytest.mark.parametrize("kind", SAVED)
def test_a_model_with_a_state_of_its_own_is_resumed_to_the_bit(
    make: Callable[[str, str], TrainingRun], tmp_path: Path, kind: str
) -> None:
    whole, broken = (RunFolder.create("run", parent=tmp_path) for _ in range(2))
    make(*SAVED[kind]).train(whole)
    with pytest.raises(KeyboardInterrupt):
        make(*SAVED[kind]).train(broken, [StopAt(epoch=2, batch=2)])
    outside = np.random.normal(), random.random()  # noqa: NPY002  # the global one
    resumed = TrainingRun.resumed(broken)
    assert len(resumed.history) == 1
    resumed.train(broken)
    assert broken.weights.read_bytes() == whole.weights.read_bytes()
    assert outside != (np.random.normal(), random.random())  # noqa: NPY002  # the global one


@pytest.mark.parametrize(
    "kind",
    [
        "a counter",
        "an array that is rebound",
        "a Tensor whose name starts with _",
        "an object",
        "a generator at two places",
    ],
)
def test_a_model_with_a_state_of_its_own_is_loaded_with_it(
    make: Callable[[str, str], TrainingRun], tmp_path: Path, kind: str
) -> None:
    constructor, forward = SAVED[kind]
    used = forward.rpartition("; ")[2]  # in evaluation too
    training_run = make(constructor, f"{forward}\n        else:\n            {used}")
    run = RunFolder.create("run", parent=tmp_path)
    training_run.train(run)
    images = training_run.split.test.images
    loaded = load_run(run.path).probabilities(images)
    expected = TrainedModel(training_run.model.eval(), training_run.settings).probabilities(images)
    np.testing.assert_array_equal(loaded, expected)


@pytest.mark.parametrize("kind", UNSAVED)
def test_what_cannot_be_saved_is_said_at_the_start(
    make: Callable[[str, str], TrainingRun], tmp_path: Path, kind: str
) -> None:
    constructor, forward, says = UNSAVED[kind]
    run = RunFolder.create("run", parent=tmp_path)
    with (
        pytest.warns(UserWarning, match="a resumed run is not bit-identical") as warned,
        pytest.raises(KeyboardInterrupt),
    ):
        make(constructor, forward).train(run, [StopAt(epoch=1, batch=1)])
    assert len(warned) == 1
    assert says in str(warned[0].message)
    assert str(warned[0].message).startswith("Net: ")


@pytest.mark.parametrize("kind", ["NumPy's global generator", "the default generator"])
def test_training_does_not_move_the_global_generators_nor_depend_on_them(
    make: Callable[[str, str], TrainingRun], tmp_path: Path, kind: str
) -> None:
    constructor, forward = SAVED[kind]
    runs = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002  # the global one
        random.seed(seed)
        default = tg.manual_seed(seed)
        expected = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002  # the global one
        runs.append(RunFolder.create("run", parent=tmp_path))
        make(constructor, forward).train(runs[-1])
        assert (np.random.get_state()[1] == expected[0]).all()  # noqa: NPY002  # the global one
        assert random.getstate() == expected[1]
        assert default.random() == tg.manual_seed(seed).random()
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()


def test_a_seed_inside_a_training_changes_nothing_outside() -> None:
    outside = tg.manual_seed(0)
    before = outside.bit_generator.state
    with seeded_globally(
        {**global_random(), "default": np.random.default_rng(5).bit_generator.state}
    ):
        assert default_generator().random() == np.random.default_rng(5).random()
        tg.manual_seed(7)
    assert default_generator() is outside
    assert outside.bit_generator.state == before


@pytest.mark.parametrize(
    ("name", "options", "generators"),
    [
        *[(name, {}, []) for name in ("mlp", "lenet5", "vgg", "resnet20", "densenet")],
        ("vgg", {"dropout": 0.5}, ["classifier.3.rng"]),
        ("mobilenet_v2", {}, ["classifier.0.rng"]),
    ],
)
def test_the_packages_own_layers_have_no_other_state_than_tensors_and_generators(
    name: str, options: dict[str, Any], generators: list[str]
) -> None:
    rng = np.random.default_rng(0)
    model = nn.build(name, input_shape=(1, 28, 28), classes=10, rng=rng, **options)
    before = {id(m): dict(vars(m)) for m in model.modules()}
    tg.cross_entropy(model(tg.Tensor(np.ones((2, 1, 28, 28), "f4"))), np.array([1, 2])).backward()
    for module in model.modules():
        assert vars(module).keys() == before[id(module)].keys()
        assert all(vars(module)[key] is value for key, value in before[id(module)].items())
    assert unsaved(model) == []
    assert list(own_state(model)) == generators


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


class Holding(nn.Module):
    def __init__(self, value: Any) -> None:
        self.value = value
        self.inner = [nn.ReLU(), value]


@given(values, values)
def test_any_plain_value_comes_back_through_a_file(
    tmp_path_factory: pytest.TempPathFactory, value: Any, other: Any
) -> None:
    path = tmp_path_factory.mktemp("own") / "state"
    write_state(path, own_state(Holding(value)))
    model = Holding(other)
    load_own_state(model, read_state(path))
    assert model.value == value
    assert type(model.value) is type(value)
    assert model.inner[1] == value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: {"own": {"no.such": {"plain": 1}}}, "no.such: the model has no module 'no'"),
        (lambda s: {"own": {"other": s["own"]["noise"]}}, "other: the model has no such object"),
        (lambda s: {"more": 1}, "unknown field more, perhaps from a later version"),
        (lambda s: {"format": 9}, "its format is 9, perhaps of a later version"),
    ],
)
def test_a_state_of_another_model_is_refused(
    make: Callable[[str, str], TrainingRun],
    tmp_path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    says: str,
) -> None:
    run = RunFolder.create("run", parent=tmp_path)
    make(*SAVED["an object"]).train(run)
    for path in run.checkpoints:
        state = read_state(path)
        write_state(path, {**state, **change(state)})
    with pytest.raises(RunError, match="checkpoint") as raised:
        TrainingRun.resumed(run)
    assert str(raised.value).count(says) == 2


def test_no_warning_where_all_is_saved(
    make: Callable[[str, str], TrainingRun], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, kind in enumerate(("an object", "NumPy's global generator")):
            make(*SAVED[kind]).train(RunFolder.create(f"run-{i}", parent=tmp_path))
