"""The ops: one file per family, each op next to its derivatives."""

from typing import TYPE_CHECKING

from tinygrad_cnn.ops.activation import (
    gelu,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from tinygrad_cnn.ops.arithmetic import (
    abs,
    add,
    astype,
    clip,
    div,
    maximum,
    minimum,
    mul,
    neg,
    sub,
    where,
)
from tinygrad_cnn.ops.convolution import (
    conv2d,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    conv_transpose2d,
)
from tinygrad_cnn.ops.elementary import erf, erfc, exp, log, pow, sqrt
from tinygrad_cnn.ops.indexing import concatenate, getitem, pad, put, stack
from tinygrad_cnn.ops.linear import linear, matmul
from tinygrad_cnn.ops.loss import cross_entropy, mse, squared_error
from tinygrad_cnn.ops.pooling import (
    avgpool,
    avgpool_gradient,
    gather_windows,
    global_avgpool,
    maxpool,
    scatter_windows,
)
from tinygrad_cnn.ops.reduction import logsumexp, max, mean, min, sum
from tinygrad_cnn.ops.regularization import batch_norm, dropout
from tinygrad_cnn.ops.shape import broadcast_to, flip, ravel, reshape, sum_to, transpose
from tinygrad_cnn.support.modules import public

__all__ = [
    "abs",
    "add",
    "astype",
    "avgpool",
    "avgpool_gradient",
    "batch_norm",
    "broadcast_to",
    "clip",
    "concatenate",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "conv_transpose2d",
    "cross_entropy",
    "div",
    "dropout",
    "erf",
    "erfc",
    "exp",
    "flip",
    "gather_windows",
    "gelu",
    "getitem",
    "global_avgpool",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "maxpool",
    "mean",
    "min",
    "minimum",
    "mse",
    "mul",
    "neg",
    "pad",
    "pow",
    "put",
    "ravel",
    "relu",
    "reshape",
    "scatter_windows",
    "sigmoid",
    "softmax",
    "softplus",
    "sqrt",
    "squared_error",
    "stack",
    "sub",
    "sum",
    "sum_to",
    "tanh",
    "transpose",
    "where",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
