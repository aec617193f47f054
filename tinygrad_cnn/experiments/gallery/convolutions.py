"""Four convolution algorithms: nested loops, im2col, the engine's, and FFT."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tinygrad_cnn.bench.measuring import peak_bytes, seconds_per_call
from tinygrad_cnn.bench.worker.roofs import roofs
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, GRAY, draw_curve, name_lines
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.ops import conv2d

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 2
SWEEPS = {
    "image": (8, 16, 32, 64, 128),
    "kernel": (1, 3, 5, 9, 15, 21),
    "channels": (1, 2, 4, 8, 16, 32, 64),
}
MOST_IN_LOOPS = 3_000_000  # multiply-adds; Python does about ten million per second
BUDGET = 0.15  # seconds per size

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


USUAL = ConvolutionSizes()


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


METHODS = {"nested loops": nested_loops, "im2col": im2col, "FFT": fft, "engine": by_engine}


def run(
    record: Record,
    seed: int,
    method: str,
    along: str,
    sizes: tuple[int, ...] = (),
    budget: float = BUDGET,
) -> None:
    """Time one method on one thread at each size of a sweep; the steps are the sizes."""
    rng = np.random.default_rng(seed)
    rate = roofs(threads=1, seconds=budget)["multiply_adds"]
    convolve = METHODS[method]
    sizes = sizes or SWEEPS[along]
    record.steps = max(sizes)
    for size in sizes:
        at = USUAL._replace(**{along: size})
        if method == "nested loops" and at.multiply_adds > MOST_IN_LOOPS:
            break
        images = rng.standard_normal((IMAGES, at.channels, at.image, at.image), "f4")
        kernels = rng.standard_normal((at.channels, at.channels, at.kernel, at.kernel), "f4")
        call = partial(convolve, images, kernels)
        with num_threads(1):
            seconds = seconds_per_call(call, budget)
        record(
            size,
            seconds_per_call=seconds,
            peak_bytes=peak_bytes(call),
            predicted=at.multiply_adds / rate,
        )


def figure(results: Results, figure: Figure) -> None:
    """Draw time and memory against image size, kernel size and channels."""
    figure.set_size_inches(11.0, 6.4)
    axes = figure.subplots(2, len(SWEEPS), sharex="col", sharey="row")
    for column, along in enumerate(SWEEPS):
        for row, measure in enumerate(("seconds_per_call", "peak_bytes")):
            panel = axes[row, column]
            panel.set(xscale="log", yscale="log")
            for method, color in zip(METHODS, COLORS, strict=False):
                draw_curve(
                    panel, results, f"{method}, {along}", measure,
                    color=color, label=method, marker="o",
                )  # fmt: skip
        draw_curve(
            axes[0, column], results, f"engine, {along}", "predicted",
            color=GRAY, label="predicted", linestyle="--",
        )  # fmt: skip
        axes[1, column].set_xlabel(_axis(along))
        axes[1, column].set_xticks(SWEEPS[along], [f"{size}" for size in SWEEPS[along]])
        axes[1, column].minorticks_off()
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("bytes at the peak")
    for panel in axes[:, -1]:
        name_lines(panel)


def finding(results: Results) -> str:
    """Compare the methods' speed, where FFT pays, and the engine's time with the prediction."""
    usual = {method: _at(results, method, "image", USUAL.image) for method in METHODS}
    slower = Spread.of(usual["nested loops"] / usual["engine"])
    columns = Spread.of(usual["im2col"] / usual["engine"])
    widest = SWEEPS["channels"][-1]
    share = Spread.of(
        _at(results, "engine", "channels", widest, "predicted")
        / _at(results, "engine", "channels", widest)
    )
    kernel = SWEEPS["kernel"][-1]
    memory = Spread.of(
        _at(results, "im2col", "kernel", kernel, "peak_bytes")
        / _at(results, "engine", "kernel", kernel, "peak_bytes")
    )
    return (
        f"With {IMAGES} images of {USUAL.image}×{USUAL.image}, {USUAL.channels} channels and "
        f"{USUAL.kernel}×{USUAL.kernel} kernels, nested loops take {slower:,.0f} times as long as "
        f"the engine, and im2col {columns:.2g} times as long. {_where_fft_pays(results)} "
        "Multiply-adds divided by the machine's rate of matrix products predict the time well for "
        f"many channels: with {widest} channels the prediction is {share:.2g} of the engine's "
        "time. With few channels, moving the data takes longer than the multiplications, and the "
        "prediction is far too low. "
        f"At {kernel}×{kernel}, im2col needs {memory:.3g} times the engine's memory: it copies "
        "each pixel once for each cell of the kernel."
    )


def _where_fft_pays(results: Results) -> str:
    """Return the sentence on the smallest kernel for which FFT is faster than the engine."""
    faster = [
        [
            _at(results, "FFT", "kernel", size)[seed] < _at(results, "engine", "kernel", size)[seed]
            for size in SWEEPS["kernel"]
        ]
        for seed in range(len(results.curve("FFT, kernel", "predicted").seeds))
    ]
    first = Spread.of(
        [SWEEPS["kernel"][wins.index(True)] if any(wins) else np.nan for wins in faster]
    )
    if np.isnan(first.median):
        return (
            f"FFT, whose time hardly depends on the kernel, is not faster up to "
            f"{SWEEPS['kernel'][-1]}×{SWEEPS['kernel'][-1]}."
        )
    return f"FFT, whose time hardly depends on the kernel, is faster from a kernel of {first:g} on."


def _at(
    results: Results, method: str, along: str, size: int, measure: str = "seconds_per_call"
) -> NDArray[np.float64]:
    """Return a measure at one size, for each seed."""
    curve = results.curve(f"{method}, {along}", measure)
    return curve.values[:, curve.steps == size].ravel()


def _axis(along: str) -> str:
    others = [f"{name} {value}" for name, value in USUAL._asdict().items() if name != along]
    return f"{along} ({', '.join(others)})"


experiment = Experiment(
    name="convolutions",
    question="How do time and memory of a convolution depend on the algorithm?",
    claim="It defines convolution as a sum over a window (section 0.2.1) and names no algorithm; "
    "taken literally, that is nested loops.",
    variants=grid(method=tuple(METHODS), along=tuple(SWEEPS)),
    run=run,
    figure=figure,
    finding=finding,
    source="",
)
