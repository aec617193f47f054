# Written from the declarations by python -m tinygrad_cnn.ops.stub > tinygrad_cnn/ops/__init__.pyi
# mypy: disable-error-code="override, overload-overlap"
# pyright: reportIncompatibleMethodOverride=false, reportOverlappingOverload=false

from collections.abc import Sequence
from typing import Any, overload

from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Padding, Pair
from tinygrad_cnn.ops.loss import Reduction
from tinygrad_cnn.ops.reduction import Axis

class _abs(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
abs: _abs

class _add(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
add: _add

class _astype(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, dtype: DTypeLike) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, dtype: DTypeLike) -> NDArray[Any]: ...
astype: _astype

class _avgpool(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True, wide_padding: bool = False) -> NDArray[Any]: ...
avgpool: _avgpool

class _avgpool_gradient(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, u: Tensor, shape: Shape, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, u: ArrayLike, shape: Shape, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False, count_include_pad: bool = True, wide_padding: bool = False) -> NDArray[Any]: ...
avgpool_gradient: _avgpool_gradient

class _batch_norm(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, w: TensorLike, bias: TensorLike, eps: float = 1e-05) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: Tensor, bias: TensorLike, eps: float = 1e-05) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: TensorLike, bias: Tensor, eps: float = 1e-05) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, w: ArrayLike, bias: ArrayLike, eps: float = 1e-05) -> NDArray[Any]: ...
batch_norm: _batch_norm

class _broadcast_to(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, shape: int | Sequence[int]) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, shape: int | Sequence[int]) -> NDArray[Any]: ...
broadcast_to: _broadcast_to

class _clip(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, low: float | None = None, high: float | None = None) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, low: float | None = None, high: float | None = None) -> NDArray[Any]: ...
clip: _clip

class _concatenate(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, arrays: Sequence[ArrayLike], axis: int | None = 0) -> NDArray[Any]: ...
    @overload
    def __call__(self, arrays: Sequence[TensorLike], axis: int | None = 0) -> Tensor: ...
concatenate: _concatenate

class _conv2d(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, w: TensorLike, bias: TensorLike | None = None, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: Tensor, bias: TensorLike | None = None, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: TensorLike, bias: Tensor, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> NDArray[Any]: ...
conv2d: _conv2d

class _conv2d_input_gradient(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, u: Tensor, w: TensorLike, shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, u: TensorLike, w: Tensor, shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, u: ArrayLike, w: ArrayLike, shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> NDArray[Any]: ...
conv2d_input_gradient: _conv2d_input_gradient

class _conv2d_weight_gradient(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, u: Tensor, x: TensorLike, shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, u: TensorLike, x: Tensor, shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> Tensor: ...
    @overload
    def __call__(self, u: ArrayLike, x: ArrayLike, shape: Shape, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1) -> NDArray[Any]: ...
conv2d_weight_gradient: _conv2d_weight_gradient

class _conv_transpose2d(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, w: TensorLike, bias: TensorLike | None = None, stride: Pair = 1, padding: Pair = 0, output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: Tensor, bias: TensorLike | None = None, stride: Pair = 1, padding: Pair = 0, output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: TensorLike, bias: Tensor, stride: Pair = 1, padding: Pair = 0, output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, stride: Pair = 1, padding: Pair = 0, output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1) -> NDArray[Any]: ...
conv_transpose2d: _conv_transpose2d

class _cross_entropy(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, logits: Tensor, target: TensorLike, reduction: Reduction = 'mean', label_smoothing: float = 0.0, axis: int | None = None) -> Tensor: ...
    @overload
    def __call__(self, logits: TensorLike, target: Tensor, reduction: Reduction = 'mean', label_smoothing: float = 0.0, axis: int | None = None) -> Tensor: ...
    @overload
    def __call__(self, logits: ArrayLike, target: ArrayLike, reduction: Reduction = 'mean', label_smoothing: float = 0.0, axis: int | None = None) -> NDArray[Any]: ...
cross_entropy: _cross_entropy

class _div(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
div: _div

class _dropout(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, mask: TensorLike, p: float = 0.5) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, mask: Tensor, p: float = 0.5) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, mask: ArrayLike, p: float = 0.5) -> NDArray[Any]: ...
dropout: _dropout

class _erf(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
erf: _erf

class _erfc(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
erfc: _erfc

class _exp(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
exp: _exp

class _flip(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: int | Sequence[int] | None = None) -> NDArray[Any]: ...
flip: _flip

class _gather_windows(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, winner: TensorLike, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, winner: Tensor, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, winner: ArrayLike, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> NDArray[Any]: ...
gather_windows: _gather_windows

class _gelu(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, approximate: str = 'none') -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, approximate: str = 'none') -> NDArray[Any]: ...
gelu: _gelu

class _getitem(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, index: Any) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, index: Any) -> NDArray[Any]: ...
getitem: _getitem

@overload
def global_avgpool(x: Tensor) -> Tensor: ...

@overload
def global_avgpool(x: ArrayLike) -> NDArray[Any]: ...

class _leaky_relu(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, negative_slope: float = 0.01) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, negative_slope: float = 0.01) -> NDArray[Any]: ...
leaky_relu: _leaky_relu

class _linear(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, w: TensorLike, bias: TensorLike | None = None) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: Tensor, bias: TensorLike | None = None) -> Tensor: ...
    @overload
    def __call__(self, x: TensorLike, w: TensorLike, bias: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None) -> NDArray[Any]: ...
linear: _linear

class _log(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
log: _log

class _log_softmax(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: int = -1, temperature: float = 1.0) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: int = -1, temperature: float = 1.0) -> NDArray[Any]: ...
log_softmax: _log_softmax

class _logsumexp(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]: ...
logsumexp: _logsumexp

class _matmul(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
matmul: _matmul

class _max(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]: ...
max: _max

class _maximum(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
maximum: _maximum

class _maxpool(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> NDArray[Any]: ...
maxpool: _maxpool

class _mean(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]: ...
mean: _mean

class _min(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]: ...
min: _min

class _minimum(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
minimum: _minimum

class _mse(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, prediction: Tensor, target: TensorLike, reduction: Reduction = 'mean') -> Tensor: ...
    @overload
    def __call__(self, prediction: TensorLike, target: Tensor, reduction: Reduction = 'mean') -> Tensor: ...
    @overload
    def __call__(self, prediction: ArrayLike, target: ArrayLike, reduction: Reduction = 'mean') -> NDArray[Any]: ...
mse: _mse

class _mul(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
mul: _mul

class _neg(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
neg: _neg

class _pad(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, widths: Any = 0, value: float = 0.0) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, widths: Any = 0, value: float = 0.0) -> NDArray[Any]: ...
pad: _pad

class _pow(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
pow: _pow

class _put(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, index: Any, shape: Sequence[int]) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, index: Any, shape: Sequence[int]) -> NDArray[Any]: ...
put: _put

class _relu(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
relu: _relu

class _reshape(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, shape: int | Sequence[int] = (-1,)) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, shape: int | Sequence[int] = (-1,)) -> NDArray[Any]: ...
reshape: _reshape

class _scatter_windows(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, u: Tensor, winner: TensorLike, shape: Shape, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, u: TensorLike, winner: Tensor, shape: Shape, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> Tensor: ...
    @overload
    def __call__(self, u: ArrayLike, winner: ArrayLike, shape: Shape, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False, wide_padding: bool = False) -> NDArray[Any]: ...
scatter_windows: _scatter_windows

class _sigmoid(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
sigmoid: _sigmoid

class _softmax(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: int = -1, temperature: float = 1.0) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: int = -1, temperature: float = 1.0) -> NDArray[Any]: ...
softmax: _softmax

class _softplus(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
softplus: _softplus

class _sqrt(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
sqrt: _sqrt

class _squared_error(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, prediction: Tensor, target: TensorLike, reduction: Reduction = 'sum') -> Tensor: ...
    @overload
    def __call__(self, prediction: TensorLike, target: Tensor, reduction: Reduction = 'sum') -> Tensor: ...
    @overload
    def __call__(self, prediction: ArrayLike, target: ArrayLike, reduction: Reduction = 'sum') -> NDArray[Any]: ...
squared_error: _squared_error

class _stack(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, arrays: Sequence[ArrayLike], axis: int = 0) -> NDArray[Any]: ...
    @overload
    def __call__(self, arrays: Sequence[TensorLike], axis: int = 0) -> Tensor: ...
stack: _stack

class _sub(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
sub: _sub

class _sum(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> NDArray[Any]: ...
sum: _sum

class _sum_to(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, shape: int | Sequence[int]) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, shape: int | Sequence[int]) -> NDArray[Any]: ...
sum_to: _sum_to

class _tanh(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike) -> NDArray[Any]: ...
tanh: _tanh

class _transpose(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, x: Tensor, axes: Sequence[int] | None = None) -> Tensor: ...
    @overload
    def __call__(self, x: ArrayLike, axes: Sequence[int] | None = None) -> NDArray[Any]: ...
transpose: _transpose

class _where(Op[..., NDArray[Any]]):
    @overload
    def __call__(self, condition: Tensor, a: TensorLike, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, condition: TensorLike, a: Tensor, b: TensorLike) -> Tensor: ...
    @overload
    def __call__(self, condition: TensorLike, a: TensorLike, b: Tensor) -> Tensor: ...
    @overload
    def __call__(self, condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
where: _where

__all__ = ["abs", "add", "astype", "avgpool", "avgpool_gradient", "batch_norm", "broadcast_to", "clip", "concatenate", "conv2d", "conv2d_input_gradient", "conv2d_weight_gradient", "conv_transpose2d", "cross_entropy", "div", "dropout", "erf", "erfc", "exp", "flip", "gather_windows", "gelu", "getitem", "global_avgpool", "leaky_relu", "linear", "log", "log_softmax", "logsumexp", "matmul", "max", "maximum", "maxpool", "mean", "min", "minimum", "mse", "mul", "neg", "pad", "pow", "put", "relu", "reshape", "scatter_windows", "sigmoid", "softmax", "softplus", "sqrt", "squared_error", "stack", "sub", "sum", "sum_to", "tanh", "transpose", "where"]
