"""``pytest --check-ops``, in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tinygrad_cnn as tg

ROOT = Path(tg.__path__[0]).parent
PLUGIN = "_tinygrad_cnn_pytest"
OURS = [op for op in tg.OPS.values() if op.__module__.startswith("tinygrad_cnn.")]

HEAD = """
import numpy as np
import tinygrad_cnn as tg

@tg.op(formula="x·σ(x)", elementwise=True)
def swish(x):
    return x / (1 + np.exp(-x))
"""
RIGHT = """
@swish.derivative("x", formula="g·(σ(x) + y·(1 − σ(x)))")
def _(g, *, x, y):
    s = y / x
    return g * (s + y * (1 - s))
"""
WRONG = """
@swish.derivative("x", formula="g·σ(x)")
def _(g, *, x, y):
    return g * y / x
"""
DECLARED = "\nswish.calls(lambda draw, s: draw(s.arrays(nonzero=True)))\n"
TEST = "\ndef test_something():\n    pass\n"


def run(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a test module, every warning an error."""
    (folder / "test_mine.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", PLUGIN, "-rA"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }
    command += ["-p", "no:cacheprovider", "--rootdir", str(folder), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return what became of each test, by name."""
    lines = re.findall(r"^(PASSED|FAILED|ERROR) \S*::(\S+)", done.stdout, re.MULTILINE)
    return {name: outcome for outcome, name in lines}


def test_a_test_is_collected_for_each_derivative_and_the_users_ops_too(tmp_path: Path) -> None:
    some = ["-k", "something or sqrt or sub or swish"]
    done = run(tmp_path, HEAD + WRONG + DECLARED + TEST, "--check-ops", *some)
    assert done.returncode == 1, done.stderr
    assert outcomes(done) == {
        "test_something": "PASSED",
        "sub[a]": "PASSED",
        "sub[b]": "PASSED",
        "sub[a,b]": "PASSED",
        "sqrt[x]": "PASSED",
        "swish[x]": "FAILED",
    }
    derivatives = sum(len(op.derivatives) for op in OURS)
    together = sum(len(op.derivatives) > 1 for op in OURS)
    assert f"collected {1 + derivatives + together + 1} items" in done.stdout
    assert "swish breaks “backward is the derivative of the forward”, for x" in done.stdout
    assert "example: swish(x=np.array(" in done.stdout
    assert "check_gradients(" in done.stdout  # the line to see it again
    assert "hypothesis" not in done.stdout.split("FAILURES")[1].lower()  # nor its traceback


def test_an_op_without_calls_fails(tmp_path: Path) -> None:
    undeclared = HEAD.replace(", elementwise=True", "")
    done = run(tmp_path, undeclared + WRONG + TEST, "--check-ops", "-k", "swish")
    assert outcomes(done)["swish[x]"] == "FAILED"
    assert "swish was not checked: it declares no calls; add" in done.stdout


def test_a_right_op_of_the_users_passes_by_central_differences(tmp_path: Path) -> None:
    done = run(tmp_path, HEAD + RIGHT + DECLARED + TEST, "--check-ops",
               "-m", "check_ops", "-k", "swish", "--check-ops-examples", "5",
               "--check-ops-seed", "3")  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert outcomes(done) == {"swish[x]": "PASSED"}


def test_without_the_option_nothing_is_collected_and_nothing_of_the_package_imported(
    tmp_path: Path,
) -> None:
    text = """
import sys

def test_what_is_imported():
    assert not [name for name in sys.modules if name.split(".")[0] in ("tinygrad_cnn", "numpy")]
    assert "hypothesis" not in sys.modules
"""
    done = run(tmp_path, text)
    assert done.returncode == 0, done.stdout
    assert outcomes(done) == {"test_what_is_imported": "PASSED"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--check-ops-examples=0", "--check-ops-examples is 0, expected 1 or more"),
        ("--check-ops-seed=-1", "--check-ops-seed is -1, expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused_at_once(
    tmp_path: Path, option: str, message: str
) -> None:
    done = run(tmp_path, TEST, "--check-ops", option)
    assert done.returncode == 4
    assert message in done.stderr


def test_the_plugin_is_declared_as_an_entry_point_and_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"tinygrad_cnn": PLUGIN}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["tinygrad_cnn/check/plugin.py"] == f"{PLUGIN}.py"
    assert (ROOT / "tinygrad_cnn" / "check" / "plugin.py").is_file()
