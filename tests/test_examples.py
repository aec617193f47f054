"""Every example runs, and its result is right: each is compared with what mathematics says."""

from __future__ import annotations

import ast
import importlib.util
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.machine import lengthy

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data.shapes import draw

FOLDER = Path(__file__).parents[1] / "examples"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import an example by its name; the ops that it declares are forgotten afterwards."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    known = dict(tg.OPS)

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    with tg.num_threads(1):  # two busy BLAS threads on two busy cores wait for each other
        yield load
    tg.OPS.clear()
    tg.OPS.update(known)


@pytest.fixture
def few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw only some of the shapes, in a tenth of the time."""
    split = tg.data.Split(draw(640, seed=0), draw(160, seed=1))
    monkeypatch.setattr(tg.data, "load", {"shapes": split}.__getitem__)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_example_says_what_it_shows_runs_as_a_script_is_tested_and_listed(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert f"python examples/{path.name}" in (ast.get_docstring(tree) or "")
    assert ast.unparse(tree.body[-1]).startswith("if __name__ == '__main__':\n    main(")
    assert f'load("{path.stem}")' in Path(__file__).read_text(encoding="utf-8")
    listed = FOLDER.parent / "docs" / "examples.md"
    assert f"(../examples/{path.name})" in listed.read_text(encoding="utf-8")


def test_perceptron_by_hand_equals_autograd(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    rows, history = load("perceptron_step_by_step").main()
    shown = {number for equation, *_ in rows for number in equation.split(", ")}
    assert shown >= {"14", "15", "16", "17", "18", "23", "25", "27", "28", "35", "45", "49", "53"}
    for equation, quantity, by_hand, by_autograd in rows:
        assert by_autograd == pytest.approx(by_hand, rel=1e-12), (equation, quantity)
        assert abs(by_hand) > 1e-3  # nothing is compared by being 0
    errors, probabilities = np.array(history).T
    assert (np.diff(errors) < 0).all()
    assert probabilities[-1] > 0.9
    assert "largest difference" in capsys.readouterr().out


def test_image_processing_equals_scipy_and_draws_a_figure(load: Load, tmp_path: Path) -> None:
    from PIL import Image
    from scipy import ndimage

    example = load("image_processing")
    results = example.main(tmp_path)
    image = example.photograph()
    gray = image @ np.array([0.299, 0.587, 0.114], np.float32)
    across, down = (ndimage.sobel(gray, axis, mode="nearest") for axis in (1, 0))
    bell = np.array([math.comb(8, k) for k in range(9)]) / 2**8
    blurred = ndimage.correlate1d(image, bell, 0, mode="nearest")
    blurred = ndimage.correlate1d(blurred, bell, 1, mode="nearest")
    footprint = ndimage.generate_binary_structure(2, 1)[:, :, np.newaxis]
    cross_sum = ndimage.correlate(image, footprint.astype(np.float32), mode="nearest")
    tiles = image.reshape(48, 8, 48, 8, 3)
    expected = {
        "original": image,
        "blur": blurred,
        "sharpen": 6 * image - cross_sum,
        "edges across": across,
        "edges down": down,
        "edge strength": np.sqrt(across**2 + down**2),
        "max pooling": tiles.max(axis=(1, 3)),
        "average pooling": tiles.mean(axis=(1, 3)),
    }
    assert expected.keys() == results.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(results[name], values, atol=2e-6, err_msg=name)

    with Image.open(tmp_path / "image_processing.png") as picture:
        assert picture.size == (1800, 1050)
        pixels = np.asarray(picture.convert("L"))
    assert (pixels == 255).mean() > 0.1  # the paper
    assert len(np.unique(pixels)) > 200  # the photographs


def test_text_direction_shows_what_a_loaded_network_depends_on(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    # The real file is in a wheel. A linear network stands in for it: its log-odds have the
    # difference of both rows of weights as gradient.
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 192, 2, rng=rng), nn.Softmax())
    tg.onnx.export(model, np.zeros((1, 3, 48, 192), np.float32), tmp_path / "model.onnx")
    results = load("text_direction").main(tmp_path, tmp_path / "model.onnx")
    rows = model[1].weight.numpy().reshape(2, 3, 48, 192)
    for result in results.values():
        k = int(result.probabilities.argmax())
        expected = rows[k] - rows[1 - k]
        np.testing.assert_allclose(result.saliency, expected, rtol=0, atol=1e-4)
        assert 0.02 < (result.picture < 0.5).mean() < 0.2  # a line of text
    upright, turned = results.values()
    assert (upright.picture == turned.picture[::-1, ::-1]).all()
    assert f"turned {turned.probabilities[1]:.4f}" in capsys.readouterr().out
    with Image.open(tmp_path / "text_direction.png") as picture:
        assert picture.size == (1500, 540)
    page = (tmp_path / "text_direction.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "The direction of a line of text" in page


def test_lenet_learns_digits(load: Load) -> None:
    history, accuracy = load("lenet_imperative").main()
    assert history[-1] < history[0] / 2
    assert accuracy > 0.94


def test_training_loop_by_hand_learns_digits(load: Load) -> None:
    history, accuracy = load("training_loop_by_hand").main()
    assert (np.diff(history) < 0).all()
    assert accuracy > 0.91


@pytest.mark.usefixtures("interruptible")
def test_resumable_loop_goes_on_after_ctrl_c(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = load("resumable_loop")
    whole = example.main(tmp_path / "whole", epochs=2, images=320).state_dict()
    calls, loss = [], tg.cross_entropy

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 14:
            signal.raise_signal(signal.SIGINT)
        return loss(*arguments)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(tg, "cross_entropy", interrupted)
        example.main(tmp_path / "run", epochs=2, images=320)
    assert ended.value.code == 130
    again = example.main(tmp_path / "run", epochs=2, images=320).state_dict()
    assert "going on after step 14" in capsys.readouterr().out
    assert all((again[name] == whole[name]).all() for name in whole)


def test_new_op_is_differentiated_rightly_and_learns(load: Load) -> None:
    example = load("new_op")
    differences, losses = example.main()
    assert len(differences) == 3
    assert all(difference < 1e-9 for difference in differences.values())
    assert losses[-1] < 0.005
    x = np.array([-1.5, 0.5])
    slope = (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2  # the quotient rule
    np.testing.assert_allclose(np.diag(tg.jacobian(example.swish)(x)), slope, rtol=1e-12)


def test_new_op_check_notices_a_wrong_derivative(load: Load) -> None:
    example = load("new_op")

    @example.swish.derivative("x", formula="wrong")
    def _(g, *, x):
        return g * tg.sigmoid(x)

    assert max(example.check().values()) > 0.1


def test_control_flow_is_differentiated_as_it_ran(load: Load) -> None:
    result = load("control_flow").main()
    for a, (root, slope) in result["newton"].items():
        assert root == pytest.approx(math.sqrt(a), rel=1e-12)
        assert slope == pytest.approx(0.5 / math.sqrt(a), rel=1e-9)
    assert result["pieces"] == {-3.0: (5.0, -2.0), 0.25: (0.0625, 0.5), 2.0: (3.0, 2.0)}
    assert result["parity"].keys() == {3, 8, 32, 128}
    assert all(right == (1.0,) for right in result["parity"].values())


def test_recursion_shares_its_weights(load: Load) -> None:
    example = load("control_flow")
    model = example.Parity(rng=np.random.default_rng(0))
    tree = ((1, 0), (1, (0, 1)))
    weight = model.output.weight
    tg.cross_entropy(model(tree), 1).backward()
    at = (0, 3)
    h = 1e-2
    losses = []
    for step in (h, -2 * h):  # up, then down
        weight.data[at] += step
        losses.append(tg.cross_entropy(model(tree), 1).item())
    # four forks use this one weight: its gradient is the sum over all of them
    assert weight.grad[at] == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-2)


def test_a_vanishing_gradient_is_found_and_cured(load: Load, tmp_path: Path) -> None:
    results = load("vanishing_gradient").main(tmp_path)
    layers, loss = results["sigmoid"]
    norms = [norm for _, norm, _ in layers]
    assert norms == sorted(norms)  # it shrinks from the loss to the input
    assert norms[0] < 1e-5 * norms[-1]
    marked = [name for name, _, marks in layers if marks == "vanishing"]
    assert marked == ["fc.0", "fc.1", "fc.2"]
    assert loss > 0.98 * math.log(10)  # as good as guessing
    layers, loss = results["relu"]
    norms = [norm for _, norm, _ in layers]
    assert max(norms) < 3 * min(norms)
    assert not any(marks for _, _, marks in layers)
    assert loss < 0.2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["relu.svg", "sigmoid.svg"]


@lengthy
def test_an_experiment_of_ones_own_goes_on_where_it_was(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tinygrad_cnn.experiments.runs import ExperimentRun, FinishedRuns

    example = load("own_experiment")
    example.experiment = replace(example.experiment, seeds=1)  # type: ignore[attr-defined]
    results = example.main(tmp_path)
    accuracies = [np.median(results.last(width, "test_accuracy")) for width in example.WIDTHS]
    assert accuracies == sorted(accuracies)  # the wider, the better
    assert results.variants == (*example.WIDTHS, "times")
    assert results.seeds == (0,)
    assert results.curve("times", "seconds of 8 wide").median[0] > 0.0
    said = capsys.readouterr().out
    assert said.count(" done") == 4
    assert "128 wide: 9" in said
    FinishedRuns(tmp_path).path(ExperimentRun(example.experiment, "8 wide", 0)).unlink()
    assert len(example.main(tmp_path).rows) == len(results.rows)
    assert capsys.readouterr().out.count(" done") == 1


def test_a_dice_loss_finds_disks_and_a_contrastive_loss_groups_digits(load: Load) -> None:
    example = load("own_losses")
    masks = np.zeros((2, 1, 4, 4), "f4")
    masks[:, :, :2] = 1.0
    sure = tg.Tensor(np.where(masks[::-1] > 0, 50.0, -50.0))
    assert example.dice(sure, masks).item() == pytest.approx(0.0, abs=1e-6)
    a, b = tg.Tensor([[0.0, 0.0], [0.0, 0.0]]), tg.Tensor([[0.6, 0.0], [0.6, 0.0]])
    loss = example.contrastive(a, b, np.array([True, False])).item()
    assert loss == pytest.approx((0.6**2 + 0.4**2) / 2, rel=1e-4)
    (before, after), (within, between) = example.main()
    assert before > 0.7
    assert after < 0.4
    assert within < 0.5 * between


def test_a_neuron_has_its_gradients_and_moons_are_separated(load: Load) -> None:
    gradients, losses, accuracy = load("moons").main()
    slope = 1 - math.tanh(1.0) ** 2
    expected = {"x1": -3 * slope, "w1": 2 * slope, "x2": slope, "w2": 0.0, "b": slope}
    assert gradients == pytest.approx(expected, rel=1e-12)
    assert losses[-1] < 0.05
    assert accuracy > 0.98


def test_nielsens_network_learns_and_its_backprop_equals_autograd(load: Load) -> None:
    history, difference = load("nielsen_network").main(epochs=1, examples=3000)
    assert history[0] > 1600  # of 2,000
    assert difference < 1e-6


def test_softmax_regression_and_a_perceptron_from_scratch_learn(load: Load) -> None:
    for history, accuracy in load("softmax_from_scratch").main(epochs=1).values():
        assert history[0] < math.log(10)
        assert accuracy > 0.75


def test_a_convnet_in_plain_numpy_is_differentiated_and_learns(load: Load) -> None:
    history, accuracy, (predicted, measured) = load("numpy_convnet").main(1, examples=1500)
    assert predicted == pytest.approx(measured, rel=1e-5)
    assert history[0] < math.log(10)
    assert accuracy > 0.8


def test_layers_by_hand_equal_autograd_and_a_mistake_is_noticed(load: Load) -> None:
    example = load("layers_by_hand")
    results = example.main()
    assert len(results) == 6
    assert max(map(max, results.values())) < 1e-13
    wrong = example.check(tg.relu, lambda g, x: (g * (x < 0),), np.array([-1.0, 2.0]))
    assert wrong[0] > 0.1


def test_a_variational_autoencoder_learns_digits(load: Load) -> None:
    example = load("digit_vae")
    history, made = example.main(epochs=2, examples=1500)
    assert sum(history[1]) < 0.75 * sum(history[0])
    assert history[1][1] > 1.0  # the code is used
    assert made.shape == (4, 28, 28)
    assert made.max() > 0.5 > made.mean()


def test_wgan_gp_penalizes_the_norm_of_a_gradient(load: Load) -> None:
    example = load("wgan_gp")
    critic = tg.nn.Linear(2, 1, rng=np.random.default_rng(0))
    critic.weight.data[:] = [[3.0, 4.0]]  # its slope has the norm 5 everywhere
    penalty = example.gradient_penalty(critic, np.zeros((6, 2), "f4"))
    penalty.backward()
    assert penalty.item() == pytest.approx(16.0)
    np.testing.assert_allclose(critic.weight.grad, [[2 * 4 * 0.6, 2 * 4 * 0.8]], rtol=1e-5)
    estimates, before, after = example.main(steps=80)
    assert np.mean(estimates[-50:]) < 0.5 * np.mean(estimates[5:55])
    assert after > before


def test_triplets_group_digits_also_of_classes_never_seen(load: Load) -> None:
    losses, seen, unseen = load("triplet_embedding").main(steps=50)
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    assert seen > 0.85
    assert unseen > 0.8


def test_a_network_beats_interpolation(load: Load) -> None:
    _, by_interpolation, by_network = load("super_resolution").main(steps=40)
    assert by_network > by_interpolation + 2.0  # decibels


def test_an_image_takes_a_style(load: Load) -> None:
    image, of_content, of_style = load("neural_style").main(steps=4, size=32)
    assert image.shape == (1, 3, 32, 32)
    assert of_content[0] == 0.0  # it starts as the picture
    assert of_style[-1] < 0.3 * of_style[0]


def test_a_network_gives_new_pictures_a_style(load: Load, few_shapes: None) -> None:
    example = load("fast_style_transfer")
    losses, before, after = example.main(steps=20)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert after < before


def test_a_spatial_transformer_turns_images_and_learns(load: Load) -> None:
    example = load("spatial_transformer")
    image = np.random.default_rng(0).random((1, 1, 28, 28), "f4")
    turned = example.rotate(image, tg.Tensor(np.array([np.pi / 2], "f4"))).numpy()
    np.testing.assert_allclose(turned[0, 0], np.rot90(image[0, 0]), atol=1e-4)
    losses, accuracy, _ = example.main(steps=60)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert accuracy > 0.4


def test_attacks_lower_the_accuracy_and_robust_training_helps(load: Load) -> None:
    example = load("adversarial_attack")
    results = example.main(steps=80)
    usual, robust = results["usual"], results["robust"]
    assert usual["clean"] > 0.75
    assert usual["noise"] > usual["clean"] - 0.1
    assert usual["PGD"] <= usual["FGSM"] < usual["clean"] - 0.3
    assert robust["FGSM"] > usual["FGSM"] + 0.1
    images = np.full((2, 1, 28, 28), 0.05, "f4")
    moved = example.pgd(example.convnet(), images, np.array([1, 2]))
    assert np.abs(moved - images).max() <= example.EPS + 1e-6
    assert moved.min() >= 0.0


def test_maps_of_a_decision_agree_with_what_defines_them(load: Load) -> None:
    example = load("saliency_maps")
    maps, total, difference = example.main(steps=60)
    assert total == pytest.approx(difference, rel=0.02)  # completeness
    assert {values.shape for values in maps.values()} == {(28, 28), (14, 14)}
    assert maps["Grad-CAM"].min() >= 0.0
    assert maps["Grad-CAM"].max() > 0.0

    tg.manual_seed(0)
    model, image = example.Convnet().double(), np.random.default_rng(0).random((1, 1, 28, 28))
    with tg.no_grad():
        score = model(image).numpy()[0]
    signed = [example.grad_cam(model, image, k).sum() for k in range(10)]  # biases are 0
    assert all(total >= value - 1e-4 for total, value in zip(signed, score, strict=True))
    slope = example.saliency(model, image, 3)
    h = 1e-6 * slope / np.abs(slope).max()
    with tg.no_grad():
        moved = (model(image + h) - model(image - h)).numpy()[0, 3]
    assert (2 * h * slope).sum() == pytest.approx(moved, rel=1e-5)
    assert not np.allclose(example.guided_backprop(model, image, 3), slope)
    np.testing.assert_array_equal(example.saliency(model, image, 3), slope)  # hooks are removed


def test_a_text_cnn_sees_the_order_of_words(load: Load) -> None:
    results = load("text_cnn").main(steps=80)
    assert results["text CNN"][1] > 0.9
    assert results["bag of words"][1] < 0.6


def test_a_convnext_learns_shapes(load: Load, few_shapes: None) -> None:
    example = load("convnext")
    losses, accuracy = example.main(steps=30, batch_size=16)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert accuracy > 0.15
    block = example.Block(4, drop=0.5, scale=1.0)
    x = tg.Tensor(np.random.default_rng(0).normal(size=(50, 4, 3, 3)).astype("f4"))
    skipped = (block(x).numpy() == x.numpy()).all(axis=(1, 2, 3))
    assert 10 < skipped.sum() < 40
    assert not (block.eval()(x).numpy() == x.numpy()).all(axis=(1, 2, 3)).any()


def test_a_residual_network_learns_shapes(load: Load, few_shapes: None) -> None:
    tg.manual_seed(0)
    model = tg.nn.models.ResNet(10, depths=(1, 1), widths=(8, 16))
    history, accuracies = load("resnet_shapes").main(epochs=2, model=model)
    assert history[-1] < 0.95 * history[0]
    assert accuracies[-1] > 0.14


def test_a_unet_marks_shapes(load: Load) -> None:
    example = load("unet_segmentation")
    masks = np.zeros((2, 1, 4, 4), "f4")
    masks[:, :, :2] = 1.0
    sure = np.where(masks > 0, 50.0, -50.0).astype("f4")
    assert example.iou(sure, masks) == 1.0
    assert example.dice_loss(tg.Tensor(sure), masks).item() == pytest.approx(0.0, abs=1e-6)
    half = np.array(sure)
    half[:, :, 1] = -50.0
    assert example.iou(half, masks) == 0.5
    losses, share = example.main(steps=50, width=4)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert share > 0.3


def test_a_dcgan_makes_dark_images_as_digits_are(load: Load) -> None:
    losses, shares, images = load("dcgan").main(steps=50, width=4, batch_size=16)
    assert np.isfinite(losses).all()
    assert np.mean(shares[-5:]) > 0.9  # the discriminator learns
    assert images.shape == (4, 32, 32)
    assert images.mean() < -0.02  # darker than at the start
