"""An experiment of no worth that runs in moments, as a file of one's own."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import os
import signal
from pathlib import Path

from tinygrad_cnn.experiments.experiment import Experiment, Unavailable, grid
from tinygrad_cnn.experiments.finding import Finding, Verdict

LOG = Path(__file__).with_name("log")
STEPS = 4


def run(record, *, seed, factor, trouble=""):
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"{factor} {seed}\\n")
    if trouble == "raises":
        raise ArithmeticError("no such luck")
    if trouble == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "lacks":
        raise Unavailable("there is no such machine")
    before = record.state["step"] if record.state else 0
    record.steps = STEPS
    for step in range(before + 1, STEPS + 1):
        sum(range(300_000))
        record(step, value=10 * factor + seed + step)
        record.save({"step": step})


experiment = Experiment(
    name="tiny",
    question="Does it go on?",
    variants=VARIANTS,
    run=run,
    figure=lambda results, figure: figure.subplots().plot([1, 2]),
    finding=lambda results: Finding(
        f"{len(results.rows)} rows.", (Verdict.of("it goes on", True, "4 steps"),)
    ),
    seeds=3,
)
"""
VARIANTS = "grid(factor=(1, 2, 3))"


def own(folder: Path, variants: str = VARIANTS, source: str = SOURCE) -> Path:
    """Write it to a folder."""
    path = folder / "own.py"
    path.write_text(source.replace("VARIANTS", variants), encoding="utf-8")
    return path
