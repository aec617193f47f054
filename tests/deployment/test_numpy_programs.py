"""NumPy programs: run without this package, they predict what the models do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.machine import lengthy

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.capture import CaptureError
from tinygrad_cnn.core.op import OPS
from tinygrad_cnn.deployment import network_source, numpy_source
from tinygrad_cnn.deployment.formats import write_npz, write_program
from tinygrad_cnn.deployment.source import SOURCES
from tinygrad_cnn.nn import models
from tinygrad_cnn.train import (
    DataSettings,
    ModelSettings,
    RunSettings,
    TrainedModel,
    TrainingSettings,
)

pytestmark = pytest.mark.usefixtures("seeded")

QUICK = ("mlp", "lenet5", "vgg", "resnet20")
ALONE = """
import importlib.util, sys
import numpy as np

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top != "numpy":
            raise ImportError(name)

sys.meta_path.insert(0, OnlyNumPy())
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
np.save(sys.argv[3], program.predict(np.load(sys.argv[2]), batch=4))
"""


def trained(model: nn.Module, shape: tuple[int, ...], classes: Any = 10) -> TrainedModel:
    """Return a model as if it had been trained, with statistics of its batch norms."""
    rng = np.random.default_rng(1)
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else classes
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.weight.data[...] = rng.uniform(0.5, 1.5, module.weight.shape)
            module.bias.data[...] = rng.uniform(-0.5, 0.5, module.bias.shape)
    model.train()(tg.Tensor(rng.standard_normal((16, *shape)).astype(np.float32)))
    data = DataSettings(
        source="", name="drawn", classes=names, input_shape=shape, training_images=0,
        test_images=0, mean=(0.4,) * shape[0], std=(0.25,) * shape[0],
    )  # fmt: skip
    made = ModelSettings(name="net")
    return TrainedModel(
        model.eval(), RunSettings(data=data, model=made, training=TrainingSettings())
    )


def images(shape: tuple[int, ...], count: int = 9) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, *shape), np.uint8)


def predicted(path: Path, given: np.ndarray) -> np.ndarray:
    """Return the prediction of a program that runs alone, with NumPy only."""
    np.save(path.with_name("images.npy"), given)
    arguments = [str(path), str(path.with_name("images.npy")), str(path.with_name("p.npy"))]
    subprocess.run([sys.executable, "-I", "-c", ALONE, *arguments], check=True, timeout=120)
    return np.load(path.with_name("p.npy"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else lengthy) for n in nn.MODELS]
)
def test_the_program_of_a_ready_model_predicts_what_the_model_does(
    name: str, tmp_path: Path
) -> None:
    shape = (1, 28, 28) if name in ("mlp", "lenet5") else (3, 32, 32)
    model = nn.build(name, input_shape=shape, classes=10, rng=np.random.default_rng(0))
    run = trained(model, shape)
    write_program(run, tmp_path / "net.py")
    given = images(shape)
    came, expected = predicted(tmp_path / "net.py", given), run.probabilities(given)
    assert came.dtype == np.float32
    # Over 50 layers, the rounding of both adds up: either is as far from float64.
    np.testing.assert_allclose(came, expected, rtol=0, atol=1e-5 if name in QUICK else 1e-4)
    np.testing.assert_array_equal(came.argmax(1), expected.argmax(1))


SMALL: dict[str, Callable[..., nn.Module]] = {
    "densenet": partial(models.DenseNet, depths=(2, 2), growth=4, width=6),
    "mobilenet": partial(models.MobileNetV2, 10, width=0.1, stem="small"),
    "resnext": partial(
        models.ResNet, depths=(1, 1), widths=(8, 16), block="bottleneck", stem="large",
        shortcut="projected", groups=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_the_program_of_a_small_one_predicts_what_the_model_does(name: str, tmp_path: Path) -> None:
    run = trained(SMALL[name](rng=np.random.default_rng(0)), (3, 16, 16))
    write_program(run, tmp_path / "net.py")
    given = images((3, 16, 16))
    expected = run.probabilities(given)
    np.testing.assert_allclose(predicted(tmp_path / "net.py", given), expected, rtol=0, atol=1e-5)


def test_the_program_of_lenet_fits_on_a_screen(tmp_path: Path) -> None:
    run = trained(nn.LeNet5(rng=np.random.default_rng(0)), (1, 28, 28))
    write_program(run, tmp_path / "net.py")
    lines = (tmp_path / "net.py").read_text(encoding="utf-8").splitlines()
    ast.parse("\n".join(lines), feature_version=(3, 9))
    assert len(lines) <= 62
    assert max(map(len, lines)) <= 100


class Net(nn.Module):
    """Options that the ready models do not use."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.wide = nn.Conv2d(2, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=2, rng=rng)
        self.same = nn.Conv2d(6, 6, 3, padding="same", groups=2, bias=False, rng=rng)
        self.norm = nn.GroupNorm(2, 6)
        self.last = nn.Conv2d(6, 4, 1, padding="valid", rng=rng)
        self.shift = tg.Tensor(rng.standard_normal((4, 1, 1)).astype(np.float32))

    def forward(self, x: Any) -> Any:
        N = x.shape[0]
        x = tg.leaky_relu(self.wide(x), 0.2)
        x = tg.gelu(self.norm(self.same(x))) + tg.silu(x)
        x = tg.avgpool(x, 3, 1, padding=1, count_include_pad=False)
        y = tg.where(x > 0.1, x, tg.tanh(x))
        y = tg.concatenate([self.last(x), y[:, ::3, ...]], axis=1)
        x = tg.maxpool(y[:, :4] - self.shift, (2, 3), stride=(2, 1))
        x = x.transpose((0, 2, 1, 3)).reshape((N * x.shape[2], -1)).reshape((N, -1))
        return tg.log_softmax(x[:, :5] * 2.0 - x.mean(axis=1, keepdims=True))


def test_the_program_of_other_ops_and_options_predicts_what_the_model_does(tmp_path: Path) -> None:
    shape = (2, 12, 12)
    run = trained(Net(), shape, 5)
    write_program(run, tmp_path / "net.py")
    given = images(shape)
    expected = run.probabilities(given)
    np.testing.assert_allclose(predicted(tmp_path / "net.py", given), expected, rtol=0, atol=1e-5)


ODD = ("a", 'quo"te', "new\nline", "back\\slash", "", "ümläut", "{brace}", *map(str, range(50)))


def test_a_program_has_classes_of_any_name_and_prints_them(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, len(ODD), rng=np.random.default_rng(0)))
    run = trained(model, (3, 2, 2), ODD)
    write_program(run, tmp_path / "net.py")
    scope: dict[str, Any] = {"__file__": str(tmp_path / "net.py"), "__name__": "net"}
    exec((tmp_path / "net.py").read_text(encoding="utf-8"), scope)
    assert scope["CLASSES"] == ODD
    given = images((3, 2, 2), 3)
    for wrong in (given[:, 0], given.astype(np.float32), given[0]):
        with pytest.raises(ValueError, match=r"expected uint8 \(N, 3, 2, 2\)"):
            scope["predict"](wrong)
    assert scope["predict"](given[:0]).shape == (0, len(ODD))
    np.save(tmp_path / "x.npy", given)
    command = [
        sys.executable,
        "-I",
        "-X",
        "utf8",
        str(tmp_path / "net.py"),
        str(tmp_path / "x.npy"),
    ]
    printed = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout.decode()
    best = run.probabilities(given).argmax(1)
    assert [f"{line.rpartition('  ')[0]}" for line in printed.splitlines() if "%" in line] == [
        ODD[k] for k in best
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no such names of files there")
@pytest.mark.parametrize("name", ['q"""x.py', "b\\N.py", "{x}.py", "a\nb.py", "ü'.py", "\\u1.py"])
def test_a_program_has_a_file_of_any_name(name: str, tmp_path: Path) -> None:
    write_program(trained(nn.Sequential(nn.Flatten()), (3, 1, 1), 3), tmp_path / name)
    text = (tmp_path / name).read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text)) or ""
    assert f"python {name} IMAGES.npy" in said
    assert f"in {name[:-3]}.npz," in said
    assert predicted(tmp_path / name, images((3, 1, 1), 2)).shape == (2, 3)


def test_a_program_without_an_argument_says_how_it_is_used(tmp_path: Path) -> None:
    write_program(trained(nn.Sequential(nn.Flatten()), (3, 1, 1), 3), tmp_path / "net.py")
    command = [sys.executable, "-I", str(tmp_path / "net.py")]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert ran.stderr.decode().strip() == "usage: python net.py IMAGES.npy"


class Calling(nn.Module):
    """Calls a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize("model", [
    nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2),
    nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    nn.Conv2d(4, 2, 3, padding=((0, 1), (0, 1))),
    nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(7), nn.AdaptiveAvgPool2d(3),
    nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample((3, 11), mode="bicubic"),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Sequential(nn.Flatten(), nn.Linear(252, 2)),
    *map(Calling, [
        lambda x: x**2, lambda x: (x * x + 1) ** 0.5, lambda x: tg.pow(-1.0, tg.round(x)),
        lambda x: x, lambda x: x / len(x), lambda x: x * (1 / max(len(x), 1)),
        lambda x: x / np.full((1, 1), len(x)),
        lambda x: x.reshape(-1, 7), lambda x: x.reshape(-1, 9, 28).sum(1), tg.norm,
        lambda x: x.reshape(len(x), 28, 9).max((1, 2)), lambda x: tg.sort(x, 1, descending=True),
        lambda x: tg.unfold(x, 3), lambda x: tg.logsumexp(x, 1),
        lambda x: tg.put(x[:, 0], (slice(None), 1), (len(x), 2, 9, 7)), lambda x: tg.cumsum(x, 2),
        lambda x: tg.maxpool(x[:, 0], 2) + tg.avgpool(x[:, 1], 2),
    ]),
])  # fmt: skip
def test_networks_take_any_number_of_images(model: nn.Module) -> None:
    network = network_source(model, (4, 9, 7))
    model.eval()
    for count in (0, 1, 4, 7):
        x = np.random.default_rng(count).standard_normal((count, 4, 9, 7)).astype(np.float32)
        came, expected = network.run(x), model(tg.Tensor(x)).numpy()
        assert (came.dtype, came.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(came, expected, rtol=1e-5, atol=1e-5)


def test_an_output_without_the_input_is_refused() -> None:
    with pytest.raises(CaptureError, match="does not depend on the values of its input"):
        network_source(Calling(lambda x: tg.Tensor([1.0]) * 2), (3,))


@pytest.mark.parametrize("function", [
    lambda x: x * len(x) ** 2, lambda x: x[: len(x) // 2],
])  # fmt: skip
def test_other_numbers_of_images_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(CaptureError, match=r"depend|for 5 images") as raised:
        network_source(Calling(function), (3,))
    assert "axis" not in str(raised.value)


def test_a_network_with_values_that_are_not_numbers_is_compared_without_a_warning() -> None:
    network = network_source(Calling(tg.sqrt), (3,))
    assert network.body == ["    return np.sqrt(x)  # (N, 3)"]


def test_many_classes_are_in_the_file_of_arrays(tmp_path: Path) -> None:
    names = tuple(f"class {k}" for k in range(200))
    run = trained(nn.Sequential(nn.Flatten(), nn.Linear(12, 200)), (3, 2, 2), names)
    write_program(run, tmp_path / "net.py")
    assert np.load(tmp_path / "net.npz", allow_pickle=False)["CLASSES"].tolist() == list(names)
    assert predicted(tmp_path / "net.py", images((3, 2, 2))).shape == (9, 200)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    run = trained(nn.MLP([784, 5, 10], rng=np.random.default_rng(0)), (1, 28, 28))
    for name in "ab":
        (tmp_path / name).mkdir()
        write_program(run, tmp_path / name / "net.py")
        write_npz(run, tmp_path / name / "weights.npz")
    for name in ("net.py", "net.npz", "weights.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# --- ops of one's own ----------------------------------------------------------------------------

SCALE = 0.5


def halved(x: Any) -> Any:
    """Return half of x."""
    return SCALE * x


@pytest.fixture
def registered() -> Iterator[None]:
    ops, sources = dict(OPS), dict(SOURCES)
    yield
    for table, before in ((OPS, ops), (SOURCES, sources)):
        table.clear()  # type: ignore[attr-defined]
        table.update(before)  # type: ignore[arg-type]


@pytest.mark.usefixtures("registered")
def test_an_op_in_plain_numpy_is_written_from_its_forward() -> None:
    @tg.op(formula="x³/2")
    def cubed(x: Any) -> Any:
        """Return half of the cube.

        More about it.
        """
        # of the middle
        return halved(x) * x**2

    cubed.derivative("x", formula="g·3x²/2")(lambda g, *, x: g * 1.5 * x**2)

    class Cube(nn.Module):
        def forward(self, x: Any) -> Any:
            return cubed(x)

    network = network_source(Cube(), (3,))
    text = "\n".join(network.functions)
    assert text.index("SCALE = 0.5") < text.index("def halved(x):") < text.index("def cubed(x):")
    assert "# of the middle" in text
    assert "More about it" not in text
    x = np.arange(3.0).reshape(1, 3)
    np.testing.assert_array_equal(network.run(x), x**3 / 2)


class Shifted(nn.Module):
    """Calls an op of the tests."""

    def __init__(self, op: Any) -> None:
        self.op = op

    def forward(self, x: Any) -> Any:
        return self.op(x)


@pytest.mark.usefixtures("registered")
def test_an_op_without_a_numpy_source_is_refused_by_name_until_it_has_one() -> None:
    engine = tg.engine

    @tg.op(formula="x + 1")
    def shifted(x: Any) -> Any:
        return x + 1 if engine else x

    shifted.derivative("x", formula="g")(lambda g: g)
    with pytest.raises(CaptureError, match=r"shifted has no NumPy source: it uses engine; declare"):
        network_source(Shifted(shifted), (3,))

    @numpy_source(shifted)
    def shift(x: Any) -> Any:
        return x + 1

    assert network_source(Shifted(shifted), (3,)).body == ["    return shift(x)  # (N, 3)"]


@pytest.mark.usefixtures("registered")
def test_a_numpy_source_that_computes_something_else_is_refused() -> None:
    numpy_source("tanh")(halved)
    with pytest.raises(CaptureError, match="does not return what the model does"):
        network_source(Shifted(tg.tanh), (3,))


def test_a_model_that_reads_values_is_refused() -> None:
    with pytest.raises(CaptureError, match="reads a value"):
        network_source(Shifted(lambda x: x * float(x.sum())), (3,))


def test_a_batch_norm_in_training_mode_is_written_for_eval_mode() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
    network = network_source(model, (3, 4, 4))
    assert model.training
    assert network.body == ['    return x * W["0.scale"] + W["0.shift"]  # (N, 3, 4, 4)']
