"""A worker process: what it answers, and what is said when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_cnn.bench.process import FOLDER, RETURN_FREED, START, Worker, WorkerError
from tinygrad_cnn.bench.worker.serve import MOST_STEPS, RequestHandler
from tinygrad_cnn.engine import threads

TINY = {"layers": [["Linear", 8, 10]], "input_shape": [8], "batch": 2}


def interpreter(folder: Path, program: str) -> str:
    """Make an executable that ignores its arguments and runs `program`."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{program}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_request_that_fails_is_an_error_and_the_worker_goes_on() -> None:
    with Worker("tinygrad_cnn", sys.executable, threads=1) as worker:
        with pytest.raises(WorkerError, match=r"^tinygrad_cnn: ValueError: no layer \['lstm'\]$"):
            worker.ask("build", mode="step", **{**TINY, "layers": [["lstm"]]})
        assert worker.ask("build", mode="step", **TINY) == {"parameters": 90}
        assert len(worker.run(3)) == 3


def test_a_worker_that_ends_says_its_last_words(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "raise SystemExit('no NumPy here')")
    with (
        Worker("torch", python, threads=1) as worker,
        pytest.raises(WorkerError, match=r"^torch: the worker ended: no NumPy here$"),
    ):
        worker.ask("hello")


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "import sys; sys.stdin.read()")
    with (
        Worker("torch", python, threads=1) as worker,
        pytest.raises(WorkerError, match=r"^torch: took longer than 0.05 seconds$"),
    ):
        worker.ask("hello", limit=0.05)


def test_an_interpreter_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="cannot be started"):
        Worker("torch", str(tmp_path / "nothing"), threads=1)


def test_what_a_framework_prints_is_no_answer() -> None:
    noisy = (
        "import numpy\n"
        "tanh = numpy.tanh\n"
        "numpy.tanh = lambda x: print('noise') or tanh(x)\n"
    )  # fmt: skip
    asked = subprocess.run(
        [sys.executable, "-c", noisy + START, str(FOLDER), "numpy", ""],
        input='{"do": "chain", "mode": "forward"}\n{"do": "run", "times": 1}\n',
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert [list(json.loads(line)) for line in asked.stdout.splitlines()] == [[], ["seconds"]]
    assert "noise" in asked.stderr


def test_a_worker_imports_nothing_of_the_package() -> None:
    # a foreign interpreter has neither the package nor, maybe, any of its dependencies
    program = START.replace(
        "serve(sys", "print([m for m in sys.modules if 'tinygrad' in m], flush=True); serve(sys"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER), "torch", ""],
        input="", capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert asked.stdout == "[]\n"


def test_the_environment_limits_the_threads_of_libraries_and_can_be_extended() -> None:
    own = {"A_VARIABLE": "1"}
    with Worker("tinygrad_cnn", sys.executable, threads=3, environment=own) as worker:
        environment = Path(f"/proc/{worker._process.pid}/environ")
        if not environment.exists():
            pytest.skip("only Linux shows the environment of a process")
        worker.ask("hello")
        variables = environment.read_bytes().split(b"\0")
        assert {b"OPENBLAS_NUM_THREADS=3", b"A_VARIABLE=1"} <= set(variables)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells")
@pytest.mark.parametrize(
    "call",
    [
        "big = np.ones(60_000_000, 'u1'); del big",  # returned before the end
        "a = np.ones(29_000_000, 'u1'); b = np.ones(1_000_000, 'u1'); del a; "
        "c = np.ones(59_000_000, 'u1')",  # the place of `a` is too small for it
    ],
)
def test_the_peak_of_memory_is_that_in_use(call: str) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from worker.clock import settle_allocator\n"
        "from worker.memory import peak_of\n"
        "settle_allocator()\n"
        "held = np.ones(20_000_000, 'u1')\n"
        "def call():\n"
        f"    {call}\n"
        "print(peak_of(call, 2))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER)],
        capture_output=True, check=True, text=True, env={**os.environ, **RETURN_FREED},
    )  # fmt: skip
    assert 59e6 < int(asked.stdout) < 63e6


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells")
def test_the_peak_of_first_calls_does_not_count_but_what_they_leave_does() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from worker.memory import peak_of\n"
        "kept = []\n"
        "def call():\n"
        "    if not kept:\n"
        "        big = np.ones(90_000_000, 'u1'); del big\n"
        "        kept.append(np.ones(20_000_000, 'u1'))\n"
        "    small = np.ones(10_000_000, 'u1')\n"
        "print(peak_of(call, 2, first=1))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER)],
        capture_output=True, check=True, text=True, env={**os.environ, **RETURN_FREED},
    )  # fmt: skip
    assert 29e6 < int(asked.stdout) < 33e6


def test_a_build_sets_the_number_of_threads() -> None:
    handler = RequestHandler("tinygrad_cnn")
    for count in (3, 2):
        handler.do_build(mode="step", threads=count, **TINY)
        assert threads._limit.get() == count
    handler.limit.close()
    assert threads._limit.get() is None


def test_a_network_is_renewed_before_its_velocities_are_denormal() -> None:
    handler = RequestHandler("tinygrad_cnn")
    handler.do_build(mode="step", **TINY)
    first = handler.do_losses(1)["losses"]
    handler.do_run(MOST_STEPS)
    assert handler.do_losses(1)["losses"] != first
    renewed = []
    handler.renew = lambda: renewed.append(handler.steps)
    handler.do_run(1)
    handler.do_run(MOST_STEPS - 1)
    assert renewed == [MOST_STEPS + 1]
    handler.do_build(mode="step", **TINY)
    handler.renew()
    assert handler.do_losses(1)["losses"] == first
