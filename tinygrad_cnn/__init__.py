"""A Python autograd micro-framework for CNNs: every derivative declared once and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.support.modules import public
from tinygrad_cnn.support.version import __version__ as __version__

if TYPE_CHECKING:
    from tinygrad_cnn import check as check
    from tinygrad_cnn import data as data
    from tinygrad_cnn import deployment as deployment
    from tinygrad_cnn import distributed as distributed
    from tinygrad_cnn import engine as engine
    from tinygrad_cnn import nn as nn
    from tinygrad_cnn import onnx as onnx
    from tinygrad_cnn import optim as optim
    from tinygrad_cnn import train as train
    from tinygrad_cnn.compiler import CompiledStep as CompiledStep
    from tinygrad_cnn.compiler import CompileError as CompileError
    from tinygrad_cnn.compiler import compile as compile
    from tinygrad_cnn.core.calculus import grad_of as grad_of
    from tinygrad_cnn.core.calculus import hessian as hessian
    from tinygrad_cnn.core.calculus import jacobian as jacobian
    from tinygrad_cnn.core.calculus import jvp as jvp
    from tinygrad_cnn.core.calculus import value_and_grad as value_and_grad
    from tinygrad_cnn.core.calculus import vjp as vjp
    from tinygrad_cnn.core.declaration import Prose as Prose
    from tinygrad_cnn.core.dtypes import default_dtype as default_dtype
    from tinygrad_cnn.core.effects import effect as effect
    from tinygrad_cnn.core.effects import pure as pure
    from tinygrad_cnn.core.graph import ChangedInPlaceError as ChangedInPlaceError
    from tinygrad_cnn.core.graph import GraphFreedError as GraphFreedError
    from tinygrad_cnn.core.graph import Node as Node
    from tinygrad_cnn.core.graph import grad as grad
    from tinygrad_cnn.core.nan import NaNError as NaNError
    from tinygrad_cnn.core.nan import detect_nan as detect_nan
    from tinygrad_cnn.core.observer import BackwardEvent as BackwardEvent
    from tinygrad_cnn.core.observer import ForwardEvent as ForwardEvent
    from tinygrad_cnn.core.observer import Observer as Observer
    from tinygrad_cnn.core.observer import observe as observe
    from tinygrad_cnn.core.op import OPS as OPS
    from tinygrad_cnn.core.op import Op as Op
    from tinygrad_cnn.core.op import op as op
    from tinygrad_cnn.core.random import manual_seed as manual_seed
    from tinygrad_cnn.core.recording import enable_grad as enable_grad
    from tinygrad_cnn.core.recording import no_grad as no_grad
    from tinygrad_cnn.core.recording import scope as scope
    from tinygrad_cnn.core.recording import set_grad_enabled as set_grad_enabled
    from tinygrad_cnn.core.tensor import Tensor as Tensor
    from tinygrad_cnn.data import one_hot as one_hot
    from tinygrad_cnn.derivation import derive as derive
    from tinygrad_cnn.drawing import draw as draw
    from tinygrad_cnn.drawing.trace import trace as trace
    from tinygrad_cnn.engine.threads import num_threads as num_threads
    from tinygrad_cnn.ops import *  # noqa: F403
    from tinygrad_cnn.train.state import load as load
    from tinygrad_cnn.train.state import save as save
else:
    from importlib import import_module
    from importlib.util import find_spec

    _NAMES = {  # the module of each public name; a test compares it with the imports above
        "check": "check",
        "compiler": "CompileError CompiledStep compile",
        "core.calculus": "grad_of hessian jacobian jvp value_and_grad vjp",
        "core.declaration": "Prose",
        "core.dtypes": "default_dtype",
        "core.effects": "effect pure",
        "core.graph": "ChangedInPlaceError GraphFreedError Node grad",
        "core.nan": "NaNError detect_nan",
        "core.observer": "BackwardEvent ForwardEvent Observer observe",
        "core.op": "OPS Op op",
        "core.random": "manual_seed",
        "core.recording": "enable_grad no_grad scope set_grad_enabled",
        "core.tensor": "Tensor",
        "data": "data one_hot",
        "deployment": "deployment",
        "derivation": "derive",
        "distributed": "distributed",
        "drawing": "draw",
        "drawing.trace": "trace",
        "engine": "engine",
        "engine.threads": "num_threads",
        "nn": "nn",
        "onnx": "onnx",
        "optim": "optim",
        "train": "train",
        "train.state": "load save",
    }
    _MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
    _late, __dir__ = public(__name__, _MODULES)

    def __getattr__(name):
        """Import a public name on its first use, after the ops, which register themselves."""
        if name.startswith("__") and name != "__all__":
            return _late(name)
        ops = import_module("tinygrad_cnn.ops")
        if name == "__all__":
            value = [*sorted(_MODULES), *ops.__all__]
        elif name in ops.__all__:
            value = getattr(ops, name)
        elif name not in _MODULES and name.isidentifier() and find_spec(f"tinygrad_cnn.{name}"):
            value = import_module(f"tinygrad_cnn.{name}")
        else:
            value = _late(name)
        globals()[name] = value  # the next access finds it there
        return value
