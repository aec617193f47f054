"""The page on scaling: tables of a measurement, the fitted model and plans with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tinygrad_cnn.bench.scaling import tables
from tinygrad_cnn.bench.scaling.figures import draw_figures
from tinygrad_cnn.bench.scaling.fit import (
    ScalingCase,
    ScalingFit,
    all_reduces,
    fit_scaling,
    median_cases,
)
from tinygrad_cnn.bench.scaling.measurement import ScalingMeasurement
from tinygrad_cnn.bench.scaling.plan import EFFICIENT, INTERCONNECTS, ScalingPlan, plans
from tinygrad_cnn.bench.timing import BUSY
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.text import counted, number, percent

__all__ = ["FOLDER", "PAGE", "STORED", "render_page", "write_page"]

PAGE, FOLDER, STORED = "scaling.md", "scaling", "measured.json"


def write_page(measurement: ScalingMeasurement, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the measurement, the figures and the page to a folder, and return the paths.

    Raises
    ------
    ValueError
        If the measurement lacks what the model is fitted to.
    ModuleNotFoundError
        If matplotlib is not installed; the message gives the install command.
    OSError
        If a file cannot be written.
    """
    page, stored = Path(folder, PAGE), Path(folder, FOLDER, STORED)
    text = render_page(measurement)
    stored.parent.mkdir(parents=True, exist_ok=True)
    measurement.write(stored)
    drawn = draw_figures(stored, fit_scaling(measurement))
    with atomic_write(page) as file:
        file.write(text.encode())
    return [stored, *drawn, page]


HEAD = """# Scaling

How much faster is data-parallel training on several ranks, and what limits it? This page measures
one machine, fits a cost model to it, and plans with the model.

```sh
python -m tinygrad_cnn.bench.scaling                  # measure this machine, print the tables
python -m tinygrad_cnn.bench.scaling --write docs     # and write this page and its figures
python -m tinygrad_cnn.bench.scaling --read docs/scaling/measured.json --write docs   # again
```

It needs the extras `mpi` and `plots`. Every number on this page is computed from
[measured.json](scaling/measured.json).
"""

MODEL = """## The model

A step of n ranks with b images each takes

```
compute   c = a₀ + a₁·b                        forward and backward
bucket k  T_k = m(n)·α + 2(n − 1)/n · s_k/β    s_k bytes in m(n) messages, one after another
          e_k = max(r_k·c, e_{k−1}) + T_k      when it ends; its gradients are ready at r_k·c
step      t = max(c + w, e_K) + 2o·⌈log₂ n⌉·α + p·Σs_k + u
```

- α is the latency of a message, β the bandwidth of a rank, u the update, p the time to copy a byte
  of a gradient into its bucket and back. o small all-reduces block all ranks: the numbers of
  examples, and three for each synchronized batch normalization.
- m = 2⌈log₂ n⌉ with recursive halving and doubling (Thakur, Rabenseifner and Gropp, 2005), which
  `tinygrad_cnn.distributed` asks MPICH for; m = 2(n − 1) in a ring (Patarasuk and Yuan, 2009).
- w is the wait for the slowest rank: σ·c times the mean of the largest of n normal numbers, where σ
  is the standard deviation of a rank's compute from step to step.
- On one machine the cores copy the messages themselves, so ΣT_k is added to c: a rank that does not
  wait, as the table above says, may still be copying.
  If n ranks are more than the cores, they take turns.

[model.py](../tinygrad_cnn/bench/scaling/model.py) has the sources. The factors are fitted by least
squares of the relative error: a₀ and a₁ to the steps of one rank; α and β to the all-reduces of two
ranks; the slowdown of two ranks that share memory, and p, to their steps. Nothing is fitted to
more ranks.
"""


def render_page(measurement: ScalingMeasurement) -> str:
    """Return the text of the page."""
    found, fitted = median_cases(measurement), fit_scaling(measurement)
    parts = [
        HEAD,
        _machine(measurement),
        "## Efficiency on this machine\n",
        _efficiency(measurement, found, fitted),
        MODEL,
        _fitted(measurement, found, fitted),
        "## Plans\n",
        _planned(plans(fitted)),
        "## When to use larger batches\n",
        _larger(plans(fitted)),
    ]
    return "\n".join(parts)


def _machine(measurement: ScalingMeasurement) -> str:
    machine = measurement.machine
    rounds, quiet = len(measurement.loads), len(measurement.quiet)
    if quiet:
        state = f"{quiet} of {counted(rounds, 'round')} count, with other processes on less than "
        state += f"{BUSY:g} cores"
    else:
        state = f"{counted(rounds, 'round')}, in all of which other processes used more than "
        state += f"{BUSY:g} cores, {median(measurement.loads):.1f} in the median: the numbers are "
        state += "not reliable"
    return (
        f"Measured on {measurement.date} on {machine.processor}, {counted(machine.cores, 'core')}, "
        f"{machine.system}; {measurement.mpi}, Python {machine.python}, NumPy {machine.numpy}, "
        f"{machine.blas}. Each rank is a process with one thread; {state}. The numbers of ranks "
        "take turns in each round; numbers are medians over the rounds, with the lowest and the "
        "highest.\n"
    )


def _efficiency(
    measurement: ScalingMeasurement, found: Sequence[ScalingCase], fitted: ScalingFit
) -> str:
    """Return the tables of efficiency and communication."""
    cores = fitted.cores
    shared = (
        f" {counted(cores, 'core').capitalize()} compute no faster with more ranks than that: "
        "these take turns, and a message waits until its receiver has its turn."
        if max(case.ranks for case in found) > cores
        else ""
    )
    return (
        "The efficiency is the number of images per second, over that of one rank times the number "
        f"of ranks (of cores, if they are fewer).{shared} *Without messages*, as many ranks train "
        "at the same time, each by itself: they share the memory of the machine, which limits the "
        "efficiency before any message is sent.\n\n"
        "With a batch for each rank (weak scaling):\n\n"
        f"{tables.steps(measurement, shared=False)}\n\n"
        "With a batch shared out among the ranks (strong scaling):\n\n"
        f"{tables.steps(measurement, shared=True)}\n\n"
        "Communication in a step. A rank sends 2(n − 1)/n times the bytes that are summed. *At "
        "once* are the same all-reduces one after another, while no rank computes. In training "
        "they are in flight from the start of the first to the end of the last; *hidden* is the "
        "share of this time in which the rank computes, as in `DataParallel.statistics`. "
        "*Longer* is a step with messages than without: copies, and waiting for messages and for "
        "slower ranks.\n\n"
        f"{tables.communication(found)}\n"
    )


def _fitted(
    measurement: ScalingMeasurement, found: Sequence[ScalingCase], fitted: ScalingFit
) -> str:
    """Return the factors, and the predictions compared with the measurement."""
    errors = [abs(tables.error(case, fitted)) for case in found if not case.checked]
    checked = [abs(tables.error(case, fitted)) for case in found if case.checked]
    more = sorted({case.ranks for case in found if case.checked})
    text = (
        f"{tables.factors(fitted)}\n\n"
        f"In the memory of this machine α is {number(1e6 * fitted.memory.latency)} µs and β "
        f"{number(fitted.memory.bandwidth / 1e9)} GB/s. Two ranks that send nothing take "
        f"{fitted.sharing:.3f} times as long as one; p is {number(1e9 * fitted.per_byte)} ns.\n\n"
        f"{tables.predictions(found, fitted)}\n\n"
        f"The model differs from the steps that it is fitted to by {percent(median(errors), 1)} in "
        f"the median and {percent(max(errors), 1)} at most"
    )
    if checked:
        text += (
            f"; from those of {' and '.join(map(str, more))} ranks by "
            f"{percent(median(checked), 1)} in the median and {percent(max(checked), 1)} at most"
        )
    said = "".join(_all_reduces(measurement, fitted, ranks) for ranks in more)
    return f"{text}.{said}\n\n![All-reduces and steps: measured and predicted]({FOLDER}/fit.svg)\n"


def _all_reduces(measurement: ScalingMeasurement, fitted: ScalingFit, ranks: int) -> str:
    """Say how far all-reduces of more ranks than fitted are from the model."""
    memory = fitted.memory_of(ranks)
    ratios = {
        size: seconds / memory.all_reduce(size, ranks)
        for size, seconds in all_reduces(measurement, ranks).items()
    }
    small, large = min(ratios), max(ratios)
    turns = (
        f" With {ranks} ranks on {counted(fitted.cores, 'core')}, a message waits for the system "
        "to run its receiver, which the model does not know."
        if ranks > fitted.cores
        else ""
    )
    return (
        f" All-reduces of {ranks} ranks take {number(ratios[small], 2)} times the predicted time "
        f"for {small:,} bytes, and {number(ratios[large], 2)} times for {large:,} bytes.{turns}"
    )


def _planned(found: Sequence[ScalingPlan]) -> str:
    """Return the plans with their assumptions."""
    links = "; ".join(
        f"{name}: α = {number(1e6 * link.latency)} µs, β = {number(link.bandwidth / 1e9)} GB/s"
        for name, link in INTERCONNECTS.items()
    )
    return (
        f"The same factors with a network card in each machine ({links}; the latencies are "
        "assumptions), one rank on each machine, and all links as fast when all are used. *Speed* "
        "is that of a rank, in threads of the measured machine: faster ranks have less time to "
        f"hide the same messages.\n\n![Predicted efficiency by ranks]({FOLDER}/plan.svg)\n\n"
        "In a ring, 2(n − 1) messages follow one another, so that its latency grows with the "
        "ranks. All else is for recursive halving and doubling.\n\n"
        f"{tables.plan_table(found)}\n"
    )


def _larger(found: Sequence[ScalingPlan]) -> str:
    """Say when a larger batch pays, and what it costs."""
    return (
        "The messages of a step do not depend on the batch. Ranks that share out a given batch "
        "have less to compute each, until nothing hides the messages. These are the most ranks "
        f"with an efficiency of {100 * EFFICIENT:g} % or more, in powers of two:\n\n"
        f"{tables.ranks_table(found)}\n\n"
        "For more ranks the batch must grow, and this has a price: fewer updates in an epoch, and "
        "a learning rate that must be scaled and warmed up. [An experiment](efficiency.md#warmup) "
        "measures the price for 1 to 8 times the batch. So:\n\n"
        "1. Start with the batch that trains best on one rank, and let more ranks share it out, up "
        "to the number in the table.\n"
        "2. For more ranks, double the batch and the learning rate together, with a warm-up of a "
        "few epochs, as long as the accuracy on held-out data allows it.\n"
        "3. Beyond that, train for more epochs with the large batch, or use the other ranks for "
        "other seeds: those send no messages.\n"
    )
