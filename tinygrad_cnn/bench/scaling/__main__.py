"""Measure scaling, fit the cost model, write the page: ``python -m tinygrad_cnn.bench.scaling``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from tinygrad_cnn.bench.scaling.measurement import ROUNDS, ScalingMeasurement, measure_scaling
from tinygrad_cnn.bench.scaling.page import render_page, write_page


def main(arguments: list[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_cnn.bench.scaling",
        description="Measure training on 1, 2 and 4 ranks of this machine, fit a cost model, and "
        "print or write the page.",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="number of rounds")
    parser.add_argument("--read", type=Path, metavar="FILE", help="use a stored measurement")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write page and figures there")
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error(f"--rounds is {given.rounds}, expected 1 or more")
    try:
        if given.read is not None:
            measurement = ScalingMeasurement.read(given.read)
        else:
            measurement = measure_scaling(
                rounds=given.rounds, on_progress=lambda what: print(what, file=sys.stderr)
            )
            measurement.command = shlex.join(["python -m tinygrad_cnn.bench.scaling", *arguments])
        if given.write is None:
            print(render_page(measurement))
        else:
            for path in write_page(measurement, given.write):
                print(path)
    except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        raise SystemExit(f"scaling: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
