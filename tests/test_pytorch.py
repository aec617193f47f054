"""Names, signatures, state dicts, optimizers and schedules are those of PyTorch 2.13.

`support/pytorch_recorded.py` recorded what PyTorch has and computes.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from support.pytorch_recorded import (
    COMPUTED,
    FILE,
    GROUPS,
    LOSSES,
    OPTIMIZERS,
    SAMPLED,
    SCHEDULES,
    SEARCHES,
    SIGNATURES,
    descent,
    examples,
    images,
    layers,
    maps,
    path,
    problem,
    rates,
    rates_of_groups,
    two_groups,
)

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

RECORDED = dict(np.load(FILE))
NAMES = {name: set(names) for name, names in json.loads(str(RECORDED["names"])).items()}
OWN = {
    "nn": {"ACTIVATIONS", "GlobalAvgPool2d", "LeNet5", "LoadResult", "MLP", "MODELS", "POOLINGS",
           "SizedLayer", "Summary", "SummaryRow", "VGG", "build", "models"},
    "optim": {"ParamGroup"},
    "Module": {"astype", "input_shape", "summary", "training"},  # the last is in instances there
    "Optimizer": {"coefficients", "compiled_update", "elementwise", "lr", "of_group", "options",
                  "planned", "slots", "update", "update_all"},
}  # fmt: skip
"""Names that PyTorch has no counterpart of."""
OWN_PARAMETERS = {
    "at_zero", "axis", "rng", "init", "bias_init", "temperature", "wide_padding",
    "ignore_mismatched",
}  # fmt: skip


def ours(name: str) -> Any:
    """Return what stands for a name of PyTorch: what we have flat, it has in modules."""
    parts = name.replace("nn.utils", "optim").replace("optim.lr_scheduler", "optim").split(".")
    value: Any = tg
    for part in parts:
        value = getattr(value, part)
    return value


def test_every_public_name_is_pytorchs_or_has_no_counterpart_there() -> None:
    kinds = ("optim", "optim.lr_scheduler", "optim.swa_utils", "nn.utils")
    flat = set().union(*(NAMES[kind] for kind in kinds))
    assert set(nn.__all__) - NAMES["nn"] == OWN["nn"]
    assert set(optim.__all__) - flat == OWN["optim"]
    for kind, theirs in (
        (nn.Module, NAMES["nn.Module"]),
        (optim.Optimizer, NAMES["optim.Optimizer"]),
    ):
        public = {name for name in dir(kind) if not name.startswith("_")}
        assert public - theirs <= OWN[kind.__name__]


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_has_pytorchs_order_names_and_defaults(name: str) -> None:
    theirs = json.loads(str(RECORDED["signatures"]))[name]
    defaults = {parameter: default for parameter, _, default in theirs}
    places = [parameter for parameter, kind, _ in theirs if kind != "KEYWORD_ONLY"]
    for i, parameter in enumerate(inspect.signature(ours(name)).parameters.values()):
        if parameter.name in OWN_PARAMETERS:
            continue
        if parameter.kind is not parameter.KEYWORD_ONLY:
            assert places[i] == parameter.name
        default = None if parameter.default is parameter.empty else parameter.default
        expected = defaults[parameter.name]
        expected = tuple(expected) if isinstance(expected, list) else expected
        assert default == expected or parameter.name == "dim"


def test_a_state_dict_of_pytorch_loads_and_the_model_computes_the_same() -> None:
    state = {when: {} for when in ("before", "after")}  # type: dict[str, dict[str, Any]]
    for key, array in RECORDED.items():
        when, slash, name = key.partition("/")
        if slash and when in state:
            state[when][name] = array
    model = nn.Sequential(*layers(nn))
    assert model.load_state_dict(state["before"]) == ([], [])
    for _ in range(2):
        y = model(RECORDED["x"])
    np.testing.assert_allclose(y.numpy(), RECORDED["trained"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.eval()(RECORDED["x"]).numpy(), RECORDED["evaluated"], rtol=1e-4, atol=1e-5
    )
    mine = model.state_dict()
    assert list(mine) == list(state["after"])  # so that PyTorch loads it
    for name, array in state["after"].items():
        assert (mine[name].shape, mine[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_allclose(mine[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    assert mine["1.num_batches_tracked"] == 2


@pytest.mark.parametrize("name", COMPUTED)
def test_a_layer_and_its_derivatives_are_pytorchs(name: str) -> None:
    x, g = images()
    leaf = tg.Tensor(x, requires_grad=True)
    with tg.default_dtype("f8"):
        y = COMPUTED[name](nn)(leaf**3)
    flow = np.resize(g, y.shape)
    (first,) = tg.grad(y, leaf, gradient=flow, create_graph=True)
    (second,) = tg.grad(first, leaf, gradient=g)
    for part, found in (("y", y.numpy()), ("first", first.numpy()), ("second", second)):
        np.testing.assert_allclose(found, RECORDED[f"{part}/{name}"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_are_pytorchs(name: str) -> None:
    make, kind = LOSSES[name]
    x, *others = examples(kind)
    leaf = tg.Tensor(x, requires_grad=True)
    loss = make(nn, np.array)(leaf, *others)
    np.testing.assert_allclose(loss.numpy(), RECORDED[f"loss/{name}"], rtol=1e-11, atol=1e-12)
    if name != "BCE-saturated":  # we take the derivative there, or 0, and PyTorch 10¹² for ∞
        (slope,) = tg.grad(loss.sum(), leaf)
        np.testing.assert_allclose(slope, RECORDED[f"slope/{name}"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sampled_image_and_its_gradients_are_pytorchs(name: str) -> None:
    x, g = images()
    leaf, theta = (tg.Tensor(array, requires_grad=True) for array in (x, maps()))
    mode, border, corners = SAMPLED[name]
    y = tg.grid_sample(leaf, tg.affine_grid(theta, x.shape, corners), mode, border, corners)
    expected = RECORDED[f"sampled/{name}"]
    found = [y.numpy(), *tg.grad(y, [leaf, theta][: 2 - (mode == "nearest")], gradient=g)]
    flat = np.concatenate([part.ravel() for part in found])
    np.testing.assert_allclose(flat, expected[: flat.size], rtol=1e-9, atol=1e-12)
    assert not expected[flat.size :].any()  # no gradient flows through the nearest pixel


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_pytorchs_way(name: str) -> None:
    kind, options = OPTIMIZERS[name]
    start, gradients = problem()
    p = nn.Parameter(start)
    found = path(getattr(optim, kind)([p], **options), p, gradients, p.numpy().copy)
    np.testing.assert_allclose(found, RECORDED[f"path/{name}"], rtol=1e-12)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_gives_pytorchs_rates_and_momenta(name: str, kind: str) -> None:
    optimizer = getattr(optim, kind)([nn.Parameter([0.0])], lr=0.1)
    found = np.array(rates(optim, optimizer, name))
    expected = RECORDED[f"rates/{name}/{kind}"]
    # The peak of a cycle is up to one of 120 steps later.
    atol = 2.0 / 120 * (np.pi / 2) if name in ("cycle", "lines") else 1e-12
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=atol)


def test_gradients_are_clipped_to_pytorchs() -> None:
    start, gradients = problem()
    p = nn.Parameter(start)
    p.grad = gradients[0].copy()
    assert optim.clip_grad_norm_([p], 0.5) == pytest.approx(float(RECORDED["norm"]))
    np.testing.assert_allclose(p.grad, RECORDED["clipped"], rtol=1e-5)


def test_parameter_groups_go_pytorchs_way() -> None:
    optimizer, parameters = two_groups(optim, nn.Parameter)
    _, gradients = problem()
    parameters[0].grad, parameters[1].grad = gradients[0], gradients[1][0].copy()
    for _ in range(3):
        optimizer.step()
    found = np.concatenate([p.numpy().ravel() for p in parameters])
    np.testing.assert_allclose(found, RECORDED["groups"], rtol=1e-12)


@pytest.mark.parametrize("name", GROUPS)
def test_schedules_of_groups_go_pytorchs_way(name: str) -> None:
    schedule = GROUPS[name](optim, two_groups(optim, nn.Parameter)[0])
    expected = RECORDED[f"group rates/{name}"]
    np.testing.assert_allclose(rates_of_groups(schedule), expected, rtol=1e-12)


@pytest.mark.parametrize("name", SEARCHES)
def test_lbfgs_goes_pytorchs_way(name: str) -> None:
    """The same losses, the same end, the same number of calls."""
    x = nn.Parameter(np.array([-1.2, 1.0, 0.7]))
    found = descent(optim.LBFGS([x], **SEARCHES[name]), x, lambda x: x.numpy())
    np.testing.assert_allclose(found, RECORDED[f"search/{name}"], rtol=1e-9)
