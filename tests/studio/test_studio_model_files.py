"""Model files: what goes in comes out bit by bit, and nothing hostile does any harm."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import load, save
from support.studio_models import bits, file_of, untrained, with_settings, with_text, with_weights

from tinygrad_cnn.nn import ACTIVATIONS, POOLINGS
from tinygrad_cnn.studio.model_files import UnusableModelError, pack, read, unpack
from tinygrad_cnn.studio.training.requests import MODEL_OPTIONS
from tinygrad_cnn.train import TrainedModel

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "activation": st.sampled_from(list(ACTIVATIONS)),
    "pooling": st.sampled_from(list(POOLINGS)),
    "hidden": st.lists(st.integers(1, 40), max_size=4),
    "batch_norm": st.booleans(),
    "dropout": st.floats(0.0, 0.9),
}
chosen = st.sampled_from(sorted(MODEL_OPTIONS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.fixed_dictionaries({}, optional={key: VALUES[key] for key in MODEL_OPTIONS[name]}),
    )
)


@given(model=chosen, seed=st.integers(0, 2**64))
@example(model=("mlp", {"hidden": []}), seed=0)
def test_a_model_comes_back_bit_by_bit(model: tuple[str, dict[str, Any]], seed: int) -> None:
    name, options = model
    made = untrained(name, seed, **options)
    # Values as a training may leave them: tiny, negative zero, of no simple form.
    for parameter in made.model.parameters():
        parameter._array.flat[:3] = [1e-42, -0.0, 1 / 3][: parameter._array.size]
    contents = pack(made.settings, made.model.state_dict())
    run = read(contents)
    assert run.settings == made.settings
    assert bits(run.model) == bits(made.model)
    assert not run.model.training
    images = made.split.test.images[:5]
    expected = TrainedModel(made.model, made.settings).probabilities(images)
    np.testing.assert_array_equal(run.probabilities(images), expected)
    settings, weights = unpack(contents)
    assert pack(settings, weights) == contents


def test_arrays_that_lie_transposed_are_written_as_they_are_read() -> None:
    made = untrained(hidden=[4])
    state = {name: np.asfortranarray(a) for name, a in made.model.state_dict().items()}
    assert not state["fc.0.weight"].flags.c_contiguous
    assert bits(read(pack(made.settings, state)).model) == bits(made.model)


# --- what is refused -----------------------------------------------------------------------------


def put(*way: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(settings: dict[str, Any]) -> None:
        for step in way[:-1]:
            settings = settings[step]
        settings[way[-1]] = value

    return change


def hidden(*widths: Any) -> Callable[[dict[str, Any]], None]:
    return put("model", "options", value={"hidden": list(widths)})


SETTINGS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another model": (put("model", "name", value="resnet"), "the model is 'resnet', expected one"),
    "own code": (
        lambda s: s["model"].update(file="model.py", sha256="0" * 64),
        "the model is 'mlp' with code of its own",
    ),
    "own class": (
        lambda s: s["model"].update(name="Net", file="../../etc/passwd", sha256="0" * 64),
        "the model is 'Net' with code of its own",
    ),
    "unknown option": (
        put("model", "options", value={"bias": "per_connection", "rng": 3}),
        "mlp with the options 'bias', 'rng', expected none but activation, hidden",
    ),
    "odd activation": (put("model", "options", value={"activation": ["relu"]}), "activation is"),
    "hidden of no list": (put("model", "options", value={"hidden": 7}), "hidden is 7, expected"),
    "hidden of gigabytes": (hidden(10**6, 10**6), r"hidden\[0\] is 1000000, expected 1024 at most"),
    "hidden of too many": (hidden(*[3] * 10_000), "expected a list of 4 at most"),
    "hidden below one": (hidden(0), "mlp: .*hidden.* is 0, expected an integer"),
    "hidden of half": (hidden(1.5), "is 1.5, expected an integer"),
    "another width": (hidden(7), "do not fit the settings: .*fc.0.weight is float32 of shape"),
    "one layer more": (hidden(30, 30), r"fc\.2\.weight is missing"),
    "other classes": (
        put("data", "classes", value=list("abcdefghij")),
        "for one of 10 classes, 'a' to 'j'; expected .* '0' to '9'",
    ),
    "two classes": (put("data", "classes", value=["0", "1"]), "one of 2 classes"),
    "no classes": (put("data", "classes", value=[]), "expected classes"),
    "other images": (put("data", "input_shape", value=[3, 32, 32]), r"shape \(3, 32, 32\)|channel"),
    "huge images": (put("data", "input_shape", value=[1, 10**6, 10**6]), "expected at most 67,"),
    "a path": (put("data", "source", value="/etc"), "trained with '/etc', expected one of .*igits"),
    "another preparation": (
        put("data", "preparation", value="image"),
        "images were prepared as 'image', expected 'mnist'",
    ),
    "a source of no text": (put("data", "source", value=["digits"]), "source is .* expected str"),
    "no deviation": (put("data", "std", value=[0.0]), "expected positive numbers"),
    "a tiny deviation": (put("data", "std", value=[1e-300]), "returns NaN or infinite numbers"),
    "a mean of text": (put("data", "mean", value=["x"]), r"mean\[0\] is 'x', expected float"),
    "a number of text": (put("data", "training_images", value="many"), "training_images is 'many'"),
    "a name of two lines": (put("data", "name", value="a\nb"), "a control character"),
    "half a surrogate pair": (put("versions", value={"numpy": "\ud800"}), "surrogates"),
    "versions of no text": (put("versions", value={"numpy": 2}), "is 2, expected str"),
    "versions of no names": (put("versions", value=[1, 2]), "the settings are invalid"),
    "another optimizer": (put("training", "optimizer", value="magic"), "optimizer is 'magic'"),
    "no epochs": (put("training", "epochs", value=0), "epochs is 0"),
    "no format": (put("format", value="x"), "this is not a settings file: it has no format"),
    "no training": (put("training", value=None), "TrainingSettings: got None"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_be_used_are_refused(case: str) -> None:
    change, message = SETTINGS[case]
    with pytest.raises(UnusableModelError, match=message):
        read(with_settings(file_of(), change))


WEIGHTS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "one is missing": (lambda a: a.pop("fc.0.bias"), r"fc\.0\.bias is missing"),
    "one too many": (lambda a: a.update(more=np.zeros(3)), "more is unexpected"),
    "another shape": (
        lambda a: a.update({"fc.1.bias": np.zeros(11, "f4")}),
        r"fc\.1\.bias is float32 of shape \(11,\), expected float32 of shape \(10,\)",
    ),
    "integers": (
        lambda a: a.update({"fc.1.bias": np.zeros(10, "i4")}),
        r"fc\.1\.bias is int32 of shape",
    ),
    "NaN": (lambda a: a["fc.0.weight"].fill(np.nan), "fc.0.weight have NaN or infinite"),
    "infinite": (lambda a: a["fc.1.weight"].fill(-np.inf), "fc.1.weight have NaN or infinite"),
    "one of many": (
        lambda a: a["fc.0.weight"].__setitem__((3, 400), np.nan),
        "fc.0.weight have NaN or infinite",
    ),
    "beyond all measure": (
        lambda a: a["fc.1.weight"].fill(3e38),
        "returns NaN or infinite numbers",
    ),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_cannot_be_used_are_refused(case: str) -> None:
    change, message = WEIGHTS[case]
    with pytest.raises(UnusableModelError, match=message):
        read(with_weights(file_of(), change))


def test_weights_of_another_precision_are_converted_with_a_word() -> None:
    def change(arrays: dict[str, Any]) -> None:
        arrays["fc.1.bias"] = np.zeros(10, "f8")

    with pytest.warns(UserWarning, match="1 array from float64 to float32"):
        run = read(with_weights(file_of(), change))
    assert run.model.state_dict()["fc.1.bias"].dtype == np.float32


def header(size: int, text: bytes = b"", rest: int = 0) -> bytes:
    return size.to_bytes(8, "little") + text + bytes(rest)


def tensor(dtype: str, shape: list[int], end: int) -> bytes:
    told = {
        "__metadata__": {"settings": "{}"},
        "w": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]},
    }
    text = json.dumps(told).encode()
    return header(len(text), text, end)


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes are not a complete safetensors file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a complete safetensors file"),
    "a pickle": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "not a complete safetensors file"),
    "a header of exabytes": (header(2**63, b"{}"), "not a complete safetensors file"),
    "a header of megabytes": (header(2**20, b" " * 2**20), "the header has 1048576 bytes"),
    "no header": (header(0), "not a complete safetensors file"),
    "a deep header": (
        header(200_000, b'{"a":' + b"[" * 199_995),
        "not a complete safetensors file",
    ),
    "no settings": (save({"w": np.zeros(3, "f4")}), "the file's header has no settings"),
    "other metadata": (save({"w": np.zeros(3)}, {"format": "pt"}), "has no settings"),
    "a shape of exabytes": (tensor("F32", [2**40, 2**40], 4), "not a complete safetensors file"),
    "bfloat16": (tensor("BF16", [2], 4), "weights have the type 'BF16'|settings are invalid"),
    "no JSON": (with_text(file_of(), "{"), "the settings are invalid"),
    "no object": (with_text(file_of(), "[]"), "the settings are invalid"),
    "NaN settings": (with_text(file_of(), '{"format": NaN}'), "the settings are invalid"),
    "deep settings": (with_text(file_of(), "[" * 60_000), "the settings are invalid"),
    "long settings": (with_text(file_of(), " " * 70_000), "settings have 70000 characters"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_models_are_refused(case: str) -> None:
    contents, message = FILES[case]
    with pytest.raises(UnusableModelError, match=message):
        read(contents)


def test_a_file_beyond_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = len(file_of()) - 1
    monkeypatch.setattr("tinygrad_cnn.studio.model_files.WEIGHTS_BYTES", limit)
    with pytest.raises(UnusableModelError, match=f"bytes, expected {limit} at most"):
        read(file_of())


@given(cut=st.integers(0, len(file_of()) - 1))
def test_a_truncated_file_is_refused(cut: int) -> None:
    with pytest.raises(UnusableModelError, match="not a complete safetensors file"):
        read(file_of()[:cut])


@given(at=st.integers(0, 1500) | st.integers(0, len(file_of()) - 1), by=st.integers(1, 255))
def test_a_damaged_file_is_refused_or_read_as_what_it_now_is(at: int, by: int) -> None:
    damaged = bytearray(file_of())
    damaged[at] ^= by
    try:
        model, settings = read(bytes(damaged))
    except UnusableModelError:
        return
    assert pack(settings, model.state_dict()) == pack(settings, load(bytes(damaged)))


@given(contents=st.binary(max_size=300))
def test_noise_is_refused(contents: bytes) -> None:
    with pytest.raises(UnusableModelError):
        read(contents)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(data=st.data(), value=values)
def test_settings_with_anything_anywhere_are_refused_or_kept(
    data: st.DataObject, value: Any
) -> None:
    def change(settings: dict[str, Any]) -> None:
        part = settings
        while True:
            key = data.draw(st.sampled_from(sorted(part)))
            if not (isinstance(part[key], dict) and part[key]) or data.draw(st.booleans()):
                break
            part = part[key]
        part[key] = copy.deepcopy(value)

    changed = with_settings(file_of(), change)
    try:
        model, settings = read(changed)
    except UnusableModelError:
        return
    assert read(pack(settings, model.state_dict())).settings == settings


@pytest.mark.parametrize(
    "contents",
    [
        with_settings(file_of(), hidden(10**9)),
        with_settings(file_of(), hidden(*[1024] * 100)),
        with_settings(file_of(), put("data", "input_shape", value=[1, 10**5, 10**5])),
        header(2**62, b"{}"),
    ],
)
def test_nothing_large_is_made_for_a_hostile_file(contents: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnusableModelError):
            read(contents)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 << 20
