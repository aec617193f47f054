"""Workloads and who is asked for: selection by name."""

from __future__ import annotations

import sys

import pytest

from tinygrad_cnn.bench.sides import PEERS, parse_peers, parse_pythons
from tinygrad_cnn.bench.workloads import CHAINS, WORKLOADS, select


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


def test_interpreters() -> None:
    assert parse_pythons([f"torch={sys.executable}"]) == {"torch": sys.executable}
    with pytest.raises(ValueError, match="expected PEER=PATH"):
        parse_pythons([sys.executable])
    with pytest.raises(ValueError, match="expected PEER=PATH"):
        parse_pythons([f"numpy={sys.executable}"])
    with pytest.raises(FileNotFoundError, match="there is no program"):
        parse_pythons(["torch=/nowhere/python"])
