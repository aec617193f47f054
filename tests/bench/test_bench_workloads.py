"""Workloads and who is asked for: selection by name."""

from __future__ import annotations

import sys

import pytest

from tinygrad_cnn.bench.sides import (
    PEERS,
    WAYS,
    default_ways,
    interpreter_of,
    parse_peers,
    parse_pythons,
    parse_ways,
)
from tinygrad_cnn.bench.workloads import CHAINS, WORKLOADS, select
from tinygrad_cnn.engine import fast


def test_nothing_named_is_everything_or_the_quick_ones() -> None:
    assert select([]) == WORKLOADS + CHAINS
    quick = select([], quick=True)
    assert 0 < len(quick) < len(select([]))
    assert all(workload.quick for workload in quick)


def test_a_named_workload_is_measured_in_a_quick_run_too() -> None:
    assert [workload.name for workload in select(["lenet5-256"], quick=True)] == ["lenet5-256"]


def test_names_are_unique() -> None:
    names = [workload.name for workload in select([])]
    assert len(set(names)) == len(names)


def test_an_unknown_workload_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"no workload 'lenet-64'; did you mean lenet5-64\?"):
        select(["lenet-64"])


def test_peers() -> None:
    assert parse_peers(None) == PEERS
    assert parse_peers("none") == ()
    assert parse_peers("jax,torch,jax") == ("jax", "torch")
    with pytest.raises(ValueError, match="--against has 'tensorflow', expected some of torch"):
        parse_peers("torch,tensorflow")


def test_ways_to_run_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "is_available", lambda: True)
    assert parse_ways(None) == default_ways() == ("eager", "fast")
    assert parse_ways("fast, eager, compiled,eager-fast") == WAYS
    with pytest.raises(ValueError, match="--ours has 'slow', expected some of eager, eager-fast"):
        parse_ways("slow")
    monkeypatch.setattr(fast, "is_available", lambda: False)
    assert default_ways() == ("eager", "compiled")
    with pytest.raises(ModuleNotFoundError, match=r"--ours has 'fast', which needs .*numba"):
        parse_ways("fast")


def test_the_interpreter_of_torch_is_also_that_of_torch_compile() -> None:
    assert interpreter_of("torch.compile", {"torch": "one"}) == "one"
    assert interpreter_of("torch.compile", {"torch": "one", "torch.compile": "other"}) == "other"
    assert interpreter_of("torch.compile", {}) == sys.executable


def test_interpreters() -> None:
    assert parse_pythons([f"torch={sys.executable}"]) == {"torch": sys.executable}
    with pytest.raises(ValueError, match="expected PEER=PATH"):
        parse_pythons([sys.executable])
    with pytest.raises(ValueError, match="expected PEER=PATH"):
        parse_pythons([f"numpy={sys.executable}"])
    with pytest.raises(FileNotFoundError, match="there is no program"):
        parse_pythons(["torch=/nowhere/python"])
