"""The order of the packages: each imports only those before it, type-only imports included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from support.packages import FLOORS, ROOT, imports

import tinygrad_cnn as tg

BACKWARD = {  # the imports against the order of `core`, explained in its docstring
    ("core.variable", "core.graph"),
    ("core.variable", "core.hooks"),
    ("core.variable", "core.tensor"),
    ("core.observer", "core.variable"),
    ("core.observer", "core.graph"),
    ("core.observer", "core.op"),
    ("core.step_observer", "core.variable"),
    ("core.step_observer", "core.graph"),
    ("core.hooks", "core.graph"),
    ("core.pullback", "core.graph"),
    ("core.pullback", "ops"),
    ("core.graph", "core.op"),
    ("core.graph", "core.tensor"),
    ("core.op", "core.tensor"),
    ("core.operators", "core.tensor"),
}


FILES = sorted(ROOT.rglob("*.py"))


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(FLOORS)


def test_the_contributors_page_has_the_packages_in_order() -> None:
    text = (ROOT.parent / "docs" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("\n## The map\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(named) == sorted(FLOORS)
    assert [FLOORS[package] for package in named] == sorted(FLOORS.values())


def fresh(program: str) -> str:
    """Return what a program prints in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_package_of_the_api_is_imported_on_use() -> None:
    """In a fresh process: here, another test may have imported it."""
    packages = [name for name in tg.__all__ if isinstance(getattr(tg, name), ModuleType)]
    assert {"train", "onnx", "deployment", "nn"} <= {*packages}
    fresh(f"import tinygrad_cnn as tg; print([getattr(tg, name) for name in {packages}])")


LOADED = """
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("tinygrad_cnn.")}
"""


def test_importing_the_package_loads_almost_nothing() -> None:
    """So that `import tinygrad_cnn` takes no longer than `import numpy`."""
    program = f"import sys, tinygrad_cnn{LOADED}print(sorted(loaded), 'numpy' in sys.modules)"
    assert fresh(program) == "['support'] False\n"


def test_using_a_tensor_loads_only_the_packages_below_it() -> None:
    use = "tg.relu(tg.Tensor([1.0, -1.0], requires_grad=True)).sum().backward()"
    program = f"import sys, tinygrad_cnn as tg; {use}{LOADED}print(sorted(loaded))"
    assert fresh(program) == "['core', 'engine', 'ops', 'support']\n"


def test_methods_of_later_packages_import_them() -> None:
    program = """
from tinygrad_cnn.nn import Linear
model = Linear(2, 1)
assert model.compile() is model
print(type(model([[1.0, 2.0]]).draw()).__name__)
"""
    assert fresh(program) == "Drawing\n"


def test_type_checkers_and_python_import_the_same_names() -> None:
    source = Path(tg.__file__).read_text("utf-8")
    tree = ast.parse(source)
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    static = {
        alias.name: node.module.removeprefix(ROOT.name).removeprefix(".") or alias.name
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert static == {**tg._MODULES, "*": "ops"}


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_each_package_can_be_the_first_to_be_imported(package: str) -> None:
    assert fresh(f"import tinygrad_cnn.{package}") == ""


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_a_package_imports_only_those_before_it(package: str) -> None:
    for file in sorted((ROOT / package).rglob("*.py")):
        for module in imports(file):
            other = module.partition(".")[0]
            if other and other != package:
                assert FLOORS[other] < FLOORS[package] or {other, package} <= {"core", "ops"}, (
                    f"{file.relative_to(ROOT)} imports {module}"
                )


def edges(*packages: str) -> set[tuple[str, str]]:
    """Return the imports inside `packages`, as pairs of modules."""
    return {
        (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), module)
        for package in packages
        for file in (ROOT / package).rglob("*.py")
        for module in imports(file)
        if module.partition(".")[0] in packages
    }


def have_an_order(edges: set[tuple[str, str]]) -> None:
    """Raise CycleError, which names the modules, if `edges` form a circle."""
    sorter = TopologicalSorter[str]()
    for module, imported in edges:
        sorter.add(module, imported)
    sorter.prepare()


@pytest.mark.parametrize("package", sorted(set(FLOORS) - {"core"}))
def test_no_imports_inside_a_package_form_a_circle(package: str) -> None:
    have_an_order(edges(package))


def test_only_the_listed_imports_close_the_circle_of_core_and_ops() -> None:
    every = edges("core", "ops")
    have_an_order(every - BACKWARD)
    for edge in BACKWARD:  # each is there, and closes one
        with pytest.raises(CycleError):
            have_an_order(every - BACKWARD | {edge} & every)


def test_the_docstring_of_core_names_its_modules_in_order() -> None:
    text = " ".join((import_module("tinygrad_cnn.core").__doc__ or "").split())
    names = (
        text.split("in this order: ")[1].split(". ")[0].replace(" (the package)", "").split(", ")
    )
    places = {name: place for place, name in enumerate(names)}
    for importing, imported in edges("core", "ops") - BACKWARD:
        one, other = (
            module.removeprefix("core.").partition(".")[0] for module in (importing, imported)
        )
        if one != other and {one, other} <= {*places}:
            assert places[other] < places[one], f"{importing} imports {imported}"
    assert {"op", "ops", "tensor"} <= {*places}
    assert {name for name in places if not (ROOT / "core" / f"{name}.py").is_file()} == {"ops"}


@pytest.mark.parametrize("package", sorted(p for p in FLOORS if FLOORS[p] < FLOORS["drawing"]))
def test_no_package_below_the_drawings_imports_the_root(package: str) -> None:
    """The root's names include drawings and derivations."""
    assert [file for file in (ROOT / package).rglob("*.py") if "" in imports(file)] == []


def test_the_engine_imports_no_other_package() -> None:
    for file in (ROOT / "engine").rglob("*.py"):
        assert all(module.startswith("engine") for module in imports(file)), file


def test_no_function_hides_a_package() -> None:
    assert FLOORS.keys().isdisjoint(tg.ops.__all__)
    assert all(tg._MODULES.get(package, package) == package for package in FLOORS)


PUBLIC = ["tinygrad_cnn", "tinygrad_cnn.check.strategies"] + [
    f"tinygrad_cnn.{file.parent.name}"
    for file in sorted(ROOT.glob("*/__init__.py"))
    if "__all__" in file.read_text("utf-8")
]


@pytest.mark.parametrize("name", PUBLIC)
def test_dir_shows_the_public_names_and_nothing_else(name: str) -> None:
    module = import_module(name)
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in dir(module))
