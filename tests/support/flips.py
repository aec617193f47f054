"""Flips: a finding whose code has one ratio, sign, comparison or choice reversed must differ.

Each flip is applied by itself to the source of an experiment's module, in a function that `finding`
reaches. The flipped module's finding is compared with the right one on tables made by hand; a flip
that changes nothing there could stand in the code unseen.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from tinygrad_cnn.experiments.finding import Finding
from tinygrad_cnn.experiments.results import Measurement, Results

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPPOSITES = [("min", "max"), ("argmin", "argmax"), ("any", "all"), ("low", "high"),
             ("at_least", "at_most"), ("first", "last"), ("minimum", "maximum")]  # fmt: skip
NAMES = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


def table(experiment: str, values: dict[str, dict[str, dict[float, Sequence[float]]]]) -> Results:
    """Return a table from ``{variant: {measure: {step: [value of seed 0, of seed 1, ...]}}}``."""
    rows = [
        Measurement(variant, seed, step, measure, value)
        for variant, measures in values.items()
        for measure, steps in measures.items()
        for step, seeds in steps.items()
        for seed, value in enumerate(seeds)
    ]
    return Results(experiment, rows)


def assert_flips_are_seen(
    module: ModuleType, tables: Sequence[Results], equivalent: Sequence[str] = ()
) -> None:
    """Assert that every flip changes the finding on one of the tables.

    Parameters
    ----------
    module : module
        Of an experiment.
    tables : sequence of Results
    equivalent : sequence of str
        Source texts of flips that cannot change a finding, each with its reason in a comment.
    """
    tree = ast.parse(inspect.getsource(module))
    right = [module.finding(each) for each in tables]
    found = list(flips(tree))
    unseen = [text for text, flipped in found if not _seen(module, flipped, tables, right)]
    missed = [text for text in unseen if not any(each in text for each in equivalent)]
    assert not missed, "no table shows these flips:\n" + "\n".join(missed)
    assert all(any(each in text for text in unseen) for each in equivalent), "no longer equivalent"
    assert found


def _seen(
    module: ModuleType, flipped: ast.Module, tables: Sequence[Results], right: Sequence[Finding]
) -> bool:
    space: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(flipped, str(module.__file__), "exec"), space)  # our own source
    for results, expected in zip(tables, right, strict=True):
        try:
            if space["finding"](results) != expected:
                return True
        except Exception:
            return True
    return False


def flips(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Yield each flip in the functions that `finding` reaches: its text, and the flipped module."""
    for function in _reached(tree):
        count = sum(1 for _ in _places(function))
        for k in range(count):
            flipped = copy.deepcopy(tree)
            again = next(each for each in _reached(flipped) if each.name == function.name)
            node, flip = list(_places(again))[k]
            before = ast.unparse(node)
            flip()
            yield (
                f"{function.name}: {before} → {ast.unparse(node)}",
                ast.fix_missing_locations(flipped),
            )


def _reached(tree: ast.Module) -> list[ast.FunctionDef]:
    """Return `finding` and the functions and methods of the module that it calls, in any depth."""
    known = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    reached, waiting = dict[str, ast.FunctionDef](), ["finding"]
    while waiting:
        name = waiting.pop()
        if name in known and name not in reached:
            reached[name] = known[name]
            for node in ast.walk(known[name]):
                if isinstance(node, ast.Name):
                    waiting.append(node.id)
                elif isinstance(node, ast.Attribute):
                    waiting.append(node.attr)
    return list(reached.values())


def _places(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, Callable[[], None]]]:
    """Yield the nodes that can be flipped, each with the function that does so."""
    for node in ast.walk(ast.Module(function.body, [])):  # without annotations
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Sub):
            yield node, partial(_swap, node, "left", "right")
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield node, partial(node.ops.__setitem__, 0, COMPARISONS[type(node.ops[0])]())
        elif isinstance(node, ast.Attribute) and node.attr in NAMES:
            yield node, partial(setattr, node, "attr", NAMES[node.attr])
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES
        ):
            yield node, partial(setattr, node.func, "id", NAMES[node.func.id])
        elif isinstance(node, ast.keyword) and node.arg in NAMES:
            yield node, partial(setattr, node, "arg", NAMES[node.arg])
        elif isinstance(node, ast.Subscript) and _ends(node.slice):
            yield node, partial(setattr, node, "slice", _other_end(node.slice))
        elif isinstance(node, ast.Tuple) and _is_pair(node):
            yield node, node.elts.reverse
        elif isinstance(node, ast.IfExp):
            yield node, partial(_swap, node, "body", "orelse")


def _swap(node: ast.AST, a: str, b: str) -> None:
    left, right = getattr(node, a), getattr(node, b)
    setattr(node, a, right)
    setattr(node, b, left)


def _ends(place: ast.expr) -> bool:
    """Return whether an index is 0 or −1, or the last of several is."""
    last = place.elts[-1] if isinstance(place, ast.Tuple) else place
    return ast.unparse(last) in ("0", "-1")


def _other_end(place: ast.expr) -> ast.expr:
    if isinstance(place, ast.Tuple):
        return ast.Tuple([*place.elts[:-1], _other_end(place.elts[-1])], place.ctx)
    return ast.Constant({"0": -1, "-1": 0}[ast.unparse(place)])


def _is_pair(node: ast.Tuple) -> bool:
    return (
        len(node.elts) == 2
        and isinstance(node.ctx, ast.Load)
        and all(isinstance(element, ast.Name | ast.Constant) for element in node.elts)
    )
