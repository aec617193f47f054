"""The ops that no program of a forward has, and why."""

from __future__ import annotations

__all__ = ["REFUSED"]

_GRADIENT = "only gradients call it, and a file computes the forward"

REFUSED: dict[str, str] = {
    "avgpool_gradient": _GRADIENT,
    "batch_norm": "it takes the statistics of a batch, as in training: the layer needs "
    "track_running_stats=True and eval mode",
    "conv2d_input_gradient": f"{_GRADIENT}; conv_transpose2d can be exported",
    "conv2d_weight_gradient": _GRADIENT,
    "dropout": "it is for training: the module that calls it needs eval mode",
    "gather_windows": _GRADIENT,
    "rank_average": "it averages over the ranks of data-parallel training",
    "scatter_windows": _GRADIENT,
}
"""Why an op is neither exported nor written, by its name."""
