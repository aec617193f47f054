"""Which changes count, the summary and the page, on made-up measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinygrad_cnn.bench.comparison import changed_machine, compare, list_figures
from tinygrad_cnn.bench.machine import describe
from tinygrad_cnn.bench.page import BEGIN, END, results_section, write_results
from tinygrad_cnn.bench.profile import OpCall, by_op
from tinygrad_cnn.bench.report import BenchmarkReport, Memory, Profile, Timing, WorkloadTimings
from tinygrad_cnn.bench.tables import format_ops
from tinygrad_cnn.bench.workloads import select

STEP, OTHER = select(["lenet5-64", "resnet20-64"])
BEFORE = [1.0, 1.02, 1.1, 1.01, 0.99]


def report(ours: list[float], theirs: list[float], peak: int = 10**6) -> dict[str, Any]:
    """Return the JSON of a report with one workload; PyTorch's other layout takes longer."""
    timings = (
        Timing("tinygrad_cnn", "eager", ours),
        Timing("torch", "NCHW", [2 * s for s in theirs]),
    )
    if theirs:
        timings += (Timing("torch", "channels-last", theirs),)
    made = BenchmarkReport(describe())
    made.comparisons.append(WorkloadTimings(STEP, 1, timings))
    made.memory.append(Memory(STEP, 1, "tinygrad_cnn", "eager", peak))
    return made.to_json()


@pytest.mark.parametrize(
    ("after", "slower", "faster"),
    [
        ([1.2, 1.18, 1.21, 1.19, 1.3], True, False),
        ([0.9, 0.88, 0.91, 0.89, 0.92], False, True),
        ([1.05, 1.04, 1.03, 1.06, 1.05], False, False),  # within the rounds before
        ([1.2, 1.18, 1.21, 1.19, 1.0], False, False),  # a round as fast as before
        ([1.02, 1.021, 1.022, 1.02, 1.02], False, False),
    ],
)
def test_a_time_is_slower_beyond_the_rounds_of_both(
    after: list[float], slower: bool, faster: bool
) -> None:
    time, memory = compare(report(BEFORE, []), report(after, []))
    assert (time.workload, time.threads, time.variant) == ("lenet5-64", 1, "eager")
    assert time.what == "ms"
    assert (time.slower, time.faster) == (slower, faster)
    assert not memory.significant


def test_a_change_of_less_than_3_percent_does_not_count() -> None:
    time, _ = compare(report([1.0] * 5, []), report([1.02] * 5, []))
    assert not time.significant


def test_a_slower_machine_changes_nothing_where_another_framework_is_measured_too() -> None:
    theirs = [0.5, 0.51, 0.55, 0.505, 0.495]
    after = [2 * s for s in BEFORE]
    same, _ = compare(report(BEFORE, theirs), report(after, [2 * s for s in theirs]))
    assert (same.what, same.significant, same.factor) == ("÷ torch", False, 1.0)
    assert same.before == 2.0  # against the faster layout
    slower, _ = compare(report(BEFORE, theirs), report(after, theirs))
    assert slower.slower
    alone, _ = compare(report(BEFORE, theirs), report(after, []))
    assert (alone.what, alone.slower) == ("ms", True)


def test_memory_counts_from_a_tenth_on() -> None:
    for peak, worse, better in ((1_050_000, 0, 0), (1_200_000, 1, 0), (800_000, 0, 1)):
        _, memory = compare(report(BEFORE, []), report(BEFORE, [], peak))
        assert (memory.what, memory.slower, memory.faster) == ("MB", worse, better)


def test_what_a_busy_machine_measured_is_not_judged() -> None:
    after = report([2.0] * 5, [])
    after["rows"][0]["busy"] = True
    time, _ = compare(report(BEFORE, []), after)
    assert time.busy
    assert not time.significant


def test_workloads_of_one_report_only_are_left_out() -> None:
    empty = BenchmarkReport(describe()).to_json()
    assert compare(report(BEFORE, []), empty) == compare(empty, report(BEFORE, [])) == []
    assert list_figures(empty) == set()
    assert list_figures(report(BEFORE, [])) == {
        ("lenet5-64", 1, "eager", "time"),
        ("lenet5-64", 1, "eager", "memory"),
    }


def test_each_variant_of_ours_is_compared_with_itself() -> None:
    before, after = report(BEFORE, BEFORE), report(BEFORE, BEFORE)
    for made, fast in ((before, [0.5] * 5), (after, [0.8] * 5)):
        made["rows"].append({**made["rows"][0], "variant": "fast", "seconds": fast})
        assert ("lenet5-64", 1, "fast", "time") in list_figures(made)
    changes = {change.variant: change for change in compare(before, after) if change.what != "MB"}
    assert not changes["eager"].significant
    assert changes["fast"].slower
    assert changes["fast"].what == "÷ torch"


def test_an_earlier_report_without_variants_of_ours_is_of_eager_steps() -> None:
    before = report(BEFORE, [])
    for row in before["rows"]:
        row["variant"] = ""
    time, memory = compare(before, report([2.0] * 5, []))
    assert (time.variant, memory.variant) == ("eager", "eager")
    assert time.slower


def test_another_machine_is_named() -> None:
    now = report(BEFORE, [])
    earlier = {"machine": {"numpy": "1.0"}}  # names nothing else
    assert changed_machine(now, now) == []
    assert changed_machine(earlier, now) == [f"numpy 1.0 before, {now['machine']['numpy']} now"]


def test_another_version_of_a_peer_is_named() -> None:
    first, second, none = (
        {"frameworks": [{"name": name, "version": version} for name, version in versions.items()]}
        for versions in ({"tinygrad_cnn": "0.1", "torch": "2.0"}, {"torch": "2.1"}, {})
    )
    assert changed_machine(first, second) == ["torch 2.0 before, 2.1 now"]
    assert changed_machine(first, none) == ["torch 2.0 before, not measured now"]
    assert changed_machine(none, first) == []


def whole_report() -> BenchmarkReport:
    made = BenchmarkReport(describe(), "tinygrad-cnn bench", "2020-02-02")
    for threads, ours in ((1, 3.0), (2, 2.0)):
        timings = (
            Timing("tinygrad_cnn", "eager", [ours] * 3),
            Timing("tinygrad_cnn", "fast", [ours / 4] * 3),
            Timing("torch", "NCHW", [2.0] * 3),
            Timing("torch", "channels-last", [1.0] * 3),
        )
        made.comparisons.append(WorkloadTimings(STEP, threads, timings))
    made.comparisons.append(WorkloadTimings(OTHER, 1, (Timing("tinygrad_cnn", "eager", [1.0]),)))
    sizes = {
        ("tinygrad_cnn", "eager"): 300,
        ("torch", "NCHW"): 600,
        ("torch", "channels-last"): 500,
    }
    made.memory += [Memory(STEP, 2, *side, size) for side, size in sizes.items()]
    return made


def test_the_summary_has_the_ratio_to_the_faster_layout_and_to_the_smaller_peak() -> None:
    eager, fast = whole_report().summary()
    assert (eager.workload, eager.variant) == (STEP, "eager")
    assert (eager.times, eager.memory) == ({1: 3.0, 2: 2.0}, 0.6)
    assert (fast.variant, fast.times, fast.memory) == ("fast", {1: 0.75, 2: 0.5}, None)


def test_the_page_has_the_results_between_its_comments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_results(whole_report(), page)
    page.write_text("# Title\n\n" + page.read_text() + "\nThe end.\n")
    write_results(whole_report(), page)
    text = page.read_text()
    section = results_section(whole_report())
    assert text == f"# Title\n\n{BEGIN}\n\n{section}\n\n{END}\n\nThe end.\n"
    assert "2020-02-02" in section
    assert "| LeNet-5, batch 64 | eager | 3.00 | 2.00 | 0.600 |\n|  | fast | 0.750 |" in section
    theirs = "|  | torch channels-last | 1000 | 1000 – 1000 | 2.00 | 0.500 |"
    rows = "| LeNet-5, batch 64 | tinygrad_cnn eager | 2000 | 2000 – 2000 |  | 0.250 |"
    assert rows in section
    assert theirs in section
    assert "Not measured" not in section
    failing = whole_report()
    failing.absent.append("jax is not installed")
    failing.failed.append("MLP: torch stopped:\nkilled")
    lines = "- Left out: jax is not installed\n- Not measured: MLP: torch stopped: killed"
    assert results_section(failing) == f"{section}\n\n{lines}"
    page.write_text("# Title\n")
    with pytest.raises(ValueError, match="has no line"):
        write_results(whole_report(), page)
    assert page.read_text() == "# Title\n"


def test_a_step_of_many_calls_is_shown_by_op() -> None:
    call = OpCall("relu", "", "forward", 0, 8, 0.001)
    few, many = ([call] * count for count in (3, 50))
    assert [row[0] for row in format_ops(Profile(STEP, 1, tuple(few)), None).rows] == [
        "relu 1", "relu 2", "relu 3",
    ]  # fmt: skip
    (row,) = format_ops(Profile(STEP, 1, tuple(many)), None).rows
    assert row[:4] == ("relu ×50", "forward", "50.000", "100 %")
    other = OpCall("relu", "", "forward", 0, 16, 0.1)
    assert [count for count, _ in by_op([*few, other], alike=True)] == [1, 3]
