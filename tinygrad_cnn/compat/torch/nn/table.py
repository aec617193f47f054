"""The table of layers without parameters: the class, and what its ``forward`` returns.

The arguments of the class become attributes. ``F`` is `torch.nn.functional`.
"""

from __future__ import annotations

import inspect
from typing import Any

from tinygrad_cnn.compat.torch.nn import functional
from tinygrad_cnn.compat.torch.nn.module import Module
from tinygrad_cnn.compat.torch.table import rows

LAYERS = """
Identity(*args, **kwargs) = input
Flatten(start_dim=1, end_dim=-1) = input.flatten(start_dim, end_dim)
Unflatten(dim, unflattened_size) = input.unflatten(dim, unflattened_size)
ReLU(inplace=False) = F.relu(input, inplace)
ReLU6(inplace=False) = F.relu6(input, inplace)
LeakyReLU(negative_slope=0.01, inplace=False) = F.leaky_relu(input, negative_slope, inplace)
ELU(alpha=1.0, inplace=False) = F.elu(input, alpha, inplace)
SELU(inplace=False) = F.selu(input, inplace)
CELU(alpha=1.0, inplace=False) = F.celu(input, alpha, inplace)
GELU(approximate="none") = F.gelu(input, approximate)
SiLU(inplace=False) = F.silu(input, inplace)
Mish(inplace=False) = F.mish(input, inplace)
Hardswish(inplace=False) = F.hardswish(input, inplace)
Hardsigmoid(inplace=False) = F.hardsigmoid(input, inplace)
Hardtanh(min_val=-1.0, max_val=1.0, inplace=False) = F.hardtanh(input, min_val, max_val, inplace)
LogSigmoid() = F.logsigmoid(input)
Sigmoid() = F.sigmoid(input)
Tanh() = F.tanh(input)
Softplus(beta=1.0, threshold=20.0) = F.softplus(input, beta, threshold)
Threshold(threshold, value, inplace=False) = F.threshold(input, threshold, value, inplace)
GLU(dim=-1) = F.glu(input, dim)
Hardshrink(lambd=0.5) = F.hardshrink(input, lambd)
Softshrink(lambd=0.5) = F.softshrink(input, lambd)
Softsign() = F.softsign(input)
Tanhshrink() = F.tanhshrink(input)
Softmax(dim=None) = F.softmax(input, dim)
Softmin(dim=None) = F.softmin(input, dim)
LogSoftmax(dim=None) = F.log_softmax(input, dim)
Softmax2d() = F.softmax(input, -3)
MaxPool1d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False) =
    F.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
MaxPool2d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False) =
    F.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
AvgPool1d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True) =
    F.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
AvgPool2d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True) =
    F.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
AdaptiveAvgPool1d(output_size) = F.adaptive_avg_pool1d(input, output_size)
AdaptiveAvgPool2d(output_size) = F.adaptive_avg_pool2d(input, output_size)
AdaptiveMaxPool1d(output_size) = F.adaptive_max_pool1d(input, output_size)
AdaptiveMaxPool2d(output_size) = F.adaptive_max_pool2d(input, output_size)
Upsample(size=None, scale_factor=None, mode="nearest", align_corners=None) =
    F.interpolate(input, size, scale_factor, mode, align_corners)
UpsamplingNearest2d(size=None, scale_factor=None) = F.interpolate(input, size, scale_factor)
UpsamplingBilinear2d(size=None, scale_factor=None) =
    F.interpolate(input, size, scale_factor, "bilinear", True)
ChannelShuffle(groups) = F.channel_shuffle(input, groups)
PixelShuffle(upscale_factor) = F.pixel_shuffle(input, upscale_factor)
PixelUnshuffle(downscale_factor) = F.pixel_unshuffle(input, downscale_factor)
ZeroPad1d(padding) = F.pad(input, sides(padding, 1))
ZeroPad2d(padding) = F.pad(input, sides(padding, 2))
ConstantPad2d(padding, value) = F.pad(input, sides(padding, 2), value=value)
ConstantPad1d(padding, value) = F.pad(input, sides(padding, 1), value=value)
CircularPad1d(padding) = F.pad(input, sides(padding, 1), "circular")
ReflectionPad1d(padding) = F.pad(input, sides(padding, 1), "reflect")
ReflectionPad2d(padding) = F.pad(input, sides(padding, 2), "reflect")
ReplicationPad1d(padding) = F.pad(input, sides(padding, 1), "replicate")
ReplicationPad2d(padding) = F.pad(input, sides(padding, 2), "replicate")
CircularPad2d(padding) = F.pad(input, sides(padding, 2), "circular")
Dropout(p=0.5, inplace=False) = F.dropout(input, p, training, inplace)
Dropout3d(p=0.5, inplace=False) = F.dropout1d(input, p, training, inplace)
Dropout1d(p=0.5, inplace=False) = F.dropout1d(input, p, training, inplace)
Dropout2d(p=0.5, inplace=False) = F.dropout2d(input, p, training, inplace)
LocalResponseNorm(size, alpha=1e-4, beta=0.75, k=1.0) =
    F.local_response_norm(input, size, alpha, beta, k)
Unfold(kernel_size, dilation=1, padding=0, stride=1) =
    F.unfold(input, kernel_size, dilation, padding, stride)
Fold(output_size, kernel_size, dilation=1, padding=0, stride=1) =
    F.fold(input, output_size, kernel_size, dilation, padding, stride)
"""
"""Layers of one input."""

LOSSES = """
MSELoss(reduction="mean") = F.mse_loss(input, target, reduction)
L1Loss(reduction="mean") = F.l1_loss(input, target, reduction)
SmoothL1Loss(reduction="mean", beta=1.0) = F.smooth_l1_loss(input, target, reduction, beta)
HuberLoss(reduction="mean", delta=1.0) = F.huber_loss(input, target, reduction, delta)
CrossEntropyLoss(weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0) =
    F.cross_entropy(input, target, weight, ignore_index=ignore_index, reduction=reduction,
    label_smoothing=label_smoothing)
NLLLoss(weight=None, *, ignore_index=-100, reduction="mean") =
    F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)
NLLLoss2d(weight=None, *, ignore_index=-100, reduction="mean") =
    F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)
SoftMarginLoss(reduction="mean") = F.soft_margin_loss(input, target, reduction)
HingeEmbeddingLoss(margin=1.0, reduction="mean") =
    F.hinge_embedding_loss(input, target, margin, reduction)
PoissonNLLLoss(log_input=True, *, eps=1e-8, reduction="mean") =
    F.poisson_nll_loss(input, target, log_input, eps=eps, reduction=reduction)
BCELoss(weight=None, reduction="mean") = F.binary_cross_entropy(input, target, weight, reduction)
BCEWithLogitsLoss(weight=None, reduction="mean", pos_weight=None) =
    F.binary_cross_entropy_with_logits(input, target, weight, reduction, pos_weight)
KLDivLoss(reduction="mean", log_target=False) = F.kl_div(input, target, reduction, log_target)
"""
"""Losses of a prediction and a target."""

OTHERS = {
    "TripletMarginLoss(margin=1.0, p=2.0, eps=1e-6, swap=False, reduction='mean')": (
        "anchor, positive, negative",
        "F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction)",
    ),
    "CosineEmbeddingLoss(margin=0.0, reduction='mean')": (
        "input1, input2, target",
        "F.cosine_embedding_loss(input1, input2, target, margin, reduction)",
    ),
    "MarginRankingLoss(margin=0.0, reduction='mean')": (
        "input1, input2, target",
        "F.margin_ranking_loss(input1, input2, target, margin, reduction)",
    ),
    "CosineSimilarity(dim=1, eps=1e-8)": ("x1, x2", "F.cosine_similarity(x1, x2, dim, eps)"),
    "PairwiseDistance(p=2.0, eps=1e-6, keepdim=False)": (
        "x1, x2",
        "F.pairwise_distance(x1, x2, p, eps, keepdim)",
    ),
}
"""Layers of several inputs, with these."""


def sides(padding: Any, axes: int) -> Any:
    """Return the widths of a border for ``F.pad``: one number stands for all."""
    return (padding,) * (2 * axes) if isinstance(padding, int) else padding


class _Loss(Module):
    """Base class of losses, which keeps how they are reduced."""

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        if reduce is False:
            reduction = "none"
        elif size_average is False:
            reduction = "sum"
        self.reduction = reduction


def layers(module: str) -> dict[str, type[Module]]:
    """Return the classes of the tables by name."""
    every = [(signature, "input", value) for signature, value in rows(LAYERS)]
    every += [(signature, "input, target", value) for signature, value in rows(LOSSES)]
    every += [(signature, *rest) for signature, rest in OTHERS.items()]
    return {s.partition("(")[0]: _layer(s, inputs, value, module) for s, inputs, value in every}


def _layer(signature: str, inputs: str, value: str, module: str) -> type[Module]:
    name, _, parameters = signature.partition("(")
    known: dict[str, Any] = {"F": functional, "sides": sides}
    exec(compile(f"def __init__(self, {parameters}: pass", f"{__file__}:{name}", "exec"), known)
    given = [
        p.name
        for p in inspect.signature(known["__init__"]).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    ]
    own = [*given, *(["training"] if "training" in value else [])]
    lines = [
        f"def __init__(self, {parameters}:",
        *(f"    self.{argument} = {argument}" for argument in given),
        "    pass",
        f"def forward(self, {inputs}):",
        *(f"    {argument} = self.{argument}" for argument in own),
        f"    return {value}",
    ]
    exec(compile("\n".join(lines), f"{__file__}:{name}", "exec"), known)
    body = {key: known[key] for key in ("__init__", "forward")}
    for function in body.values():
        function.__module__, function.__qualname__ = module, f"{name}.{function.__name__}"
    document = f"A layer that returns ``{value}``."
    return type(
        name,
        (_Loss if "target" in inputs else Module,),
        {**body, "__doc__": document, "__module__": module},
    )
