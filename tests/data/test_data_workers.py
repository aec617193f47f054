"""Worker processes: the same bits for every number, and no process left behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import worker_data
from support.worker_data import Drawn, Faulty, Unpicklable, Where, noisy, whole

from tinygrad_cnn.data import CutMix, DataError, DataLoader, Dataset, Elastic, WeightedRandomSampler

ROOT = Path(__file__).resolve().parents[2]


def bits(loader: DataLoader, epochs: int = 2) -> list[bytes]:
    return [pickle.dumps(batch) for _ in range(epochs) for batch in loader]


def test_every_number_of_workers_gives_the_same_bits() -> None:
    def loader(workers: int, **options: Any) -> DataLoader:
        return DataLoader(
            Drawn(), 5, shuffle=True, seed=3, transform=noisy, num_workers=workers, **options
        )

    expected = bits(loader(0))
    assert len(set(expected)) == 10
    assert bits(loader(1, persistent_workers=True)) == expected
    assert bits(loader(3, prefetch_factor=1)) == expected
    resumed = loader(2)
    resumed.epoch = 1
    assert bits(resumed, 1) == expected[5:]


def test_workers_transform_arrays_as_this_process_does() -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 1, 40, 40), dtype=np.uint8)
    dataset = Dataset(images, np.arange(20, dtype=np.int64) % 3, ("a", "b", "c"), "noise")
    sampler = WeightedRandomSampler(np.arange(20), 30)
    options: dict[str, Any] = {"sampler": sampler, "transform": Elastic(20, 4), "seed": 1}
    options["batch_transform"] = CutMix(num_classes=3)
    expected = bits(DataLoader(dataset, 7, **options))
    assert bits(DataLoader(dataset, 7, num_workers=2, **options)) == expected


def test_the_global_generators_are_as_before() -> None:
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]  # noqa: NPY002
    list(DataLoader(Drawn(), 5))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_an_error_keeps_its_type_and_names_the_example_and_the_place() -> None:
    for workers in (0, 2):
        with pytest.raises(KeyError, match="no such key") as raised:
            list(DataLoader(Faulty(KeyError, "no such key"), 4, num_workers=workers))
        notes = "\n".join(raised.value.__notes__)
        assert "example 13 of Faulty" in notes
        if workers:
            assert "worker 1, batch 3 of epoch 0" in notes
            assert "worker_data.py" in notes
    with pytest.raises(RuntimeError, match="cannot be pickled") as raised_too:
        list(DataLoader(Faulty(Unpicklable, 1, 2), 4, num_workers=1))
    assert "Unpicklable: 1 and 2" in raised_too.value.__notes__[0]


def test_a_worker_that_ends_is_reported_with_its_exit_code() -> None:
    with pytest.raises(RuntimeError, match=r"before batch [13] of epoch 0, worker 1 was killed by"):
        list(DataLoader(Faulty(None), 4, num_workers=2))


def test_what_cannot_be_sent_to_a_worker_is_refused() -> None:
    with pytest.raises(TypeError, match="at the top level of a module, use num_workers=0"):
        list(DataLoader(Drawn(), 4, collate=lambda examples: examples, num_workers=1))
    loader = DataLoader([(1, "a"), (2, "b")], 2, collate=whole, num_workers=1)
    assert list(loader) == [[(1, "a"), (2, "b")]]


def test_processes_end_with_the_epoch_unless_they_persist() -> None:
    def pids(loader: DataLoader) -> set[int]:
        return {int(pid) for batch in loader for pid in batch}

    brief = DataLoader(Where(), 4, num_workers=2)
    first, second = pids(brief), pids(brief)
    assert len(first) == len(second) == 2
    assert not first & second
    lasting = DataLoader(Where(), 4, num_workers=2, persistent_workers=True)
    kept = pids(lasting)
    assert pids(lasting) == kept
    assert os.getpid() not in kept
    one, two = iter(lasting), iter(lasting)  # the second has workers of its own
    both = {int(next(it)[0]) for it in (one, two)}
    assert len(both) == 2
    one.close()  # type: ignore[attr-defined]
    two.close()  # type: ignore[attr-defined]
    del lasting
    gone(first | second | kept | both)


def test_a_worker_leaves_ctrl_c_to_its_parent() -> None:
    batches = iter(DataLoader(Where(), 2, num_workers=1))
    pid = int(next(batches)[0])
    os.kill(pid, signal.SIGINT)
    assert {int(number) for batch in batches for number in batch} == {pid}


def gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 20
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_by_an_interrupt_or_a_kill(sent: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, worker_data.__file__],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert program.stdout is not None
    pids = {int(pid) for pid in program.stdout.readline().split()}
    assert len(pids) == 2
    if sent is signal.SIGINT:
        os.killpg(program.pid, sent)  # as a terminal does
    else:
        program.kill()
    _, errors = program.communicate(timeout=30)
    gone(pids)
    if sent is signal.SIGINT:
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert errors.count("Traceback") == 1


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tinygrad_cnn.data import DataLoader\n"
        "for batch in DataLoader([1, 2, 3], 1, num_workers=1):\n"
        "    print(batch)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "if __name__ == '__main__'" in done.stderr.splitlines()[-1]


def test_examples_that_differ_in_shape_are_refused_with_their_indices() -> None:
    ragged = [np.zeros(3), np.zeros(4), np.zeros(3)]
    with pytest.raises(DataError, match=r"example 1 has shape \(4,\), the first \(3,\)") as raised:
        list(DataLoader(ragged, 3, sampler=[2, 1, 0]))
    assert raised.value.__notes__ == ["DataLoader: raised by collate of the examples [2, 1, 0]"]
