"""A Python autograd micro-framework for CNNs: every derivative declared once and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn import data, engine, nn, ops, optim
from tinygrad_cnn.compiler import CompiledStep, CompileError, compile
from tinygrad_cnn.core.calculus import grad_of, hessian, jacobian, jvp, value_and_grad, vjp
from tinygrad_cnn.core.declaration import Prose
from tinygrad_cnn.core.dtypes import default_dtype
from tinygrad_cnn.core.effects import effect, pure
from tinygrad_cnn.core.graph import ChangedInPlaceError, GraphFreedError, Node, grad
from tinygrad_cnn.core.nan import NaNError, detect_nan
from tinygrad_cnn.core.observer import BackwardEvent, ForwardEvent, Observer, observe
from tinygrad_cnn.core.op import OPS, Op, op
from tinygrad_cnn.core.random import manual_seed
from tinygrad_cnn.core.recording import enable_grad, no_grad, scope, set_grad_enabled
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import one_hot
from tinygrad_cnn.derivation import derive
from tinygrad_cnn.drawing import draw, trace
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.ops import *  # noqa: F403  # ops.__all__, added to ours below
from tinygrad_cnn.support.modules import public
from tinygrad_cnn.support.version import __version__ as __version__

if TYPE_CHECKING:
    from tinygrad_cnn import check, deployment, distributed, onnx, train
    from tinygrad_cnn.train.state import load, save

__all__ = [
    "OPS",
    "BackwardEvent",
    "ChangedInPlaceError",
    "CompileError",
    "CompiledStep",
    "ForwardEvent",
    "GraphFreedError",
    "NaNError",
    "Node",
    "Observer",
    "Op",
    "Prose",
    "Tensor",
    "check",
    "compile",
    "data",
    "default_dtype",
    "deployment",
    "derive",
    "detect_nan",
    "distributed",
    "draw",
    "effect",
    "enable_grad",
    "engine",
    "grad",
    "grad_of",
    "hessian",
    "jacobian",
    "jvp",
    "load",
    "manual_seed",
    "nn",
    "no_grad",
    "num_threads",
    "observe",
    "one_hot",
    "onnx",
    "op",
    "optim",
    "pure",
    "save",
    "scope",
    "set_grad_enabled",
    "trace",
    "train",
    "value_and_grad",
    "vjp",
]
__all__ += ops.__all__

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(
        __name__,
        {
            "check": "check",
            "deployment": "deployment",
            "distributed": "distributed",
            "load": "train.state",
            "onnx": "onnx",
            "save": "train.state",
            "train": "train",
        },
    )
