"""The description of the machine names what NumPy computes with."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_cnn.bench import machine


def library(folder: str, version: str) -> dict[str, object]:
    return {
        "user_api": "blas",
        "internal_api": "openblas",
        "filepath": f"/usr/lib/python3/site-packages/{folder}/libscipy_openblas.so",
        "version": version,
        "architecture": "Haswell",
        "num_threads": 2,
    }


@pytest.mark.parametrize("folder", ["numpy.libs", "numpy/.dylibs"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_blas_is_numpys_whatever_else_is_loaded(
    folder: str, turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [library("scipy.libs", "0.3.30"), library(folder, "0.3.31")]
    monkeypatch.setattr(machine, "threadpool_info", lambda: found[:: -1 if turned else 1])
    assert machine.describe().blas == "openblas 0.3.31"


def test_a_machine_may_have_another_blas_or_none_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "threadpool_info", lambda: [library("lib", "0.3.29")])
    assert machine.describe().blas == "openblas 0.3.29"
    monkeypatch.setattr(machine, "threadpool_info", list)
    described = machine.describe()
    assert (described.blas, described.numpy) == ("unknown", np.__version__)
