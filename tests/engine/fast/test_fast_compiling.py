"""Compilation of kernels while other threads compile, and while the process forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import in_ci

if not in_ci():
    pytest.importorskip("numba")

PROGRAM = """
import os, signal, threading, warnings
import numpy as np
from tinygrad_cnn.engine.fast import elementwise, kernel
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads and fork
begun = threading.Event()
make = kernel.compiled
kernel.compiled = lambda f, of: make(lambda cache: (begun.set(), f(cache))[1], of)

def doubled(kernel, values):
    x, y = np.array(values, "f4"), np.empty(len(values), "f4")
    tape = Tape([KernelCall(kernel, "f4", (0, 1, len(values), 8), 1, 1)], 2)
    tape.at[:] = x.ctypes.data, y.ctypes.data
    tape.run()
    return y.tolist()

found = []
names = ["relu", "exp", "tanh", "relu", "exp", "tanh"]
work = lambda name: found.append((name, doubled(getattr(elementwise, name), [0, -1, 2])))
threads = [threading.Thread(target=work, args=[name]) for name in names]
for thread in threads:
    thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(30)
    os._exit(0 if doubled(elementwise.sigmoid, [0]) == [0.5] else 1)
for thread in threads:
    thread.join()
assert os.waitpid(child, 0)[1] == 0
assert len(found) == len(names)
for name, y in found:
    expected = np.maximum([0, -1, 2], 0) if name == "relu" else getattr(np, name)([0.0, -1, 2])
    assert np.allclose(y, expected), (name, y)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_and_a_child_forked_in_the_middle_of_a_compilation_compile(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment, timeout=60)
