"""What became slower or faster since an earlier benchmark on the same machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tinygrad_cnn.bench.sides import EAGER, NUMPY, OURS, PEERS

__all__ = ["BenchmarkChange", "changed_machine", "compare", "list_figures"]

LEAST = 1.03  # a smaller change of a time is not reported
LEAST_MEMORY = 1.1
SAME_MACHINE = ("processor", "system", "cores", "python", "numpy", "blas", "kernel", "numba")

Row = Mapping[str, Any]
Figure = tuple[str, int, str, str]


@dataclass(frozen=True, slots=True)
class BenchmarkChange:
    """A workload measured in both benchmarks.

    Attributes
    ----------
    workload : str
    threads : int
    variant : str
        Of ours: one of `WAYS`.
    what : str
        The unit of the figures compared: "ms", "÷ torch" or "MB".
    before, after : float
        Medians.
    significant : bool
        Whether the change exceeds the spread.
    busy : bool
        Whether other processes used the machine all the time, before or after: no change of a time
        is significant.
    """

    workload: str
    threads: int
    variant: str
    what: str
    before: float
    after: float
    significant: bool
    busy: bool = False

    @property
    def factor(self) -> float:
        """After divided by before."""
        return self.after / self.before

    @property
    def slower(self) -> bool:
        """Whether it takes more time or memory, beyond the spread."""
        return self.significant and self.factor > 1

    @property
    def faster(self) -> bool:
        """Whether it takes less time or memory, beyond the spread."""
        return self.significant and self.factor < 1


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[BenchmarkChange]:
    """Return the change of each workload that both reports measured.

    Parameters
    ----------
    before, after : mapping
        As `BenchmarkReport.to_json` returns them.

    Notes
    -----
    Where both reports have the same other framework, our time is divided by its in each round, so
    that a slower or busier machine changes nothing. A time is slower if the median is above all
    rounds before and all rounds are above the median before; and by 3 % at least. Memory hardly
    varies: 10 % count.

    Examples
    --------
    >>> def report(*seconds):
    ...     row = {"kind": "time", "workload": "mlp-1", "threads": 1, "framework": "tinygrad_cnn"}
    ...     return {"rows": [{**row, "variant": "", "seconds": seconds}]}
    >>> change, = compare(report(1.0, 1.1, 1.05), report(1.2, 1.3, 1.25))
    >>> change.slower, round(change.factor, 2)
    (True, 1.19)
    """
    earlier, later = _times(before["rows"]), _times(after["rows"])
    busy = _busy(before["rows"]) | _busy(after["rows"])
    found = [
        _time_change(key, sides, later[key], key[:2] in busy)
        for key, sides in earlier.items()
        if key in later
    ]
    weights, now = _peaks(before["rows"]), _peaks(after["rows"])
    for key, peak in weights.items():
        if key in now:
            ratio = now[key] / peak
            significant = max(ratio, 1 / ratio) >= LEAST_MEMORY
            found.append(BenchmarkChange(*key, "MB", peak / 1e6, now[key] / 1e6, significant))
    return found


def changed_machine(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between the machines and peers of two reports, in words.

    What the earlier report does not name is not compared.
    """
    old, new = _software(before), _software(after)
    return [
        f"{name} {old[name]} before, {new.get(name, 'not measured')} now"
        for name in (*SAME_MACHINE, *PEERS)
        if name in old and old[name] != new.get(name)
    ]


def _software(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the machine of a report, and the version of each peer by name."""
    peers = {it["name"]: it["version"] for it in report.get("frameworks", ())}
    return {**report.get("machine", {}), **{name: peers[name] for name in PEERS if name in peers}}


def list_figures(report: Mapping[str, Any]) -> set[Figure]:
    """Return what a report measured of ours: workload, threads, variant, "time" or "memory"."""
    rows = report["rows"]
    kinds = (("time", _times(rows)), ("memory", _peaks(rows)))
    return {(*key, kind) for kind, found in kinds for key in found}


Sides = dict[tuple[str, str], Sequence[float]]
Key = tuple[str, int, str]


def _times(rows: Iterable[Row]) -> dict[Key, Sides]:
    """Return the seconds of each side, by workload, threads, and variant of ours."""
    found: dict[tuple[str, int], Sides] = {}
    for row in rows:
        if row["kind"] == "time" and row["seconds"]:
            sides = found.setdefault((row["workload"], row["threads"]), {})
            sides[row["framework"], row["variant"]] = row["seconds"]
    return {
        (*key, variant or EAGER): sides | {(OURS, ""): seconds}
        for key, sides in found.items()
        for (framework, variant), seconds in sides.items()
        if framework == OURS
    }


def _busy(rows: Iterable[Row]) -> set[tuple[str, int]]:
    return {(row["workload"], row["threads"]) for row in rows if row.get("busy")}


def _peaks(rows: Iterable[Row]) -> dict[Key, float]:
    return {
        (row["workload"], row["threads"], row["variant"] or EAGER): row["bytes"]
        for row in rows
        if row["kind"] == "memory" and row["framework"] == OURS and row["bytes"]
    }


def _time_change(key: Key, earlier: Sides, later: Sides, busy: bool) -> BenchmarkChange:
    """Return the change of our time, as a ratio to another framework's if both have one."""
    others = [side for side in earlier if side in later and side[0] in (*PEERS, NUMPY)]
    others.sort(key=lambda side: ((*PEERS, NUMPY).index(side[0]), median(earlier[side])))
    what = "ms"
    before, after = ([1e3 * s for s in sides[OURS, ""]] for sides in (earlier, later))
    if others:
        what = f"÷ {others[0][0]}"
        before, after = (
            [a / b for a, b in zip(sides[OURS, ""], sides[others[0]], strict=False)]
            for sides in (earlier, later)
        )
    old, new = median(before), median(after)
    grown = new > max(before) and min(after) > old and new >= LEAST * old
    shrunk = new < min(before) and max(after) < old and old >= LEAST * new
    return BenchmarkChange(*key, what, old, new, (grown or shrunk) and not busy, busy)
