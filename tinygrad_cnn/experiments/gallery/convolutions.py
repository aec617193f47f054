"""Four convolution algorithms: nested loops, im2col, the engine's, and FFT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tinygrad_cnn.bench.timing import Pace
from tinygrad_cnn.bench.traced_memory import peak_bytes
from tinygrad_cnn.bench.worker.roofs import roofs
from tinygrad_cnn.experiments.experiment import TIMES, Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    GRAY,
    draw_curve,
    log_axis,
    name_lines,
    outer_labels,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.results import Measurement, Results, Spread
from tinygrad_cnn.experiments.times import ratios, record_times, seconds
from tinygrad_cnn.ops import conv2d

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 2
SWEEPS = {
    "image": (8, 16, 32, 64, 128),
    "kernel": (1, 3, 5, 9, 15, 21),
    "channels": (1, 2, 4, 8, 16, 32, 64),
}
MOST_IN_LOOPS = 1_100_000  # multiply-adds; Python does two to three million per second
PACE = Pace(rounds=9, turn=0.05, patience=1.5, pause=0.0)
ROOF_SECONDS = 2.0  # per kind of product

Float32s = NDArray[np.float32]


class ConvolutionSizes(NamedTuple):
    """Sizes of a convolution: square images and kernels, equal channels in and out."""

    image: int = 32
    kernel: int = 3
    channels: int = 8

    @property
    def multiply_adds(self) -> int:
        """The number of multiply-adds by the definition."""
        windows = (self.image - self.kernel + 1) ** 2
        return IMAGES * self.channels**2 * windows * self.kernel**2

    @property
    def label(self) -> str:
        """The size that differs from the usual ones, such as "kernel 21"."""
        changed = [
            f"{name} {size}"
            for name, size in self._asdict().items()
            if size != USUAL._asdict()[name]
        ]
        return ", ".join(changed) or "usual sizes"


USUAL = ConvolutionSizes()
SIZES = {
    at.label: at
    for along, sizes in SWEEPS.items()
    for at in (USUAL._replace(**{along: size}) for size in sizes)
}


def nested_loops(images: Float32s, kernels: Float32s) -> Float32s:
    """Convolve by the definition: one loop per index."""
    x, w = images.tolist(), kernels.tolist()  # indexing lists is faster than indexing arrays
    (N, C, H, W), (OC, _, KH, KW) = images.shape, kernels.shape
    OH, OW = H - KH + 1, W - KW + 1
    y = np.empty((N, OC, OH, OW), images.dtype)
    for n in range(N):
        for o in range(OC):
            for i in range(OH):
                for j in range(OW):
                    total = 0.0
                    for c in range(C):
                        for k in range(KH):
                            for m in range(KW):
                                total += x[n][c][i + k][j + m] * w[o][c][k][m]
                    y[n, o, i, j] = total
    return y


def im2col(images: Float32s, kernels: Float32s) -> Float32s:
    """Convolve as one matrix product: each window becomes a row, each kernel a column (im2col)."""
    (N, C, _, _), (OC, _, KH, KW) = images.shape, kernels.shape
    windows = sliding_window_view(images, (KH, KW), axis=(2, 3))  # (N, C, OH, OW, KH, KW)
    OH, OW = windows.shape[2:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(N * OH * OW, C * KH * KW)
    y = rows @ kernels.reshape(OC, C * KH * KW).T  # (N·OH·OW, OC)
    return y.reshape(N, OH, OW, OC).transpose(0, 3, 1, 2)


def fft(images: Float32s, kernels: Float32s) -> Float32s:
    """Convolve by the convolution theorem: one product per frequency.

    Where a window fits in the image, circular correlation equals plain correlation.
    """
    (H, W), (KH, KW) = images.shape[2:], kernels.shape[2:]
    x = np.fft.rfft2(images)  # (N, C, H, W/2 + 1)
    w = np.conj(np.fft.rfft2(kernels, (H, W)))  # (OC, C, H, W/2 + 1)
    y = x.transpose(2, 3, 0, 1) @ w.transpose(2, 3, 1, 0)  # (H, W/2 + 1, N, OC)
    full = np.fft.irfft2(y.transpose(2, 3, 0, 1), (H, W))
    return np.asarray(full[:, :, : H - KH + 1, : W - KW + 1], images.dtype)


def by_engine(images: Float32s, kernels: Float32s) -> Float32s:
    """Convolve with the package's engine."""
    return np.asarray(conv2d(images, kernels))


ENGINE = "engine"
METHODS = {"nested loops": nested_loops, "im2col": im2col, "FFT": fft, ENGINE: by_engine}
OTHERS = [method for method in METHODS if method != ENGINE]
COLOR = {"nested loops": COLORS[0], "im2col": COLORS[2], "FFT": COLORS[3], ENGINE: COLORS[1]}


def run(record: Record, seed: int, image: int, kernel: int, channels: int) -> None:
    """Measure all methods at one size: memory, and seconds in turns."""
    at = ConvolutionSizes(image, kernel, channels)
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((IMAGES, channels, image, image), "f4")
    kernels = rng.standard_normal((channels, channels, kernel, kernel), "f4")
    calls = {method: partial(convolve, images, kernels) for method, convolve in METHODS.items()}
    if at.multiply_adds > MOST_IN_LOOPS:
        del calls["nested loops"]
    record(0, **{f"bytes of {method}": peak_bytes(call) for method, call in calls.items()})
    record_times(record, calls, PACE)


def times(record: Record, *, seed: int) -> None:
    """Measure the rate of matrix products on one thread."""
    record(0, multiply_adds_per_second=roofs(1, ROOF_SECONDS)["multiply_adds"])


def figure(results: Results, figure: Figure) -> None:
    """Draw time and memory against image size, kernel size and channels."""
    figure.set_size_inches(11.0, 6.4)
    axes = figure.subplots(2, len(SWEEPS), sharex="col", sharey="row")
    for column, (along, sizes) in enumerate(SWEEPS.items()):
        drawn = _along(results, along)
        for row, measure in enumerate(("seconds", "megabytes")):
            panel = axes[row, column]
            for method, color in COLOR.items():
                draw_curve(panel, drawn, method, measure, color=color, label=method, marker="o")
            log_axis(panel.yaxis)
        axes[0, column].plot(
            sizes,
            [USUAL._replace(**{along: size}).multiply_adds / _roof(results) for size in sizes],
            color=GRAY, label="predicted", linestyle="--",
        )  # fmt: skip
        others = [f"{name} {value}" for name, value in USUAL._asdict().items() if name != along]
        axes[1, column].set(xscale="log", xlabel=f"{along} ({', '.join(others)})")
        axes[1, column].set_xticks(sizes, [f"{size}" for size in sizes])
        axes[1, column].minorticks_off()
    outer_labels(axes, ("seconds, one thread", "peak memory, MB"))
    name_lines(*axes[:, -1])


def _along(results: Results, along: str) -> Results:
    """Return seconds and memory of each method along a sweep; the step is the size."""
    rows = []
    for size in SWEEPS[along]:
        label = USUAL._replace(**{along: size}).label
        for method in _measured(results, label):
            found = {
                "seconds": seconds(results, method, label),
                "megabytes": 1e-6 * results.last(label, f"bytes of {method}"),
            }
            rows += [
                Measurement(method, seed, size, measure, value)
                for measure, values in found.items()
                for seed, value in enumerate(values)
            ]
    return Results(results.experiment, rows)


def finding(results: Results) -> Finding:
    """Compare the methods with the engine, and the engine's time with the prediction."""
    over = {method: _over_engine(results, method) for method in OTHERS}
    usual = ", ".join(f"{method} {over[method][USUAL.label]:,.1f}" for method in OTHERS)
    few, *_, many = (USUAL._replace(channels=channels) for channels in SWEEPS["channels"])
    large = USUAL._replace(kernel=SWEEPS["kernel"][-1]).label
    memory = Spread.of(
        results.last(large, "bytes of im2col") / results.last(large, f"bytes of {ENGINE}")
    )
    every = _listed(over, lambda ratio: ratio.high < 1)
    some = _listed(over, lambda ratio: ratio.low < 1 <= ratio.high)
    text = (
        f"{IMAGES} images on one thread; unless stated, {USUAL.image}×{USUAL.image} pixels, "
        f"kernels of {USUAL.kernel}×{USUAL.kernel} and {USUAL.channels} channels. At these sizes "
        f"the times, divided by the engine's, are: {usual}. Another algorithm is faster than the "
        f"engine in every seed at: {every}; in some seeds at: {some}. The multiply-adds "
        f"divided by the machine's rate of matrix products, {_roof(results) / 1e9:.3g}·10⁹ per "
        "second, predict "
        f"{_predicted(results, few):.2g} of the engine's time with {few.label}, and "
        f"{_predicted(results, many):.2g} with {many.label}. At {large}, im2col's peak memory is "
        f"{memory:.3g} times the engine's."
    )
    fastest = [
        all(over[method][label].low > 1 for method in OTHERS if label in over[method])
        for label in SIZES
    ]
    loops = [ratio.median for ratio in over["nested loops"].values()]
    verdicts = (
        Verdict.of_each(
            "nested loops, the definition taken literally, are the slowest algorithm",
            [_is_slowest(over, label) for label in over["nested loops"]],
            f"{min(loops):,.0f} to {max(loops):,.0f} times the engine's time",
        ),
        Verdict.of_each(
            "the engine is the fastest algorithm",
            fastest,
            f"in every seed at {sum(fastest)} of {len(SIZES)} sizes; another is faster in every "
            f"seed at: {every}",
        ),
    )
    return Finding(text, verdicts)


def _over_engine(results: Results, method: str) -> dict[str, Spread]:
    """Return the time of a method divided by the engine's, at each size that it is measured at."""
    return {
        label: Spread.of(ratios(results, method, ENGINE, label))
        for label in SIZES
        if method in _measured(results, label)
    }


def _listed(over: dict[str, dict[str, Spread]], chosen: Callable[[Spread], bool]) -> str:
    """List the sizes at which the ratio to the engine's time is of the chosen kind."""
    found = [
        f"{label} ({method})"
        for method in OTHERS
        for label, ratio in over[method].items()
        if chosen(ratio)
    ]
    return ", ".join(found) or "none"


def _is_slowest(over: dict[str, dict[str, Spread]], label: str) -> bool:
    loops, *others = (over[method][label] for method in OTHERS)
    return loops.low > max(1.0, *(other.high for other in others))


def _predicted(results: Results, at: ConvolutionSizes) -> Spread:
    """Return the predicted time divided by the engine's."""
    return Spread.of(at.multiply_adds / _roof(results) / seconds(results, ENGINE, at.label))


def _roof(results: Results) -> float:
    """Return the machine's rate of multiply-adds: the best that any seed measured."""
    return float(results.last(TIMES, "multiply_adds_per_second").max())


def _measured(results: Results, label: str) -> list[str]:
    """Return the methods that were measured at a size."""
    return [method for method in METHODS if results.has(label, f"bytes of {method}")]


experiment = Experiment(
    name="convolutions",
    question="How do time and memory of a convolution depend on the algorithm?",
    claim="It defines convolution as a sum over a window (section 0.2.1) and names no algorithm; "
    "taken literally, that is nested loops.",
    variants={label: at._asdict() for label, at in SIZES.items()},
    run=run,
    times=times,
    alone=True,
    figure=figure,
    finding=finding,
    seeds=3,
    source="",
)
