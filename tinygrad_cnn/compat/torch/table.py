"""The table of names: PyTorch's function on the left, what computes it here on the right.

Both sides are Python. An entry makes a function with the signature on the left; its help shows the
right side. ``tg`` is `tinygrad_cnn`. The lists say where a name is found: in ``torch``, as a
method of Tensor, or in ``torch.nn.functional``. A function that takes ``inplace=`` changes its
argument if asked to. `docs/how-to/coming-from-pytorch.md` prints the table.

Functions that need more than an expression are in `functions` and `nn.functional`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch.devices import numpy_dtype
from tinygrad_cnn.compat.torch.tensor import Tensor, in_place, values_of, wrapped
from tinygrad_cnn.core.variable import array_of

EVERYWHERE = """
abs(input) = tg.abs(input)
absolute(input) = tg.abs(input)
negative(input) = tg.neg(input)
neg(input) = tg.neg(input)
mul(input, other) = tg.mul(input, other)
multiply(input, other) = tg.mul(input, other)
square(input) = tg.square(input)
sqrt(input) = tg.sqrt(input)
rsqrt(input) = 1.0 / tg.sqrt(input)
reciprocal(input) = 1.0 / input
exp(input) = tg.exp(input)
expm1(input) = tg.expm1(input)
log(input) = tg.log(input)
log1p(input) = tg.log1p(input)
log2(input) = tg.log2(input)
log10(input) = tg.log10(input)
sin(input) = tg.sin(input)
cos(input) = tg.cos(input)
tan(input) = tg.tan(input)
atan(input) = tg.arctan(input)
arctan(input) = tg.arctan(input)
atan2(input, other) = tg.arctan2(input, other)
arctan2(input, other) = tg.arctan2(input, other)
hypot(input, other) = tg.hypot(input, other)
sinh(input) = tg.sinh(input)
cosh(input) = tg.cosh(input)
tanh(input) = tg.tanh(input)
sigmoid(input) = tg.sigmoid(input)
relu(input) = tg.relu(input, at_zero=0.0)
erf(input) = tg.erf(input)
erfc(input) = tg.erfc(input)
sign(input) = tg.sign(input)
floor(input) = tg.floor(input)
ceil(input) = tg.ceil(input)
round(input, *, decimals=0) = tg.round(input, decimals)
trunc(input) = tg.sign(input) * tg.floor(tg.abs(input))
fix(input) = tg.sign(input) * tg.floor(tg.abs(input))
frac(input) = input - tg.sign(input) * tg.floor(tg.abs(input))
clamp(input, min=None, max=None) = tg.clip(input, min, max)
clip(input, min=None, max=None) = tg.clip(input, min, max)
clamp_min(input, min) = tg.clip(input, min, None)
clamp_max(input, max) = tg.clip(input, None, max)
where(condition, input, other) = tg.where(condition, input, other)
remainder(input, other) = input % other
fmod(input, other) = input - other * of_dtype(tg.sign(input / other)
    * tg.floor(tg.abs(input / other)), input.dtype)
floor_divide(input, other) = input // other
eq(input, other) = input == other
ne(input, other) = input != other
not_equal(input, other) = input != other
lt(input, other) = input < other
less(input, other) = input < other
le(input, other) = input <= other
less_equal(input, other) = input <= other
gt(input, other) = input > other
greater(input, other) = input > other
ge(input, other) = input >= other
greater_equal(input, other) = input >= other
bitwise_and(input, other) = input & other
bitwise_or(input, other) = input | other
bitwise_xor(input, other) = input ^ other
bitwise_not(input) = ~input
logaddexp(input, other) = tg.logsumexp(tg.stack([input, other]), axis=0)
logit(input, eps=None) = tg.log(limited(input, eps) / (1.0 - limited(input, eps)))
nan_to_num(input, nan=0.0, posinf=None, neginf=None) = tg.where(np.isfinite(input), input,
    np.nan_to_num(array(input), nan=nan, posinf=posinf, neginf=neginf))
dist(input, other, p=2) = tg.norm(tg.ravel(input - other), p)
trace(input) = tg.sum(tg.diagonal(input))
inner(input, other) = tg.tensordot(input, other, ([-1], [-1]))
take(input, index) = tg.take(input, index)
fliplr(input) = tg.flip(input, axis=1)
flipud(input) = tg.flip(input, axis=0)
addmm(input, mat1, mat2, *, beta=1, alpha=1) = beta * input + alpha * tg.matmul(mat1, mat2)
addcmul(input, tensor1, tensor2, *, value=1) = input + value * tensor1 * tensor2
addcdiv(input, tensor1, tensor2, *, value=1) = input + value * tensor1 / tensor2
lerp(input, end, weight) = input + weight * (end - input)
mm(input, mat2) = tg.matmul(input, mat2)
bmm(input, mat2) = tg.matmul(input, mat2)
mv(input, vec) = tg.matmul(input, vec)
matmul(input, other) = tg.matmul(input, other)
dot(input, tensor) = tg.dot(input, tensor)
ger(input, vec2) = tg.outer(input, vec2)
outer(input, vec2) = tg.outer(input, vec2)
sum(input, dim=None, keepdim=False, *, dtype=None) =
    tg.sum(of_dtype(input, dtype), axis=dim, keepdims=keepdim)
mean(input, dim=None, keepdim=False, *, dtype=None) =
    tg.mean(of_dtype(input, dtype), axis=dim, keepdims=keepdim)
prod(input, dim=None, keepdim=False) = tg.prod(input, axis=dim, keepdims=keepdim)
logsumexp(input, dim, keepdim=False) = tg.logsumexp(input, axis=dim, keepdims=keepdim)
cumsum(input, dim) = tg.cumsum(input, axis=dim)
any(input, dim=None, keepdim=False) = tg.any(input, axis=dim, keepdims=keepdim)
all(input, dim=None, keepdim=False) = tg.all(input, axis=dim, keepdims=keepdim)
argmax(input, dim=None, keepdim=False) = tg.argmax(input, axis=dim, keepdims=keepdim)
argmin(input, dim=None, keepdim=False) = tg.argmin(input, axis=dim, keepdims=keepdim)
count_nonzero(input, dim=None) = tg.count_nonzero(input, axis=dim)
softmax(input, dim, dtype=None) = tg.softmax(of_dtype(input, dtype), axis=dim)
log_softmax(input, dim, dtype=None) = tg.log_softmax(of_dtype(input, dtype), axis=dim)
flip(input, dims) = tg.flip(input, axis=dims)
roll(input, shifts, dims=None) = tg.roll(input, shifts, axis=dims)
triu(input, diagonal=0) = tg.triu(input, diagonal)
tril(input, diagonal=0) = tg.tril(input, diagonal)
tile(input, dims) = tg.tile(input, dims)
repeat_interleave(input, repeats, dim=None) = tg.repeat(input, repeats, axis=dim)
take_along_dim(input, indices, dim=None) = tg.take_along_axis(input, indices, axis=dim)
scatter_add(input, dim, index, src) = tg.scatter_add(input, index, src, axis=dim)
index_select(input, dim, index) = tg.take(input, index, axis=dim)
masked_fill(input, mask, value) = tg.where(mask, value, input)
allclose(input, other, rtol=1e-5, atol=1e-8, equal_nan=False) =
    bool(np.allclose(array(input), array(other), rtol, atol, equal_nan))
isclose(input, other, rtol=1e-5, atol=1e-8, equal_nan=False) =
    np.isclose(array(input), array(other), rtol, atol, equal_nan)
equal(input, other) = np.array_equal(array(input), array(other))
isnan(input) = np.isnan(input)
isinf(input) = np.isinf(input)
isfinite(input) = np.isfinite(input)
logical_and(input, other) = np.logical_and(input, other)
logical_or(input, other) = np.logical_or(input, other)
logical_xor(input, other) = np.logical_xor(input, other)
logical_not(input) = np.logical_not(input)
bincount(input, weights=None, minlength=0) = np.bincount(array(input), array(weights), minlength)
masked_select(input, mask) = tg.getitem(input, mask)
numel(input) = raw(input).size
is_floating_point(input) = input.dtype.kind == "f"
clone(input) = tg.astype(input, input.dtype)
"""
"""In ``torch`` and as methods; those with an underscore (``add_``) change the Tensor in place."""

VIEWS = """
reshape(input, shape) = tg.reshape(input, shape)
permute(input, dims) = tg.transpose(input, dims)
transpose(input, dim0, dim1) = tg.swapaxes(input, dim0, dim1)
swapdims(input, dim0, dim1) = tg.swapaxes(input, dim0, dim1)
swapaxes(input, axis0, axis1) = tg.swapaxes(input, axis0, axis1)
moveaxis(input, source, destination) = tg.moveaxis(input, source, destination)
movedim(input, source, destination) = tg.moveaxis(input, source, destination)
t(input) = tg.transpose(input)
squeeze(input, dim=None) = tg.squeeze(input, axis=of_length_one(input, dim))
unsqueeze(input, dim) = tg.expand_dims(input, axis=dim)
flatten(input, start_dim=0, end_dim=-1) = tg.flatten(input, start_dim, end_dim)
ravel(input) = tg.ravel(input)
broadcast_to(input, shape) = tg.broadcast_to(input, shape)
diagonal(input, offset=0, dim1=0, dim2=1) = tg.diagonal(input, offset, dim1, dim2)
"""
"""In ``torch`` and as methods: the result may be a view of the memory."""

VIEW_METHODS = """
view(input, *shape) = tg.reshape(input, sizes_of(shape))
reshape(input, *shape) = tg.reshape(input, sizes_of(shape))
permute(input, *dims) = tg.transpose(input, sizes_of(dims))
"""
"""Methods only: the result may be a view of the memory."""

METHODS = """
repeat(input, *repeats) = tg.tile(input, sizes_of(repeats))
tile(input, *repeats) = tg.tile(input, sizes_of(repeats))
flip(input, *dims) = tg.flip(input, axis=sizes_of(dims))
dim(input) = raw(input).ndim
ndimension(input) = raw(input).ndim
nelement(input) = raw(input).size
element_size(input) = raw(input).itemsize
contiguous(input, memory_format=None) = input
is_contiguous(input, memory_format=None) = True
cpu(input) = input
pin_memory(input) = input
is_complex(input) = raw(input).dtype.kind == "c"
get_device(input) = -1
float(input) = of_dtype(input, "f4")
double(input) = of_dtype(input, "f8")
half(input) = of_dtype(input, "f2")
long(input) = of_dtype(input, "i8")
int(input) = of_dtype(input, "i4")
short(input) = of_dtype(input, "i2")
byte(input) = of_dtype(input, "u1")
bool(input) = of_dtype(input, "?")
view_as(input, other) = tg.reshape(input, other.shape)
reshape_as(input, other) = tg.reshape(input, other.shape)
expand_as(input, other) = tg.broadcast_to(input, other.shape)
type_as(input, other) = of_dtype(input, other.dtype)
"""
"""Methods only."""

TORCH = """
cat(tensors, dim=0) = tg.concatenate(tensors, axis=dim)
concat(tensors, dim=0) = tg.concatenate(tensors, axis=dim)
concatenate(tensors, dim=0) = tg.concatenate(tensors, axis=dim)
stack(tensors, dim=0) = tg.stack(tensors, axis=dim)
column_stack(tensors) = tg.concatenate([t[:, None] if t.dim() == 1 else t for t in tensors], axis=1)
hstack(tensors) = tg.hstack(tensors)
vstack(tensors) = tg.vstack(tensors)
cdist(x1, x2, p=2.0) =
    tg.norm(tg.expand_dims(x1, -2) - tg.expand_dims(x2, -3), p, axis=-1)
cosine_similarity(x1, x2, dim=1, eps=1e-8) = tg.cosine_similarity(x1, x2, axis=dim, eps=eps)
isin(elements, test_elements) = np.isin(array(elements), array(test_elements))
detach(input) = input.detach()
tensordot(a, b, dims=2) = tg.tensordot(a, b, dims)
"""
"""In ``torch`` only."""

FUNCTIONAL = """
linear(input, weight, bias=None) = tg.linear(input, weight, bias)
conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) =
    tg.conv1d(input, weight, bias, stride, padding, dilation, groups)
conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) =
    tg.conv2d(input, weight, bias, stride, padding, dilation, groups)
conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
    dilation=1) =
    tg.conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)
conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
    dilation=1) =
    tg.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
relu(input, inplace=False) = tg.relu(input, at_zero=0.0)
relu6(input, inplace=False) = tg.relu6(input)
leaky_relu(input, negative_slope=0.01, inplace=False) =
    tg.leaky_relu(input, negative_slope, at_zero=negative_slope)
elu(input, alpha=1.0, inplace=False) = tg.elu(input, alpha)
selu(input, inplace=False) = tg.selu(input)
celu(input, alpha=1.0, inplace=False) = tg.celu(input, alpha)
gelu(input, approximate="none") = tg.gelu(input, approximate)
silu(input, inplace=False) = tg.silu(input)
mish(input, inplace=False) = tg.mish(input)
hardswish(input, inplace=False) = tg.hardswish(input)
hardsigmoid(input, inplace=False) = tg.hardsigmoid(input)
hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False) = tg.hardtanh(input, min_val, max_val)
logsigmoid(input) = tg.logsigmoid(input)
softplus(input, beta=1.0, threshold=20.0) =
    tg.where(beta * input > threshold, input, tg.softplus(beta * input) / beta)
glu(input, dim=-1) = halves(input, dim)[0] * tg.sigmoid(halves(input, dim)[1])
hardshrink(input, lambd=0.5) = tg.where(tg.abs(input) > lambd, input, 0.0)
softshrink(input, lambd=0.5) =
    tg.where(tg.abs(input) > lambd, input - lambd * tg.sign(input), 0.0)
softsign(input) = tg.softsign(input)
tanhshrink(input) = tg.tanhshrink(input)
threshold(input, threshold, value, inplace=False) =
    tg.where(input > threshold, input, value)
prelu(input, weight) = tg.prelu(input, weight)
sigmoid(input) = tg.sigmoid(input)
tanh(input) = tg.tanh(input)
softmax(input, dim, dtype=None) = tg.softmax(of_dtype(input, dtype), axis=dim)
softmin(input, dim, dtype=None) = tg.softmax(-of_dtype(input, dtype), axis=dim)
log_softmax(input, dim, dtype=None) = tg.log_softmax(of_dtype(input, dtype), axis=dim)
avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True) =
    tg.avgpool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True) =
    tg.avgpool(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
    return_indices=False) =
    tg.maxpool1d(input, kernel_size, stride, padding, dilation, ceil_mode)
max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
    return_indices=False) =
    tg.maxpool(input, kernel_size, stride, padding, dilation, ceil_mode)
adaptive_avg_pool1d(input, output_size) = tg.adaptive_avgpool1d(input, output_size)
adaptive_avg_pool2d(input, output_size) = tg.adaptive_avgpool(input, output_size)
adaptive_max_pool1d(input, output_size, return_indices=False) = tg.adaptive_maxpool1d(input,
    output_size)
adaptive_max_pool2d(input, output_size, return_indices=False) = tg.adaptive_maxpool(input,
    output_size)
unfold(input, kernel_size, dilation=1, padding=0, stride=1) =
    tg.unfold(input, kernel_size, dilation, padding, stride)
fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1) =
    tg.fold(input, output_size, kernel_size, dilation, padding, stride)
affine_grid(theta, size, align_corners=None) = tg.affine_grid(theta, size, bool(align_corners))
grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None) =
    tg.grid_sample(input, grid, mode, padding_mode, bool(align_corners))
upsample_nearest(input, size=None, scale_factor=None) =
    tg.interpolate(input, size, scale_factor)
upsample_bilinear(input, size=None, scale_factor=None) =
    tg.interpolate(input, size, scale_factor, "bilinear", True)
channel_shuffle(input, groups) = tg.reshape(tg.swapaxes(tg.reshape(input,
    (input.shape[0], groups, -1, *input.shape[2:])), 1, 2), input.shape)
pixel_shuffle(input, upscale_factor) = tg.pixel_shuffle(input, upscale_factor)
pixel_unshuffle(input, downscale_factor) = tg.pixel_unshuffle(input, downscale_factor)
layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5) =
    tg.layer_norm(input, normalized_shape, weight, bias, eps)
group_norm(input, num_groups, weight=None, bias=None, eps=1e-5) =
    tg.group_norm(input, num_groups, weight, bias, eps)
instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats=True, momentum=0.1, eps=1e-5) = tg.instance_norm(input, weight, bias, eps)
rms_norm(input, normalized_shape, weight=None, eps=1e-6) = input * (1.0 if weight is None
    else weight) / tg.sqrt(tg.mean(input * input, last_axes(normalized_shape), True) + eps)
local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0) =
    tg.local_response_norm(input, size, alpha, beta, k)
mse_loss(input, target, reduction="mean") = tg.mse(input, target, reduction)
l1_loss(input, target, reduction="mean") = tg.l1(input, target, reduction)
smooth_l1_loss(input, target, reduction="mean", beta=1.0) =
    tg.smooth_l1(input, target, reduction, beta)
huber_loss(input, target, reduction="mean", delta=1.0) = tg.huber(input, target, reduction, delta)
binary_cross_entropy(input, target, weight=None, reduction="mean") =
    tg.binary_cross_entropy(input, target, reduction, weight)
binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean", pos_weight=None) =
    tg.binary_cross_entropy_with_logits(input, target, reduction, weight, pos_weight)
cross_entropy(input, target, weight=None, *, ignore_index=-100, reduction="mean",
    label_smoothing=0.0) =
    tg.cross_entropy(input, target, reduction, label_smoothing, class_axis(input), weight,
    ignore_index)
nll_loss(input, target, weight=None, *, ignore_index=-100, reduction="mean") =
    tg.nll(input, target, reduction, class_axis(input), weight, ignore_index)
kl_div(input, target, reduction="mean", log_target=False) =
    tg.kl_div(input, target, reduction, log_target)
cosine_similarity(x1, x2, dim=1, eps=1e-8) = tg.cosine_similarity(x1, x2, axis=dim, eps=eps)
cosine_embedding_loss(input1, input2, target, margin=0.0, reduction="mean") =
    tg.cosine_embedding(input1, input2, target, margin, reduction)
triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False,
    reduction="mean") =
    tg.triplet_margin(anchor, positive, negative, margin, p, eps, swap, reduction)
margin_ranking_loss(input1, input2, target, margin=0.0, reduction="mean") =
    reduced(tg.maximum(0.0, margin - target * (input1 - input2)), reduction)
soft_margin_loss(input, target, reduction="mean") =
    reduced(tg.softplus(-target * input), reduction)
hinge_embedding_loss(input, target, margin=1.0, reduction="mean") =
    reduced(tg.where(target == 1, input, tg.maximum(0.0, margin - input)), reduction)
poisson_nll_loss(input, target, log_input=True, *, eps=1e-8, reduction="mean") =
    reduced((tg.exp(input) if log_input else input)
    - target * (input if log_input else tg.log(input + eps)), reduction)
pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False) =
    tg.pairwise_distance(x1, x2, p, eps, keepdims=keepdim)
normalize(input, p=2.0, dim=1, eps=1e-12) = tg.normalize(input, p, axis=dim, eps=eps)
"""
"""In ``torch.nn.functional``."""


def tuple_of(value: Any) -> Any:
    """Return axes given as a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the integers of ``f(2, 3)`` or ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    return tuple(map(int, sizes))


def of_dtype(value: Any, dtype: Any) -> Any:
    """Return a Tensor in `dtype`; the same one if it has it or `dtype` is None."""
    if dtype is None or value.dtype == dtype:
        return value
    if numpy_dtype(dtype).kind not in "fc":
        value = value.detach()
    return ops.astype(value, numpy_dtype(dtype))


def of_length_one(value: Any, dim: Any) -> Any:
    """Return the axes in `dim` that have length 1, which `squeeze` drops."""
    if dim is None:
        return None
    return tuple(
        axis for axis in (dim if isinstance(dim, tuple) else (dim,)) if value.shape[axis] == 1
    )


def halves(value: Any, dim: int) -> Any:
    """Return the two halves along an axis."""
    return ops.split(value, 2, axis=dim)


def limited(value: Any, eps: float | None) -> Any:
    """Return probabilities between `eps` and 1 − `eps`."""
    return value if eps is None else ops.clip(value, eps, 1.0 - eps)


def last_axes(shape: Any) -> tuple[int, ...]:
    """Return as many of the last axes as `shape` has entries."""
    return tuple(range(-1 if isinstance(shape, int) else -len(shape), 0))


def reduced(losses: Any, reduction: str) -> Any:
    """Return the mean, the sum, or all losses."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
    return losses if reduction == "none" else getattr(ops, reduction)(losses)


def class_axis(value: Any) -> int:
    """Return the axis of classes: 1, or 0 without a batch."""
    return 1 if value.dim() > 1 else 0


def refuse(function: str, **options: Any) -> None:
    """Raise NotImplementedError if an option is set that is not here."""
    for name, value in options.items():
        if value:
            raise NotImplementedError(f"{function}: {name}={value!r} is not here; leave it out")


KNOWN = {
    function.__name__: function
    for function in (
        class_axis, halves, last_axes, limited, of_dtype, of_length_one, reduced, refuse, sizes_of,
        tuple_of, wrapped,
    )
} | {"array": values_of, "raw": array_of, "np": np, "tg": ops}  # fmt: skip
"""What the expressions use."""


def rows(table: str) -> Iterator[tuple[str, str]]:
    """Yield the signature and the expression of each entry; indented lines continue one."""
    for line in filter(None, table.replace("\n    ", " ").splitlines()):
        left, _, right = line.partition(") = ")
        yield f"{left})", right


def named_in(table: str) -> list[str]:
    """Return the names of a table."""
    return [signature.partition("(")[0] for signature, _ in rows(table)]


def functions(table: str, module: str, view: bool = False) -> dict[str, Any]:
    """Return the functions of a table by name."""
    made: dict[str, Any] = {}
    for signature, expression in rows(table):
        name, _, parameters = signature.partition("(")
        axes = [p for p in re.findall(r"\w+", parameters) if p in ("dim", "dims")]
        lines = [f"def {name}({parameters}:", *(f"    {p} = tuple_of({p})" for p in axes)]
        lines += [
            f"    refuse({name!r}, {p}={p})"
            for p in ("return_indices", "running_mean")
            if p in parameters
        ]
        known = {**KNOWN, "__name__": module}
        source = "\n".join([*lines, f"    return wrapped({expression})"])
        exec(compile(source, f"{__file__}:{name}", "exec"), known)
        function: Any = known[name]
        function.__doc__ = f"Return ``{expression}``, where ``tg`` is `tinygrad_cnn`."
        if axes or "keepdim" in parameters:
            function = _with_aliases(function)
        if "inplace=" in parameters:
            function = _in_place_on_request(function)
        made[name] = _view(function) if view else function
    return made


ALIASES = {"axis": "dim", "keepdims": "keepdim"}
"""NumPy's names of arguments, which PyTorch accepts too."""


def _with_aliases(function: Any) -> Any:
    """Return a function that accepts NumPy's names of arguments too."""

    @functools.wraps(function)
    def renaming(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {ALIASES.get(name, name): value for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return renaming


def _in_place_on_request(function: Any) -> Any:
    """Return a function that changes its first argument if called with ``inplace=True``."""
    place = [*inspect.signature(function).parameters].index("inplace")
    change = in_place(function, f"{function.__name__}(inplace=True)")

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if len(args) > place:
            kwargs["inplace"], args = args[place], args[:place]
        asked = kwargs.pop("inplace", False) if kwargs else False
        return (change if asked else function)(*args, **kwargs)

    return either


def _view(function: Any) -> Any:
    """Return a function whose result remembers the Tensor that it may be a view of."""

    @functools.wraps(function)
    def viewing(input: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(input, *args, **kwargs)
        if isinstance(result, Tensor) and isinstance(input, Tensor) and result is not input:
            result._view_of(input, lambda other: function(other, *args, **kwargs))
        return result

    return viewing
