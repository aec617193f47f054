"""Models in files of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn.train import ModelFileError, TrainingRun, TrainingSettings
from tinygrad_cnn.train.model_file import ModelFile

HEAD = """from tinygrad_cnn import nn
class Net(nn.Module):
"""


def build(tmp_path: Path, source: str, name: str = "Net"):
    path = tmp_path / "net.py"
    path.write_text(source, encoding="utf-8")
    file = ModelFile.read(path, name)
    return file.build(input_shape=(1, 28, 28), classes=10, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("signature", "given"),
    [
        ("self", set()),
        ("self, rng", {"rng"}),
        ("self, *, classes, rng", {"classes", "rng"}),
        ("self, input_shape, classes, rng, width=3", {"input_shape", "classes", "rng", "width"}),
        ("self, width=3, **options", {"input_shape", "classes", "rng", "width"}),
    ],
)
def test_the_constructor_gets_what_it_names(
    tmp_path: Path, signature: str, given: set[str]
) -> None:
    source = (
        HEAD
        + f"""
    def __init__({signature}):
        self.given = {{**locals(), **locals().get("options", {{}})}}
        self.given = {{k: v for k, v in self.given.items() if k not in ("self", "options")}}
"""
    )
    model = build(tmp_path, source)
    assert set(model.given) == given
    expected = {"classes": 10, "input_shape": (1, 28, 28), "width": 3}
    for name in given - {"rng"}:
        assert model.given[name] == expected[name]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = (", "net.py, line 1: importing it failed: SyntaxError: '(' was never closed"),
        ("import no_such_module", "line 1: importing it failed: ModuleNotFoundError: No module"),
        ("y = 1\nx = 1 / 0", "net.py, line 2: importing it failed: ZeroDivisionError: division by"),
        ("class Other: pass", "net.py: has no class 'Net'; it has Other"),
        ("Net = 3", "net.py: has no class 'Net'; it has none"),
        ("class Net: pass", "net.py: Net is not a tinygrad_cnn.nn.Module"),
        (
            HEAD + "    def __init__(self, width, depth, rng): pass",
            "width, depth needs a default: a model is called with input_shape, classes, rng",
        ),
        (
            HEAD + "    def __init__(self):\n        raise OSError('no')",
            "net.py, line 4: Net(...) failed: OSError: no",
        ),
        (HEAD + "    def __init__(self, rng, /): pass", "rng needs a default"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, source: str, says: str
) -> None:
    with pytest.raises(ModelFileError) as raised:
        build(tmp_path, source)
    assert says in str(raised.value)
    assert str(tmp_path / "net.py") in str(raised.value)


def test_what_is_no_file_or_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"a\.py: cannot be read: No such file"):
        ModelFile.read(tmp_path / "a.py", "Net")
    with pytest.raises(ModelFileError, match=r"'a b' is not a class name; expected FILE\.py:CLASS"):
        ModelFile.read(tmp_path / "a.py", "a b")


def test_dataclasses_and_future_annotations_work_in_a_file(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        + HEAD.replace("class Net", "@dataclass\nclass Options:\n    width: int = 3\n\nclass Net")
        + "    options = Options()\n"
    )
    model = build(tmp_path, source)
    assert model.options.width == 3
    assert type(model).__module__ in sys.modules


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        ("return x", "Net: returns (2, 1, 28, 28) for images of shape (2, 1, 28, 28); expected a"),
        ("return x.data", "Net: returns a LeafArray for images"),
        ("return x.reshape(2, -1)[:, :7]", "Net: returns (2, 7) for images of shape"),
    ],
)
def test_a_model_without_a_logit_for_each_class_is_refused_before_anything_is_written(
    tmp_path: Path, few_file: str, forward: str, says: str
) -> None:
    path = tmp_path / "net.py"
    path.write_text(HEAD + f"    def forward(self, x):\n        {forward}\n")
    with pytest.raises(ValueError, match="Net: returns") as raised:
        TrainingRun.new(few_file, f"{path}:Net", TrainingSettings())
    assert says in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.py"]
