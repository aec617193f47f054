"""``tinygrad-cnn bench``: tables, JSON, a figure; what is refused; what an interruption leaves."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import Result

from tinygrad_cnn.bench import benchmark, timing
from tinygrad_cnn.bench.process import RETURN_FREED, Worker
from tinygrad_cnn.bench.timing import Pace
from tinygrad_cnn.cli import benchmarking

Call = Callable[..., Result]

ALONE = ("--ours", "eager", "--against", "none", "--threads", 1)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in two short rounds, which count even if the machine is busy."""
    monkeypatch.setattr(benchmarking, "QUICK", Pace(rounds=2, turn=0.002, patience=0.1, pause=0.0))
    monkeypatch.setattr(timing, "BUSY", math.inf)


def load(monkeypatch: pytest.MonkeyPatch, *loads: float) -> None:
    """Replace the load by other processes: one value per round, over and over."""
    laps = itertools.cycle(lap for load in loads for lap in (math.nan, load))
    monkeypatch.setattr(timing, "BUSY", 0.2)
    monkeypatch.setattr(timing, "OtherLoad", lambda: SimpleNamespace(lap=lambda: next(laps)))


def test_tables_show_steps_ops_memory_and_recording(call: Call) -> None:
    result = call("bench", "mlp-32", "small-ops-*", "--quick", *ALONE)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "compared with: no other framework" in text
    assert "Peak rates, 1 thread:" in text
    rows = [line.split() for line in text.splitlines()]
    assert any(row[:5] == ["MLP", "64-32-10,", "batch", "32", "tinygrad_cnn"] for row in rows)
    assert any(row[:5] == ["forward", "of", "small", "ops", "tinygrad_cnn"] for row in rows)
    assert any(row[:3] == ["linear", "1", "backward"] and row[-1] == "sgemm" for row in rows)
    assert any(row[:2] == ["SGD", "update"] for row in rows)
    assert "MB besides data and weights" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_json_names_the_machine_and_every_row(call: Call) -> None:
    result = call("bench", "mlp-1", "mlp-32", "small-ops-forward", "--quick", "--json", *ALONE)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {"processor", "cores", "numpy", "blas", "kernel", "blas_threads"} <= set(
        found["machine"]
    )
    rows = found["rows"]
    assert [row["kind"] for row in rows[:4]] == ["roofs", "time", "time", "time"]
    times = [row for row in rows if row["kind"] == "time"]
    assert [(row["workload"], row["framework"]) for row in times] == [
        ("mlp-1", "tinygrad_cnn"),
        ("mlp-32", "tinygrad_cnn"),
        ("small-ops-forward", "tinygrad_cnn"),
        ("small-ops-forward", "numpy"),
    ]
    for row in times:
        assert row["lowest"] <= row["median"] <= row["highest"]
        assert len(row["seconds"]) == 2
    assert {row["kind"] for row in rows} == {"roofs", "time", "op", "memory"}


def test_parts_are_left_out(call: Call) -> None:
    result = call("bench", "mlp*", "small*", "--quick", "--json", "--parts", "overhead", *ALONE)
    assert result.exit_code == 0, result.output
    kinds = {(row["kind"], row.get("mode")) for row in json.loads(result.stdout)["rows"]}
    assert kinds == {("roofs", None), ("time", "forward"), ("time", "backward")}


def test_a_workload_is_marked_if_the_machine_was_always_busy(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(monkeypatch, 1.0)
    options = ("--quick", "--parts", "steps,overhead", *ALONE)
    result = call("bench", "mlp-1", "small-ops-forward", *options)
    assert "MLP 64-32-10, batch 1 (busy)" in result.stdout
    assert "forward of small ops (busy)" in result.stdout
    result = call("bench", "mlp-1", "--json", *options)
    row = json.loads(result.stdout)["rows"][-1]
    assert row["busy"] is True
    assert len(row["seconds"]) == 2 + Pace().repeats


def test_a_busy_round_does_not_count(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    load(monkeypatch, 1.0, 0.0, 0.1)
    options = ("--quick", "--parts", "steps", *ALONE)
    assert "(busy)" not in call("bench", "mlp-1", *options).stdout
    row = json.loads(call("bench", "mlp-1", "--json", *options).stdout)["rows"][-1]
    assert row["busy"] is False
    assert len(row["seconds"]) == 2


def test_memory_is_measured_where_freed_blocks_are_returned(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = []

    class Noted(Worker):
        def __init__(self, framework, python, threads, environment=None) -> None:
            environments.append(environment)
            super().__init__(framework, python, threads, environment)

    monkeypatch.setattr(benchmark, "Worker", Noted)
    result = call("bench", "mlp-32", "--quick", "--parts", "steps,memory", *ALONE)
    assert "MB besides data and weights" in result.stdout
    assert environments[-1] == RETURN_FREED
    assert not any(environments[:-1])  # times are taken where the allocator is settled


def test_a_peer_that_is_not_there_is_said(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nread line\necho '{\"installed\": false}'\n", encoding="utf-8")
    python.chmod(0o755)
    result = call("bench", "mlp-1", "--quick", "--parts", "steps", "--threads", 1,
                  "--against", "torch", "--python", f"torch={python}")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"left out: torch is not installed for {python}: pip install torch" in result.stdout
    assert "MLP 64-32-10, batch 1" in result.stdout


def test_an_interruption_leaves_what_was_measured(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    alternate = benchmark.alternate

    def interrupted(*arguments, **options):
        for k, found in enumerate(alternate(*arguments, **options)):
            yield found
            if k == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "alternate", interrupted)
    result = call("bench", "mlp*", "--quick", *ALONE)
    assert result.exit_code == 130
    assert "Interrupted; above is what was measured so far." in result.stdout
    assert "MLP 64-32-10, batch 1" in result.stdout
    assert "batch 32" not in result.stdout


def test_a_slower_benchmark_exits_with_1(call: Call, tmp_path: Path) -> None:
    row = {"kind": "time", "workload": "mlp-1", "threads": 1, "framework": "tinygrad_cnn"}
    options = ("mlp-1", "--quick", "--parts", "steps", *ALONE)
    for seconds, status, word in ((1e-9, 1, "slower"), (1e9, 0, "faster")):
        earlier = {"rows": [{**row, "variant": "", "seconds": [seconds]}]}
        Path("earlier.json").write_text(json.dumps(earlier), encoding="utf-8")
        result = call("bench", *options, "--compare", "earlier.json", "--page", "page.md")
        assert result.exit_code == status, result.output
        changed = [line.split()[-1] for line in result.stdout.splitlines() if "mlp-1" in line]
        assert changed == [word]
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert (
        "tinygrad-cnn bench mlp-1 --ours eager --against none --threads 1 --parts steps --quick"
        in text
    )


def test_a_comparison_of_nothing_exits_with_1(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("mlp-1", "--quick", "--parts", "steps", *ALONE, "--compare", "earlier.json")
    row = {"kind": "time", "threads": 1, "framework": "tinygrad_cnn", "variant": ""}
    ours = {**row, "workload": "mlp-1", "seconds": [1e9]}

    def compare(*rows: dict[str, object]) -> Result:
        Path("earlier.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
        return call("bench", *options)

    result = compare({**ours, "workload": "vgg-8"})
    assert result.exit_code == 1, result.output
    assert "only in earlier.json: vgg-8" in result.stdout
    assert "only in this run: mlp-1" in result.stdout
    assert "0 figures compared" in result.stdout
    result = compare({**ours, "busy": True})
    assert result.exit_code == 1, result.output
    assert "0 figures compared" in result.stdout
    assert "Not judged, as the machine was busy: 1 figure." in result.stdout
    assert compare(ours, {**ours, "workload": "vgg-8"}).exit_code == 0  # vgg-8 is not selected
    monkeypatch.setattr(benchmark, "alternate", lambda *arguments: iter(()))
    result = compare(ours)
    assert result.exit_code == 1, result.output
    assert "missing now: time of mlp-1, eager, 1 thread" in result.stdout


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [{}]}',
        '{"rows": [1]}',
        '{"rows": [], "machine": 1}',
        '{"rows": [{"kind": "time", "workload": "mlp-1", "threads": 1, '
        '"framework": "tinygrad_cnn", "variant": "", "seconds": ["1"]}]}',
        '{"rows": [{"kind": "time", "workload": "mlp-1", "threads": 1, '
        '"framework": "tinygrad_cnn", "variant": "", "seconds": [0]}]}',
    ],
)
def test_a_malformed_report_is_refused_at_once(call: Call, text: str) -> None:
    Path("earlier.json").write_text(text, encoding="utf-8")
    result = call("bench", "--compare", "earlier.json")
    assert result.exit_code == 2
    assert "earlier.json is not the JSON of `bench --json`" in result.stderr
    assert result.stdout == ""


def test_a_page_without_the_comments_is_refused_at_once(call: Call) -> None:
    Path("page.md").write_text("# Title\n", encoding="utf-8")
    result = call("bench", "--page", "page.md")
    assert result.exit_code == 2
    assert "--page page.md has no line" in result.stderr
    assert result.stdout == ""


def test_the_roofline_is_drawn(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    result = call("bench", "mlp-32", "--quick", "--parts", "ops", "--figure", "roof.png", *ALONE)
    assert result.exit_code == 0, result.output
    assert "The roofline is in roof.png." in result.stdout
    assert (tmp_path / "roof.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet-64"], "there is no workload 'lenet-64'; did you mean lenet5-64?"),
        (["--ours", "eager,slow"], "--ours has 'slow', expected some of eager, eager-fast"),
        (["--against", "keras"], "--against has 'keras', expected some of torch, torch.compile"),
        (["--python", "torch"], "--python is 'torch', expected PEER=PATH"),
        (["--threads", "0"], "--threads is '0', expected integers >= 1"),
        (["--threads", "two"], "--threads is 'two', expected integers >= 1"),
        (["--parts", "ops,speed"], "--parts has 'speed', expected some of steps, ops"),
        (["--parts", "steps", "--figure", "a.png"], "nothing to draw, as --parts lacks ops"),
        (
            ["small*", "--figure", "a.png"],
            "nothing to draw, as these workloads have no training step",
        ),
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--figure", "nowhere/a.png"], "--figure nowhere/a.png: there is no folder nowhere"),
        (["--page", "page.txt"], "--page is 'page.txt', expected a file name with .md"),
        (["--page", "nowhere/a.md"], "--page nowhere/a.md: there is no folder nowhere"),
    ],
)
def test_bad_options_are_refused_at_once(call: Call, arguments: list[str], message: str) -> None:
    result = call("bench", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stdout == ""
