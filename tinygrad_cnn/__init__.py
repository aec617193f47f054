"""A Python autograd micro-framework for CNNs: every derivative declared once and checked."""

from tinygrad_cnn import nn
from tinygrad_cnn.calculus import hessian, jacobian, jvp, vjp
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.graph import ChangedInPlaceError, GraphFreedError, Node, grad
from tinygrad_cnn.op import OPS, Op, op
from tinygrad_cnn.ops import *  # noqa: F403
from tinygrad_cnn.recording import (
    BackwardEvent,
    ForwardEvent,
    Observer,
    enable_grad,
    no_grad,
    observe,
    scope,
)
from tinygrad_cnn.tensor import Tensor, default_dtype
