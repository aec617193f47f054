"""The script that a model is shown with makes that model again, bit by bit."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from support.studio_models import knowing, told

import tinygrad_cnn as tg
from tinygrad_cnn.studio.model_files import read
from tinygrad_cnn.studio.script import script
from tinygrad_cnn.train import ModelSettings, RunFolder, RunSettings, TrainingSettings


def settings_of(name: str = "mlp", options: dict[str, Any] | None = None) -> RunSettings:
    training = TrainingSettings(
        epochs=2,
        batch_size=2000,
        optimizer="nesterov",
        lr=0.1 / 3,
        schedule="cosine",
        augment="shift",
        weight_decay=1e-4,
        seed=2**40 + 7,
    )
    return RunSettings(
        data=told(), model=ModelSettings(name=name, options=options or {}), training=training
    )


def ran(text: str, folder: Path, *arguments: str) -> str:
    (folder / "made.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", "made.py", *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout


def test_the_script_trains_the_same_weights_bit_by_bit(tmp_path: Path) -> None:
    settings = settings_of(options={"hidden": [6, 5], "activation": "tanh"})
    training_run = tg.train.TrainingRun(settings, tg.data.digits())
    with tg.num_threads(1):
        training_run.train(RunFolder.create("here", parent=tmp_path))
    accuracy = training_run.test().accuracy
    said = ran(script("the «first» one", settings, accuracy), tmp_path)
    weights = load_file(tmp_path / "runs/mlp-digits-0/weights.safetensors")
    state = training_run.model.state_dict()
    assert weights.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(weights[name], array)
    expected = f"the «first» one: accuracy {accuracy:.4f} on digits, then {accuracy:.4f}"
    assert expected in said.splitlines()
    assert RunFolder(tmp_path / "runs/mlp-digits-0").read_settings() == settings


def test_a_model_that_was_taught_is_loaded_and_measured(tmp_path: Path) -> None:
    (tmp_path / "model-3.safetensors").write_bytes(knowing(0.5))
    model, settings = read(knowing(0.5))
    data = settings.data
    loader = tg.data.DataLoader(tg.data.digits().test, transform=data.normalize())
    accuracy = tg.train.evaluate(model, loader).accuracy
    text = script("taught", settings, 0.25, taught=True)
    said = ran(text, tmp_path, "model-3.safetensors")
    assert said == f"taught: accuracy {accuracy:.4f} on digits, then 0.2500\n"


def test_a_model_of_other_training_images_is_known_to_be_taught() -> None:
    settings = settings_of()
    more = replace(settings, data=replace(settings.data, training_images=2500))
    assert script("a", more, 0.5) == script("a", more, 0.5, taught=True)
    assert script("a", settings, 0.5) != script("a", settings, 0.5, taught=True)


@given(name=st.text(min_size=1), taught=st.booleans())
@example(name='"""\nimport os', taught=False)
@example(name="{settings} %s \\", taught=True)
@example(name="\u202e'); import os  #", taught=False)
def test_a_name_is_only_ever_text(name: str, taught: bool) -> None:
    plain, named = (ast.parse(script(each, settings_of(), 0.5, taught)) for each in ("plain", name))
    [assigned] = [
        node
        for node in named.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NAME"
    ]
    assert ast.literal_eval(assigned.value) == name
    assigned.value = ast.Constant("plain")
    assert ast.unparse(named) == ast.unparse(plain)


def test_what_cannot_be_seen_is_written_as_an_escape() -> None:
    text = script("a\u202eb\u2066c", settings_of(), 0.5)
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("taught", [False, True])
def test_the_script_imports_public_names_alone(taught: bool) -> None:
    own = set()
    for node in ast.walk(ast.parse(script("a", settings_of(), 0.5, taught))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tinygrad_cnn"):
            public = importlib.import_module(str(node.module)).__all__
            assert {alias.name for alias in node.names} <= set(public)
            own.add(node.module)
    assert own <= {"tinygrad_cnn.train", "tinygrad_cnn.data"}


@pytest.mark.parametrize("name", ["lenet5", "vgg", "mlp"])
@pytest.mark.parametrize("taught", [False, True])
def test_the_script_is_laid_out_as_the_package_is(name: str, taught: bool, tmp_path: Path) -> None:
    file = tmp_path / "made.py"
    file.write_text(script("A model", settings_of(name), 0.5, taught), encoding="utf-8")
    for command in ("check", "--select=E,F,I,W,B"), ("format", "--diff"):
        options = ["--isolated", "--line-length=100"]
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, str(file)],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if "No module named ruff" in found.stderr:
            pytest.skip("ruff is not installed")
        assert found.returncode == 0, found.stdout
