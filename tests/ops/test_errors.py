"""Bad input is refused at the call: the op, the argument, what came and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

nan = float("nan")


def ones(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape, "f4"), requires_grad=True)


IMAGE = (1, 2, 5, 5)

# What is wrong: the call, on a leaf of ones of the given shape; the error; what its message says.
CALLS: dict[str, tuple[tuple[int, ...], Callable[[tg.Tensor], Any], type[Exception], list[str]]] = {
    # arithmetic
    "add shapes": ((2,), lambda x: x + ones(3), ValueError, ["add", "a (2,)", "b (3,)"]),
    "mul shapes": ((2, 3), lambda x: x * ones(2), ValueError, ["mul", "a (2, 3)", "b (2,)"]),
    "div shapes": ((2,), lambda x: 1.0 / x / ones(4), ValueError, ["div", "(2,)", "(4,)"]),
    "pow shapes": ((2,), lambda x: x ** np.ones(3), ValueError, ["pow", "(2,)", "(3,)"]),
    "maximum shapes": ((2,), lambda x: tg.maximum(x, ones(3)), ValueError, ["maximum", "(3,)"]),
    "add text": ((2,), lambda x: x + "1", TypeError, ["add", "b", "U1", "expected numbers"]),
    "add None": ((2,), lambda x: x + None, TypeError, ["add", "b", "NoneType", "numbers"]),
    "add object": ((2,), lambda x: x + object(), TypeError, ["add", "b is object", "numbers"]),
    "mul dtypes": (
        (2,), lambda x: x * tg.Tensor(np.ones(2)), TypeError,
        ["mul", "a is float32", "b is float64", "astype"],
    ),
    "too few": ((2,), lambda x: tg.add(x), TypeError, ["add", "b"]),
    "too many": ((2,), lambda x: tg.add(x, x, x), TypeError, ["add", "3"]),
    "unknown option": ((2,), lambda x: tg.softmax(x, axes=0), TypeError, ["softmax", "axes"]),
    "twice": ((2,), lambda x: tg.add(x, x, a=x), TypeError, ["add", "'a'"]),
    "where condition": (
        (2,), lambda x: tg.where(np.ones(2), x, x), TypeError,
        ["where", "condition", "float64", "bool"],
    ),
    "where shapes": (
        (2,), lambda x: tg.where([True, False, True], x, 0.0), ValueError,
        ["where", "condition", "(3,)", "(2,)"],
    ),
    "clip nothing": ((2,), lambda x: tg.clip(x), ValueError, ["clip", "low", "high"]),
    "clip order": ((2,), lambda x: tg.clip(x, 2.0, 1.0), ValueError, ["clip", "2.0", "1.0"]),
    "clip NaN": ((2,), lambda x: tg.clip(x, nan), ValueError, ["clip", "low", "nan"]),
    # reductions
    "sum axis": ((2, 3), lambda x: x.sum(2), ValueError, ["sum", "axis is 2", "(2, 3)"]),
    "sum axes": ((2, 3), lambda x: x.sum((0, -3)), ValueError, ["sum", "(0, -3)", "(2, 3)"]),
    "sum same axis": ((2, 3), lambda x: x.sum((0, -2)), ValueError, ["sum", "axis", "(0, -2)"]),
    "mean axis": ((2,), lambda x: x.mean(1.0), ValueError, ["mean", "axis is 1.0"]),
    "mean same axis": ((2,), lambda x: x.mean((0, 0)), ValueError, ["mean", "axis", "(0, 0)"]),
    "mean of nothing": ((0, 3), lambda x: x.mean(0), ValueError, ["mean", "(0, 3)", "axis 0"]),
    "max of nothing": ((0,), lambda x: x.max(), ValueError, ["max", "(0,)", "no values"]),
    "logsumexp axis": ((2,), lambda x: tg.logsumexp(x, 1), ValueError, ["logsumexp", "axis is 1"]),
    # shapes
    "reshape": ((2, 3), lambda x: x.reshape(4, 2), ValueError, ["reshape", "(2, 3)", "(4, 2)"]),
    "reshape text": ((2,), lambda x: x.reshape("a"), ValueError, ["reshape", "(2,)", "a"]),
    "transpose": ((2, 3), lambda x: x.transpose(0, 0), ValueError, ["transpose", "(0, 0)", "2"]),
    "broadcast_to": (
        (2,), lambda x: tg.broadcast_to(x, (3,)), ValueError, ["broadcast_to", "(2,)", "(3,)"],
    ),
    "sum_to": ((2,), lambda x: tg.sum_to(x, (3,)), ValueError, ["sum_to", "(2,)", "(3,)"]),
    "getitem": ((2, 3), lambda x: x[0, 5], IndexError, ["getitem", "(2, 3)", "5"]),
    "getitem depth": ((2,), lambda x: x[0, 0], IndexError, ["getitem", "(2,)", "too many"]),
    "getitem array": ((2,), lambda x: x[[0, 9]], IndexError, ["getitem", "(2,)", "9"]),
    "getitem text": ((2,), lambda x: x["a"], IndexError, ["getitem", "(2,)"]),
    "put": ((3,), lambda x: tg.put(x, [0, 1], (5,)), ValueError, ["put", "(3,)", "(2,)"]),
    "put slice": ((3,), lambda x: tg.put(x, slice(2), (5,)), ValueError, ["put", "(3,)", "(2,)"]),
    "concatenate none": ((2,), lambda x: tg.concatenate([]), ValueError, ["concatenate", "empty"]),
    "concatenate one": ((2,), lambda x: tg.concatenate(x), TypeError, ["concatenate", "Tensor"]),
    "concatenate": (
        (2, 3), lambda x: tg.concatenate([x, ones(2, 2)]), ValueError,
        ["concatenate", "(2, 3)", "(2, 2)", "axis 0"],
    ),
    "concatenate text": (
        (2,), lambda x: tg.concatenate([x, "a"]), TypeError,
        ["concatenate", "arrays[1]", "numbers"],
    ),
    "stack": ((2,), lambda x: tg.stack([x, ones(3)]), ValueError, ["stack", "(2,)", "(3,)"]),
    "stack None": ((2,), lambda x: tg.stack([x, None]), TypeError, ["stack", "NoneType"]),
    "stack axis": ((2,), lambda x: tg.stack([x, x], 5), ValueError, ["stack", "axis", "5"]),
    "pad negative": ((2,), lambda x: tg.pad(x, -1), ValueError, ["pad", "pad_width is -1"]),
    "pad count": ((2,), lambda x: tg.pad(x, [(1, 1)] * 3), ValueError, ["pad", "1 axes"]),
    "flip": ((2,), lambda x: tg.flip(x, 1), ValueError, ["flip", "axis is 1", "1 axes"]),
    "squeeze": ((2, 1), lambda x: tg.squeeze(x, 0), ValueError, ["squeeze", "axis is 0", "(2, 1)"]),
    "expand_dims": ((2,), lambda x: tg.expand_dims(x, 3), ValueError, ["expand_dims", "axis is 3"]),
    "flatten": ((2, 3), lambda x: tg.flatten(x, 2), ValueError, ["flatten", "axes 2 to -1"]),
    "flatten end": ((2, 3), lambda x: tg.flatten(x, 0, 2), ValueError, ["flatten", "axes 0 to 2"]),
    "swapaxes": ((2,), lambda x: tg.swapaxes(x, 0, 1), ValueError, ["swapaxes", "axis is 1"]),
    "moveaxis": ((2, 3), lambda x: tg.moveaxis(x, 0, (0, 1)), ValueError, ["moveaxis", "as many"]),
    "split": ((5,), lambda x: tg.split(x, 2), ValueError, ["split", "length 5", "2 equal parts"]),
    "repeat": ((3,), lambda x: tg.repeat(x, [1, 2], 0), ValueError, ["repeat", "3 counts"]),
    "tile": ((3,), lambda x: tg.tile(x, -1), ValueError, ["tile", "reps is -1", "counts"]),
    "roll": ((3, 3), lambda x: tg.roll(x, (1, 2, 3), (0, 1)), ValueError, ["roll", "shift is"]),
    "triu": ((3,), tg.triu, ValueError, ["triu", "(3,)", "(..., rows, columns)"]),
    "diagonal": ((3, 3), lambda x: tg.diagonal(x, 0, 1, 1), ValueError, ["diagonal", "distinct"]),
    "take": ((3,), lambda x: tg.take(x, [3]), IndexError, ["take", "hold 3", "(3,)"]),
    "take of floats": ((3,), lambda x: tg.take(x, [0.5]), TypeError, ["take", "integers"]),
    "take_along_axis": ((3, 2), lambda x: tg.take_along_axis(x, [[0]] * 2, 1), ValueError,
                        ["take_along_axis", "(2, 1)", "(3, 2)"]),
    "take_along_axis axes": ((3, 2), lambda x: tg.take_along_axis(x, [0, 1]), ValueError,
                             ["take_along_axis", "(2,)", "as many axes as x: (3, 2)"]),
    "take_along_axis low": ((3,), lambda x: tg.take_along_axis(x, [0, -4]), IndexError,
                            ["take_along_axis", "hold -4", "(3,)"]),
    "take_along_axis high": ((3,), lambda x: tg.take_along_axis(x, [-3, 3]), IndexError,
                             ["take_along_axis", "hold 3", "(3,)"]),
    "scatter_add": ((3,), lambda x: tg.scatter_add(x, [0, 1], [1.0] * 3), ValueError,
                    ["scatter_add", "values have shape (3,)", "(2,)"]),
    "index_put": ((3,), lambda x: tg.index_put(x, 5, 1.0), IndexError, ["index_put", "(3,)"]),
    "topk half": ((3,), lambda x: tg.topk(x, 1.5), ValueError, ["topk", "k is 1.5", "0 to 3"]),
    "topk": ((3,), lambda x: tg.topk(x, 4), ValueError, ["topk", "k is 4", "0 to 3"]),
    "var": ((3,), lambda x: tg.var(x, ddof=3), ValueError, ["var", "3 values", "ddof=3"]),
    "norm": ((3,), lambda x: tg.norm(x, 0.5), ValueError, ["norm", "ord is 0.5", "1 or more"]),
    "prod": ((3,), lambda x: tg.prod(x, 1), ValueError, ["prod", "axis is 1", "(3,)"]),
    "cumsum": ((3,), lambda x: tg.cumsum(x, 1), ValueError, ["cumsum", "axis is 1", "(3,)"]),
    "argmax": ((0,), tg.argmax, ValueError, ["argmax", "with values", "(0,)"]),
    "pad mode": ((2,), lambda x: tg.pad(x, 1, "mirror"), ValueError, ["pad", "mode", "reflect"]),
    # matrix products
    "tensordot": ((2, 3), lambda x: tg.tensordot(x, x, 1), ValueError, ["tensordot", "length"]),
    "matmul": ((2, 3), lambda x: x @ ones(2, 3), ValueError, ["matmul", "(2, 3)", "(..., k, m)"]),
    "matmul number": ((2,), lambda x: x @ 2.0, ValueError, ["matmul", "b ()", "(..., k, m)"]),
    "linear": ((2, 3), lambda x: tg.linear(x, ones(4, 2)), ValueError, ["linear", "(4, 2)", "in)"]),
    "linear w": ((3,), lambda x: tg.linear(x, ones(3)), ValueError, ["linear", "(out, in)"]),
    "linear bias": (
        (2, 3), lambda x: tg.linear(x, ones(4, 3), ones(3)), ValueError,
        ["linear", "bias", "(3,)", "(4,)"],
    ),
    # convolution
    "interpolate both": (
        IMAGE, lambda x: tg.interpolate(x, 3, 2.0), ValueError,
        ["interpolate", "size is 3 and scale_factor 2.0", "exactly one"],
    ),
    "interpolate mode": (
        IMAGE, lambda x: tg.interpolate(x, 3, mode="linear"), ValueError,
        ["interpolate", "mode is 'linear'", "'bilinear'", "(1, 2, 5, 5)"],
    ),
    "interpolate corners": (
        IMAGE, lambda x: tg.interpolate(x, 3, align_corners=True), ValueError,
        ["interpolate", "align_corners", "'nearest'"],
    ),
    "interpolate size": (
        IMAGE, lambda x: tg.interpolate(x, (3, 0)), ValueError,
        ["interpolate", "size is (3, 0)", "> 0", "2 axes"],
    ),
    "interpolate x": (
        (5, 5), lambda x: tg.interpolate(x, 3), ValueError,
        ["interpolate", "x has shape (5, 5)", "(N, C, H, W) or (N, C, L)"],
    ),
    "interpolate to nothing": (
        IMAGE, lambda x: tg.interpolate(x, scale_factor=0.1), ValueError,
        ["interpolate", "scale_factor 0.1", "(5, 5)"],
    ),
    "adaptive_avgpool size": (
        IMAGE, lambda x: tg.adaptive_avgpool(x, (2, 0)), ValueError,
        ["adaptive_avgpool", "output_size is 0", ">= 1"],
    ),
    "adaptive_avgpool of nothing": (
        (1, 2, 0, 5), lambda x: tg.adaptive_avgpool(x, 1), ValueError,
        ["adaptive_avgpool", "x has shape (1, 2, 0, 5)", "(N, C, H, W)"],
    ),
    "adaptive_maxpool x": (
        (5, 5), lambda x: tg.adaptive_maxpool(x, 2), ValueError,
        ["adaptive_maxpool", "x has shape (5, 5)", "(N, C, H, W) or (C, H, W)"],
    ),
    "adaptive_avgpool1d x": (
        IMAGE, lambda x: tg.adaptive_avgpool1d(x, 2), ValueError,
        ["adaptive_avgpool1d", "x has shape (1, 2, 5, 5)", "(N, C, L) or (C, L)"],
    ),
    "pixel_shuffle": (
        IMAGE, lambda x: tg.pixel_shuffle(x, 2), ValueError,
        ["pixel_shuffle", "x has shape (1, 2, 5, 5)", "C·r²", "r = 2"],
    ),
    "pixel_unshuffle": (
        IMAGE, lambda x: tg.pixel_unshuffle(x, 2), ValueError,
        ["pixel_unshuffle", "x has shape (1, 2, 5, 5)", "H·r", "r = 2"],
    ),
    "conv1d x": (
        IMAGE, lambda x: tg.conv1d(x, ones(1, 2, 3)), ValueError,
        ["conv1d", "x has shape (1, 2, 5, 5)", "(N, C, L) or (C, L)"],
    ),
    "conv1d channels": (
        (2, 5), lambda x: tg.conv1d(x, ones(3, 1, 3)), ValueError,
        ["conv1d: x has 2 channels", "w expects 1", "images of height 1"],
    ),
    "conv1d stride": (
        (2, 5), lambda x: tg.conv1d(x, ones(3, 2, 3), stride=(1, 1)), ValueError,
        ["conv1d", "stride is (1, 1)", "an integer >= 1"],
    ),
    "maxpool1d x": (
        (5,), lambda x: tg.maxpool1d(x, 2), ValueError,
        ["maxpool1d", "x has shape (5,)", "(N, C, L) or (C, L)"],
    ),
    "maxpool1d stride": (
        (2, 5), lambda x: tg.maxpool1d(x, 2, 0), ValueError, ["maxpool1d", "stride is 0", ">= 1"],
    ),
    "avgpool1d x": (
        (5,), lambda x: tg.avgpool1d(x, 2), ValueError,
        ["avgpool1d", "x has shape (5,)", "(N, C, L) or (C, L)"],
    ),
    "conv_transpose1d stride": (
        (2, 5), lambda x: tg.conv_transpose1d(x, ones(2, 3, 3), stride=0), ValueError,
        ["conv_transpose1d", "stride is 0", ">= 1"],
    ),
    "resample axes": (
        (1, 1, 1, 2, 3), lambda x: tg.resample(x, (2, 3), (4, 3)), ValueError,
        ["resample", "x has shape (1, 1, 1, 2, 3)", "(N, C, H, W) or (C, H, W)"],
    ),
    "maxpool1d": (
        (2, 5), lambda x: tg.maxpool1d(x, 6), ValueError,
        ["maxpool1d: a kernel of (1, 6)", "does not fit", "(1, 5)"],
    ),
    "unfold": (
        (5, 5), lambda x: tg.unfold(x, 2), ValueError,
        ["unfold", "x has shape (5, 5)", "(N, C, H, W) or (C, H, W)"],
    ),
    "fold columns": (
        (8, 3), lambda x: tg.fold(x, 3, 2), ValueError,
        ["fold", "x has 3 columns", "2 · 2 windows", "(8, 3)"],
    ),
    "fold channels": (
        (7, 4), lambda x: tg.fold(x, 3, 2), ValueError,
        ["fold", "x has shape (7, 4)", "(N, C·4, L)"],
    ),
    "grid_sample grid": (
        IMAGE, lambda x: tg.grid_sample(x, ones(2, 3, 3, 2)), ValueError,
        ["grid_sample", "grid has shape (2, 3, 3, 2)", "(1, OH, OW, 2)"],
    ),
    "grid_sample mode": (
        IMAGE, lambda x: tg.grid_sample(x, ones(1, 3, 3, 2), "cubic"), ValueError,
        ["grid_sample", "mode is 'cubic'", "'bilinear', 'nearest', 'bicubic'"],
    ),
    "affine_grid": (
        (1, 3, 3), lambda theta: tg.affine_grid(theta, (1, 1, 2, 2)), ValueError,
        ["affine_grid", "theta has shape (1, 3, 3)", "(N, 2, 3)"],
    ),
    "conv2d channels": (
        IMAGE, lambda x: tg.conv2d(x, ones(3, 1, 3, 3)), ValueError,
        ["conv2d", "x has 2 channels", "w expects 1", "(1, 2, 5, 5)", "(3, 1, 3, 3)", "groups=1"],
    ),
    "conv2d x": (
        (5, 5), lambda x: tg.conv2d(x, ones(3, 2, 3, 3)), ValueError,
        ["conv2d", "x has shape (5, 5)", "(N, C, H, W) or (C, H, W)"],
    ),
    "conv2d w": (
        IMAGE, lambda x: tg.conv2d(x, ones(2, 3, 3)), ValueError,
        ["conv2d", "w has shape (2, 3, 3)", "(OC, C / groups, KH, KW)"],
    ),
    "conv2d stride": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), stride=0), ValueError,
        ["conv2d", "stride is 0", ">= 1"],
    ),
    "conv2d stride half": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), stride=1.5), ValueError,
        ["conv2d", "stride is 1.5", "an integer"],
    ),
    "conv2d stride three": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), stride=(1, 1, 1)), ValueError,
        ["conv2d", "stride is (1, 1, 1)", "pair"],
    ),
    "conv2d padding": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), padding=-1), ValueError,
        ["conv2d", "padding is -1", ">= 0"],
    ),
    "conv2d padding name": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), padding="full"), ValueError,
        ["conv2d", "padding is 'full'", "'same'"],
    ),
    "conv2d padding of three": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), padding=((1, 1),) * 3), ValueError,
        ["conv2d", "padding is ((1, 1), (1, 1), (1, 1))", "((top, bottom), (left, right))"],
    ),
    "conv2d padding of one side": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), padding=((1, -1), 0)), ValueError,
        ["conv2d", "padding is (1, -1)", ">= 0"],
    ),
    "conv2d dilation": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), dilation=(1, 0)), ValueError,
        ["conv2d", "dilation is (1, 0)", ">= 1"],
    ),
    "conv2d dilation None": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), dilation=None), ValueError,
        ["conv2d", "dilation is None"],
    ),
    "conv2d groups": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 3, 3), groups=0), ValueError,
        ["conv2d", "groups is 0", ">= 1"],
    ),
    "conv2d groups share": (
        IMAGE, lambda x: tg.conv2d(x, ones(3, 1, 3, 3), groups=2), ValueError,
        ["conv2d", "3 output channels", "groups=2"],
    ),
    "conv2d too large": (
        IMAGE, lambda x: tg.conv2d(x, ones(1, 2, 6, 3)), ValueError,
        ["conv2d", "(6, 3)", "does not fit", "(5, 5)"],
    ),
    "conv2d bias": (
        IMAGE, lambda x: tg.conv2d(x, ones(4, 2, 3, 3), ones(2)), ValueError,
        ["conv2d", "bias", "(2,)", "(4,)"],
    ),
    "conv2d empty kernel": (
        IMAGE, lambda x: tg.conv2d(x, ones(4, 2, 0, 3)), ValueError,
        ["conv2d", "w", "(4, 2, 0, 3)"],
    ),
    "conv2d input gradient": (
        (1, 3, 4, 3), lambda u: tg.conv2d_input_gradient(u, ones(3, 2, 3, 3), IMAGE), ValueError,
        ["conv2d_input_gradient", "u has shape (1, 3, 4, 3)", "(1, 3, 3, 3)"],
    ),
    "conv2d weight gradient": (
        (1, 3, 4, 3), lambda u: tg.conv2d_weight_gradient(u, ones(*IMAGE), (3, 2, 3, 3)),
        ValueError,
        ["conv2d_weight_gradient", "u has shape (1, 3, 4, 3)", "(1, 3, 3, 3)"],
    ),
    "conv_transpose2d": (
        IMAGE, lambda x: tg.conv_transpose2d(x, ones(3, 1, 3, 3)), ValueError,
        ["conv_transpose2d", "(1, 2, 5, 5)", "(3, 1, 3, 3)", "(C, OC / groups, KH, KW)"],
    ),
    "conv_transpose2d extra": (
        IMAGE, lambda x: tg.conv_transpose2d(x, ones(2, 1, 3, 3), stride=2, output_padding=2),
        ValueError, ["conv_transpose2d", "output_padding is 2", "less than stride 2 or dilation 1"],
    ),
    "conv_transpose2d padding": (
        IMAGE, lambda x: tg.conv_transpose2d(x, ones(2, 1, 3, 3), padding=4), ValueError,
        ["conv_transpose2d", "padding 4", "no output"],
    ),
    "conv_transpose2d bias": (
        IMAGE, lambda x: tg.conv_transpose2d(x, ones(2, 1, 3, 3), ones(2)), ValueError,
        ["conv_transpose2d", "bias", "(2,)", "(1,)"],
    ),
    "conv_transpose2d groups": (
        IMAGE, lambda x: tg.conv_transpose2d(x, ones(2, 1, 3, 3), groups=0), ValueError,
        ["conv_transpose2d", "groups is 0", ">= 1"],
    ),
    "conv_transpose2d groups share": (
        (1, 3, 5, 5), lambda x: tg.conv_transpose2d(x, ones(3, 1, 3, 3), groups=2), ValueError,
        ["conv_transpose2d", "groups=2", "3"],
    ),
    # pooling
    "maxpool x": ((5, 5), lambda x: tg.maxpool(x, 2), ValueError, ["maxpool", "(5, 5)", "(N, C"]),
    "maxpool kernel": (
        IMAGE, lambda x: tg.maxpool(x, 0), ValueError, ["maxpool", "kernel_size is 0", ">= 1"],
    ),
    "maxpool stride": (
        IMAGE, lambda x: tg.maxpool(x, 2, stride=0), ValueError, ["maxpool", "stride is 0"],
    ),
    "maxpool padding": (
        IMAGE, lambda x: tg.maxpool(x, 2, padding=2), ValueError,
        ["maxpool", "padding is 2", "half", "(2, 2)"],
    ),
    "maxpool too large": (
        IMAGE, lambda x: tg.maxpool(x, 6), ValueError, ["maxpool", "(6, 6)", "does not fit"],
    ),
    "maxpool dilation": (
        (1, 1, 1, 1), lambda x: tg.maxpool(x, 2, padding=1, dilation=2), ValueError,
        ["maxpool", "dilation is 2", "(1, 1, 1, 1)"],
    ),
    "avgpool kernel": (
        IMAGE, lambda x: tg.avgpool(x, (2, True)), ValueError, ["avgpool", "kernel_size", "True"],
    ),
    "avgpool gradient": (
        (1, 2, 3, 3), lambda u: tg.avgpool_gradient(u, IMAGE, 2), ValueError,
        ["avgpool_gradient", "u has shape (1, 2, 3, 3)", "(1, 2, 2, 2)"],
    ),
    "gather winner": (
        IMAGE, lambda x: tg.gather_windows(x, np.zeros((1, 2, 3, 3), int), 2), ValueError,
        ["gather_windows", "winner", "(1, 2, 3, 3)", "(1, 2, 2, 2)"],
    ),
    "global_avgpool": ((2, 3), lambda x: tg.global_avgpool(x), ValueError, ["global_avgpool", "x"]),
    # activations
    "softmax temperature": (
        (2,), lambda x: tg.softmax(x, temperature=0.0), ValueError,
        ["softmax", "temperature is 0.0"],
    ),
    "softmax temperature NaN": (
        (2,), lambda x: tg.softmax(x, temperature=nan), ValueError,
        ["softmax", "temperature is nan"],
    ),
    "softmax axis": (
        (2,), lambda x: tg.softmax(x, 1), ValueError, ["softmax", "axis is 1", "(2,)"],
    ),
    "log_softmax axis": (
        (2,), lambda x: tg.log_softmax(x, None), ValueError, ["log_softmax", "axis is None"],
    ),
    "softmax of nothing": ((2, 0), lambda x: tg.softmax(x), ValueError, ["softmax", "(2, 0)"]),
    # losses
    "mse shapes": ((2,), lambda x: tg.mse(x, ones(2, 1)), ValueError, ["mse", "(2,)", "(2, 1)"]),
    "mse reduction": (
        (2,), lambda x: tg.mse(x, x, "median"), ValueError,
        ["mse", "reduction is 'median'", "'sum'"],
    ),
    "huber shapes": ((2,), lambda x: tg.huber(x, ones(2, 1)), ValueError, ["huber", "(2, 1)"]),
    "huber delta": ((2,), lambda x: tg.huber(x, x, delta=0.0), ValueError,
                    ["huber: delta is 0.0", "> 0"]),
    "l1 reduction": ((2,), lambda x: tg.l1(x, x, "median"), ValueError, ["l1", "'median'"]),
    "mse of nothing": ((0,), lambda x: tg.mse(x, x), ValueError, ["mse", "nothing", "(0,)"]),
    "squared_error shapes": (
        (2,), lambda x: tg.squared_error(x, [1.0]), ValueError, ["squared_error", "(2,)", "(1,)"],
    ),
    "cross_entropy label": (
        (2, 3), lambda x: tg.cross_entropy(x, [0, 3]), ValueError,
        ["cross_entropy", "label 3 at 1", "0 to 2"],
    ),
    "cross_entropy negative": (
        (2, 3), lambda x: tg.cross_entropy(x, [0, -1]), ValueError, ["cross_entropy", "label -1"],
    ),
    "cross_entropy float labels": (
        (2, 3), lambda x: tg.cross_entropy(x, [0.0, 1.0]), TypeError,
        ["cross_entropy", "target", "float64", "integer"],
    ),
    "cross_entropy NaN labels": (
        (2, 3), lambda x: tg.cross_entropy(x, [nan, 1.0]), TypeError, ["cross_entropy", "target"],
    ),
    "cross_entropy NaN row": (
        (1, 2), lambda x: tg.cross_entropy(x, [[nan, 1.0]]), ValueError,
        ["cross_entropy", "target[0, 0] is nan", "expected a finite number"],
    ),
    "cross_entropy infinite row": (
        (1, 2), lambda x: tg.cross_entropy(x, [[np.inf, 1.0]]), ValueError,
        ["cross_entropy", "target[0, 0] is inf"],
    ),
    "cross_entropy negative row": (
        (1, 2), lambda x: tg.cross_entropy(x, [[-1.0, 2.0]]), ValueError,
        ["cross_entropy", "target[0, 0] is -1.0"],
    ),
    "cross_entropy integer row": (
        (1, 3), lambda x: tg.cross_entropy(x, [[0, 2, 1]]), ValueError,
        ["cross_entropy", "target", "int64", "(1, 3)", "one-hot"],
    ),
    "cross_entropy axis": (
        (2, 3), lambda x: tg.cross_entropy(x, [0, 1], axis=2), ValueError,
        ["cross_entropy", "axis is 2", "(2, 3)"],
    ),
    "cross_entropy no classes": (
        (2, 0), lambda x: tg.cross_entropy(x, [0, 0]), ValueError,
        ["cross_entropy", "logits", "(2, 0)", "one class"],
    ),
    "cross_entropy classes last": (
        (2, 4, 3), lambda x: tg.cross_entropy(x, np.zeros((2, 4), int)), ValueError,
        ["cross_entropy", "(2, 4, 3)", "(2, 4)", "axis 1", "axis=-1"],
    ),
    "cross_entropy either axis": (
        (2, 3, 3), lambda x: tg.cross_entropy(x, np.zeros((2, 3), int)), ValueError,
        ["cross_entropy", "(2, 3, 3)", "(2, 3)", "axis=-1 or axis=1"],
    ),
    "cross_entropy rows last": (
        (2, 3, 3), lambda x: tg.cross_entropy(x, np.eye(3)[[[0, 0, 1], [2, 1, 2]]]), ValueError,
        ["cross_entropy", "(2, 3, 3)", "axis=-1 or axis=1"],
    ),
    "cross_entropy shape": (
        (2, 3), lambda x: tg.cross_entropy(x, [0, 1, 2]), ValueError,
        ["cross_entropy", "target has shape (3,)", "(2,)", "(2, 3)"],
    ),
    "cross_entropy smoothing": (
        (2, 3), lambda x: tg.cross_entropy(x, [0, 1], label_smoothing=1.5), ValueError,
        ["cross_entropy", "label_smoothing is 1.5", "0 to 1"],
    ),
    "cross_entropy logits": (
        (), lambda x: tg.cross_entropy(x, 0), ValueError, ["cross_entropy", "logits", "()"],
    ),
    "cross_entropy reduction": (
        (2, 3), lambda x: tg.cross_entropy(x, [0, 1], "avg"), ValueError,
        ["cross_entropy", "'avg'"],
    ),
    "cross_entropy target gradient": (
        (1, 2), lambda x: tg.cross_entropy(x, tg.softmax(ones(1, 2))), TypeError,
        ["cross_entropy", "target", "detach"],
    ),
    # regularization
    "batch_norm x": (
        (3,), lambda x: tg.batch_norm(x, ones(3), ones(3)), ValueError,
        ["batch_norm", "x has shape (3,)", "(N, C, ...)"],
    ),
    "batch_norm w": (
        (2, 3), lambda x: tg.batch_norm(x, ones(2), ones(3)), ValueError,
        ["batch_norm", "w has shape (2,)", "(3,)"],
    ),
    "batch_norm bias": (
        (2, 3), lambda x: tg.batch_norm(x, ones(3), ones(1)), ValueError,
        ["batch_norm", "bias has shape (1,)", "(3,)"],
    ),
    "batch_norm eps": (
        (2, 3), lambda x: tg.batch_norm(x, ones(3), ones(3), -1.0), ValueError,
        ["batch_norm", "eps is -1.0"],
    ),
    "batch_norm of nothing": (
        (0, 3), lambda x: tg.batch_norm(x, ones(3), ones(3)), ValueError, ["batch_norm", "(0, 3)"],
    ),
    "dropout p": (
        (2,), lambda x: tg.dropout(x, [True, True], 1.5), ValueError, ["dropout", "p is 1.5"],
    ),
    "dropout mask": (
        (2,), lambda x: tg.dropout(x, [1, 0]), TypeError, ["dropout", "mask", "int64", "bool"],
    ),
    "dropout mask shape": (
        (2,), lambda x: tg.dropout(x, [True] * 3), ValueError, ["dropout", "mask", "(3,)", "(2,)"],
    ),
    "dropout mask larger": (
        (2,), lambda x: tg.dropout(x, [[True, True]] * 3), ValueError,
        ["dropout", "mask", "(3, 2)", "(2,)"],
    ),
    # the Tensor and its gradients
    "ragged": ((2,), lambda x: tg.Tensor([[1.0], [1.0, 2.0]]), TypeError, ["Tensor", "data"]),
    "text": ((2,), lambda x: tg.Tensor(["a"]), TypeError, ["Tensor", "data", "numbers"]),
    "nothing": ((2,), lambda x: tg.Tensor(None), TypeError, ["Tensor", "object", "numbers"]),
    "integers with gradient": (
        (2,), lambda x: tg.Tensor(np.array([1, 2]), requires_grad=True), TypeError,
        ["Tensor", "requires_grad", "int64", "float32"],
    ),
    "backward of many": ((2,), lambda x: (x * 2).backward(), ValueError, ["backward", "(2,)"]),
    "backward gradient": (
        (2,), lambda x: (x * 2).backward([1.0]), ValueError, ["backward", "(1,)", "(2,)"],
    ),
    "backward of constant": (
        (2,), lambda x: tg.Tensor(1.0).backward(), RuntimeError, ["backward", "no graph"],
    ),
    "grad of array": ((2,), lambda x: tg.grad(np.ones(1), x), TypeError, ["grad", "y is ndarray"]),
    "grad of nothing": (
        (2,), lambda x: tg.grad(x.sum(), np.ones(1)), TypeError, ["grad", "wrt[0]", "Tensor"],
    ),
    "grad wrt constant": (
        (2,), lambda x: tg.grad(x.sum(), [x, tg.Tensor([1.0], name="c")]), RuntimeError,
        ["grad", "wrt[1]", "c", "(1,)", "does not require"],
    ),
    "item": ((2,), lambda x: x.item(), ValueError, ["item", "(2,)", "one element"]),
    "data shape": (
        (2,), lambda x: setattr(x, "data", np.ones(3)), ValueError, ["data", "(3,)", "(2,)"],
    ),
    "data of a result": (
        (2,), lambda x: setattr(x * 2, "data", np.ones(2)), RuntimeError, ["data", "leaf"],
    ),
    "requires_grad_": (
        (2,), lambda x: (x * 2).requires_grad_(), TypeError, ["requires_grad_", "leaf"],
    ),
    # contexts and calculus
    "default_dtype": (
        (2,), lambda x: tg.default_dtype("i4").__enter__(), TypeError,
        ["default_dtype", "int32", "float32"],
    ),
    "num_threads": (
        (2,), lambda x: tg.num_threads(0).__enter__(), ValueError, ["num_threads", "n is 0"],
    ),
    "observe": ((2,), lambda x: tg.observe(print), TypeError, ["observe", "Observer"]),
    "hessian": (
        (2,), lambda x: tg.hessian(lambda x: x * 2)(x), ValueError, ["hessian", "(2,)", "one"],
    ),
    "jvp": (
        (2,), lambda x: tg.jvp(lambda x: x * 2, x, np.ones(3)), ValueError,
        ["jvp", "v has shape (3,)", "(2,)"],
    ),
    "jacobian argnum": (
        (2,), lambda x: tg.jacobian(lambda x: x, argnum=1)(x), ValueError,
        ["jacobian: argnum is 1", "1 arg"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "call", "error", "says"), CALLS.values(), ids=CALLS)
def test_bad_input_is_refused_with_its_reason_and_changes_nothing(
    shape: tuple[int, ...],
    call: Callable[[tg.Tensor], Any],
    error: type[Exception],
    says: list[str],
) -> None:
    x = ones(*shape)
    x.grad = np.full(shape, 7.0, "f4")
    with pytest.raises(error) as raised:
        call(x)
    message = str(raised.value)
    assert [part for part in says if part not in message] == [], message
    np.testing.assert_array_equal(x.data, np.ones(shape))
    np.testing.assert_array_equal(x.grad, np.full(shape, 7.0))
    y = (x * 2).sum()  # recording goes on as before
    y.backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 9.0))


@pytest.mark.parametrize("name", [name for name in CALLS if CALLS[name][0] == IMAGE])
def test_arrays_are_refused_as_tensors_are(name: str) -> None:
    shape, call, error, says = CALLS[name]
    with tg.no_grad(), pytest.raises(error) as raised:
        call(tg.Tensor(np.ones(shape, "f4")))
    assert says[0] in str(raised.value)


def test_an_error_names_the_module_it_happened_in() -> None:
    with pytest.raises(ValueError, match="add") as raised, tg.scope("features"), tg.scope("2"):
        tg.add(ones(2), ones(3))
    assert raised.value.__notes__ == ["in module features.2"]
