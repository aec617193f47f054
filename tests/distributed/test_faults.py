"""Whatever becomes of one rank, all end, with its message: none waits for it without end."""

from __future__ import annotations

import re

import pytest
from support.machine import lengthy
from support.ranks import launch

PROGRAM = "distributed.faulty"
AT_THE_END = (
    r"ranks are at different points: rank 0: .*backward\(\); rank 1: the end of the program"
)

LOOPS = r"rank 1 of 2 on .*: keeps rank 0 waiting in {} for 1 s(.*\n)*.*in loops"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", "rank 1 of 2 on .*: Traceback(.*\n)*ValueError: a fault"),
        ("is killed", r"Killed \(signal 9\)"),  # by mpiexec, with the process's number
        ("alone lets an error of all through", rf"{AT_THE_END}(.*\n)*ValueError: a fault"),
        ("raises at the start", "Traceback(.*\n)*ValueError: a fault"),
        ("loops at the end", LOOPS.format("the end of the program")),
        pytest.param("loops", LOOPS.format(r".*backward\(\)"), marks=lengthy),
        pytest.param("exits at the start", "in _wait_until_all_ranks_start", marks=lengthy),
        pytest.param("steps less often", AT_THE_END, marks=lengthy),
        pytest.param("exits", AT_THE_END, marks=lengthy),
        pytest.param("exits with status 3", AT_THE_END, marks=lengthy),
        pytest.param("crashes", r"Aborted \(signal 6\)", marks=lengthy),
        pytest.param("is stopped", r"rank 0 of 2 on .*: has waited . s for other", marks=lengthy),
        pytest.param("reads", r"rank 1 of 2 (.*\n)*OSError: a fault of the disk", marks=lengthy),
        pytest.param(
            "calls another collective", r"rank 0: .*backward\(\); rank 1: barrier", marks=lengthy
        ),
        pytest.param(
            "sums another shape", r"rank 0: .* shape \(4,\); rank 1: .* shape \(3,\)", marks=lengthy
        ),
        pytest.param(
            "has another model",
            r"fc.0.weight is float32 of shape \(9, 4\) on rank 1, but .*\(8, 4\) on rank 0",
            marks=lengthy,
        ),
        pytest.param("all raise", "rank 0 of 2 .*(.*\n)*ValueError: a fault", marks=lengthy),
    ],
)
def test_a_fault_of_one_rank_ends_all_with_its_message(fault: str, message: str) -> None:
    ended = launch(2, "-m", PROGRAM, fault)  # which fails if it takes too long
    assert ended.returncode, ended.stdout
    assert len(re.findall(message, ended.stderr + ended.stdout)) == 1, ended.stderr + ended.stdout
    assert ("rank 0 has ended" in ended.stdout) == fault.endswith("at the end")


@lengthy
def test_ranks_that_end_at_different_times_succeed() -> None:
    ended = launch(3, "-m", PROGRAM, "ends late")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == [f"rank {rank} has ended" for rank in range(3)]
