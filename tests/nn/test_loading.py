"""State dicts of other programs: dtypes, layouts, names, and layers of other shapes."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import tinygrad_cnn as tg
from tinygrad_cnn import nn

FLOATS = ["f2", "f4", "f8"]


class Holder(nn.Module):
    """A parameter, a buffer of integers and a number."""

    def __init__(self, dtype: str = "f4", shape: tuple[int, ...] = (2, 3)) -> None:
        self.weight = nn.Parameter(np.zeros(shape, dtype))
        self.count = tg.Tensor(np.zeros((), np.int64))


def network(classes: int = 3, seed: int = 0) -> nn.Sequential:
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=rng), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes, rng=rng)
    )


def unchanged(model: nn.Module, before: dict[str, np.ndarray]) -> bool:
    return all(array.tobytes() == before[k].tobytes() for k, array in model.state_dict().items())


# --- dtypes ---------------------------------------------------------------------------------------


@given(
    st.sampled_from(FLOATS),
    st.sampled_from(["f4", "f8"]),
    st_numpy.arrays("f4", (2, 3), elements=st.floats(-65504, 65504, width=16)),
    st.sampled_from(["<", ">"]),
    st.booleans(),
)
def test_floats_of_every_precision_byte_order_and_layout_are_taken(
    theirs: str, ours: str, values: np.ndarray, order: str, transposed: bool
) -> None:
    array = np.asarray(values, order + theirs, order="F" if transposed else "C")
    model = Holder(ours)
    state = {"weight": array, "count": np.int64(3)}
    if theirs == ours:
        model.load_state_dict(state)
    else:
        with pytest.warns(UserWarning, match="converted to the model's dtype: 1 array from float"):
            model.load_state_dict(state)
    loaded = model.state_dict()["weight"]
    assert (loaded.dtype, loaded.flags.c_contiguous) == (np.dtype(ours), True)
    np.testing.assert_array_equal(loaded, values.astype(theirs))  # exact: all are float16
    assert model.count.item() == 3


def test_not_a_number_and_infinity_are_values_like_others() -> None:
    special = np.array([[np.nan, np.inf, -np.inf], [-0.0, 1e-40, 1.0]])
    for dtype in ("f4", "f8"):
        model = Holder(dtype)
        state = {"weight": special.astype(dtype), "count": 0}
        model.load_state_dict(state)
        assert model.state_dict()["weight"].tobytes() == state["weight"].tobytes()
    with pytest.warns(UserWarning, match="1 array from float64 to float32, rounded; a model in"):
        Holder().load_state_dict({"weight": special, "count": 0})


def test_bfloat16_of_a_package_that_adds_it_to_numpy_is_taken() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    values = np.array([[0.0, -1.5, np.inf], [np.nan, 3e38, 1e-40]], "f4").astype(bfloat16)
    model = Holder()
    model.load_state_dict({"weight": values, "count": 0})
    assert model.weight.numpy().tobytes() == values.astype("f4").tobytes()


def test_one_warning_tells_all_conversions_and_a_float64_model_needs_none() -> None:
    model = network()
    state = {
        name: array.astype({2: "f2", 4: "f2"}.get(array.ndim, "f8"))
        for name, array in model.state_dict().items()
        if array.ndim
    }
    with pytest.warns(UserWarning, match="converted") as caught:
        model.load_state_dict(state)
    assert [str(warning.message) for warning in caught] == [
        "Sequential.load_state_dict: converted to the model's dtype: 2 arrays from float16 to "
        "float32; 6 arrays from float64 to float32, rounded; a model in float64, by model.double(),"
        " takes them as they are"
    ]
    assert caught[0].filename == __file__
    wide = {name: array.astype("f8") / 3 for name, array in state.items()}
    model.double().load_state_dict(wide)
    assert unchanged(model, {**model.state_dict(), **wide})


def test_a_warning_made_an_error_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(None, 2))
    state = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            model.load_state_dict(state)
    assert model[0].in_features is None
    with pytest.warns(UserWarning, match="2 arrays from float64"):
        model.load_state_dict(state)
    assert model[0].in_features == 3


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 3), np.int64), r"weight is int64 of shape \(2, 3\), expected float32 of"),
        (np.ones((2, 3), bool), "weight is bool of"),
        (np.ones((2, 3), complex), "weight is complex128 of"),
        (
            np.array([[-1e300, 1.0, np.inf]] * 2),
            r"weight is float64 .*all its values, from -1e\+300 to 1\.0",
        ),
        (np.ones((2, 3, 1), "f4"), r"weight is float32 of shape \(2, 3, 1\), expected float32 of"),
        (np.ones(6, "f4"), r"weight is float32 of shape \(6,\)"),
        (np.float32(1), r"weight is float32 of shape \(\)"),
    ],
)
def test_what_cannot_be_converted_is_refused(array: Any, message: str) -> None:
    model = Holder()
    with pytest.raises(ValueError, match=message):
        model.load_state_dict({"weight": array, "count": 1})
    assert model.count.item() == 0


@pytest.mark.parametrize("dtype", ["i4", "u1", "u8"])
def test_integers_of_another_size_are_taken_if_they_fit(dtype: str) -> None:
    model = Holder()
    with pytest.warns(UserWarning, match=f"1 array from {np.dtype(dtype)} to int64$"):
        model.load_state_dict({"weight": np.zeros((2, 3), "f4"), "count": np.array(7, dtype)})
    assert model.count.item() == 7
    state = {"weight": np.zeros((2, 3), "f4"), "count": np.array(2**63, np.uint64)}
    with pytest.raises(ValueError, match=r"count is uint64 of .*to 9223372036854775808; noth"):
        model.load_state_dict(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1], "state_dict is list, expected a dict of arrays"),
        ("model.safetensors", r"state_dict is str, expected a dict of arrays; tg\.load reads"),
        ({"model": {}, "epoch": 3}, r"has dicts, under 'model', .*pass .*state_dict\['model'\]"),
        ({"weight": "text"}, "weight is str, expected an array of numbers"),
        ({"weight": None}, "weight is NoneType, expected an array of numbers"),
        ({"weight": [[1], [2, 3]]}, "weight is list, expected an array of numbers"),
        ({3: np.zeros(1)}, "state_dict has the name 3, expected a str"),
    ],
)
def test_what_is_no_dict_of_arrays_is_refused(state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"Holder\.load_state_dict: .*{message}"):
        Holder().load_state_dict(state)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.net."])
@pytest.mark.parametrize("more", [{}, {"loss.weight": np.ones(1, "f4")}])
def test_a_prefix_of_all_names_is_found_and_the_message_mends_it(
    prefix: str, more: dict[str, np.ndarray]
) -> None:
    model, theirs = network(), network(3, 1).state_dict()
    state_dict = {**{f"{prefix}{name}": array for name, array in theirs.items()}, **more}
    for strict in (True, False):
        with pytest.raises(ValueError, match=f"names start with '{prefix}'") as raised:
            model.load_state_dict(state_dict, strict)
    advice = re.search(r"pass (\{.*\})$", str(raised.value))
    assert advice is not None
    assert model.load_state_dict(eval(advice[1], {"state_dict": state_dict})) == ([], [])
    assert unchanged(model, theirs)


def test_a_prefix_of_the_models_names_is_found() -> None:
    model = nn.Module()
    model.backbone = network()
    state_dict = network(3, 1).state_dict()
    with pytest.raises(ValueError, match=r"the model's names start with 'backbone\.'") as raised:
        model.load_state_dict(state_dict)
    advice = re.search(r"call (model\..*\(state_dict\)), or pass (\{.*\})$", str(raised.value))
    assert advice is not None
    assert eval(advice[1], {"model": model, "state_dict": state_dict}) == ([], [])
    assert model.load_state_dict(eval(advice[2], {"state_dict": state_dict})) == ([], [])


def test_other_names_give_no_advice_and_a_long_list_is_cut() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(30)))
    with pytest.raises(ValueError, match=r"0\.weight is missing; .*; and 41 more;") as raised:
        model.load_state_dict({"unknown": np.zeros(1, "f4")})
    assert str(raised.value).endswith("nothing was loaded")
    with pytest.raises(ValueError, match="none of the 1 arrays fits the model; nothing was loaded"):
        model.load_state_dict({"unknown": np.zeros(1, "f4")}, strict=False)
    with pytest.raises(ValueError, match="state_dict is empty; nothing was loaded"):
        model.load_state_dict({}, strict=False)
    assert nn.ReLU().load_state_dict({}) == nn.ReLU().load_state_dict({}, strict=False) == ([], [])


def test_a_shared_parameter_may_have_each_of_its_names() -> None:
    """PyTorch writes it under all names, and ``safetensors.torch.save_model`` under any one."""

    def tied() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        model[2].weight = model[0].weight
        return model

    state, model = {k: a + 1 for k, a in tied().state_dict().items()}, tied()
    assert "2.weight" not in state
    both = {**state, "2.weight": state["0.weight"]}
    other = {("2.weight" if name == "0.weight" else name): a for name, a in state.items()}
    for given_state in (state, both, other):
        model = tied()
        assert model.load_state_dict(given_state) == ([], [])
        assert unchanged(model, state)
        assert model[2].weight is model[0].weight
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"2\.weight and 0\.weight are one parameter of the model"):
        model.load_state_dict({**both, "2.weight": both["2.weight"] + 1})
    assert unchanged(model, before)
    shared = nn.Linear(2, 2)
    twice = nn.Sequential(shared, nn.ReLU(), shared)
    ours = twice.state_dict()
    theirs = {f"{k}.{part}": ours[f"0.{part}"] for k in (0, 2) for part in ("weight", "bias")}
    assert twice.load_state_dict(theirs) == ([], [])
    listed = nn.Module()
    listed.parts = [shared, nn.Module(), shared]
    theirs = {f"parts.{name}": array for name, array in theirs.items()}
    assert listed.load_state_dict(theirs) == ([], [])
    with pytest.raises(ValueError, match=r"parts\.1\.weight is unexpected; parts\.x is unexp"):
        listed.load_state_dict({**theirs, "parts.1.weight": 1.0, "parts.x": 1.0})


# --- other shapes ---------------------------------------------------------------------------------


def test_layers_of_other_shapes_are_skipped_when_asked() -> None:
    trained, model = network(10, 1), network(3)
    before, state = model.state_dict(), trained.state_dict()
    for strict in (True, False):
        with pytest.raises(ValueError, match=r"3\.weight is float32 of shape \(10, 8\)"):
            model.load_state_dict(state, strict)
    assert unchanged(model, before)
    result = model.load_state_dict(state, ignore_mismatched=True)
    missing, unexpected = result
    assert (missing, unexpected) == ([], [])
    assert result.mismatched == {"3.weight": ((10, 8), (3, 8)), "3.bias": ((10,), (3,))}
    assert repr(result) == f"([], [], mismatched={result.mismatched})"
    assert repr(pickle.loads(pickle.dumps(result))) == repr(copy.copy(result)) == repr(result)
    heads = {name: before[name] for name in result.mismatched}
    assert unchanged(model, {**state, **heads})
    with pytest.raises(ValueError, match="extra is unexpected"):
        model.load_state_dict({**state, "extra": np.zeros(1)}, ignore_mismatched=True)
    state.pop("0.bias")
    result = model.load_state_dict({**state, "extra": np.zeros(1)}, False, ignore_mismatched=True)
    assert (result.missing, result.unexpected) == (["0.bias"], ["extra"])


def test_skipping_forgives_no_dtype_and_not_all_shapes() -> None:
    with pytest.raises(ValueError, match="weight is int64"):
        Holder().load_state_dict(
            {"weight": np.ones((2, 3), int), "count": 0}, ignore_mismatched=True
        )
    with pytest.raises(ValueError, match="none of the 2 arrays fits the model"):
        Holder().load_state_dict({"weight": np.ones(3), "count": [1]}, ignore_mismatched=True)
