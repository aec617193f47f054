"""``torch.autograd``: gradients of Tensors, and the switches of recording."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.function import Function as Function
from tinygrad_cnn.compat.torch.tensor import Tensor, wrapped
from tinygrad_cnn.core import calculus, graph, variable
from tinygrad_cnn.core.nan import detect_nan


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` (their sum) with respect to each of `inputs`.

    Raises
    ------
    RuntimeError
        If an input was not used to compute the outputs, unless `allow_unused`: then its gradient
        is None.
    """
    outs = [outputs] if isinstance(outputs, variable.Variable) else list(outputs)
    wrt = [inputs] if isinstance(inputs, variable.Variable) else list(inputs)
    flows = [None] * len(outs) if grad_outputs is None else grad_outputs
    flows = [flows] if isinstance(flows, variable.Variable) else list(flows)
    reached: set[Any] = set()
    totals: list[Any] = [None] * len(wrt)
    retain = create_graph if retain_graph is None else retain_graph
    for place, (y, flow) in enumerate(zip(outs, flows, strict=True)):
        reached |= _sources(y)
        keep = retain or place + 1 < len(outs)
        found = graph.grad(y, wrt, flow, create_graph=create_graph, retain_graph=keep)
        totals = [g if total is None else total + g for total, g in zip(totals, found, strict=True)]
    results = []
    for i, (x, total) in enumerate(zip(wrt, totals, strict=True)):
        if (x if x.node is None else x.node) in reached:
            results.append(wrapped(total))
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"grad: inputs[{i}] was not used to compute the outputs; allow_unused=True returns "
                "None for it"
            )
    return tuple(results)


def _sources(y: variable.Variable) -> set[Any]:
    """Return the nodes and leaves that `y` was computed from."""
    if y.node is None:
        return {y}
    nodes = graph.nodes_of(y.node)
    return {*nodes, *(parent for node in nodes for parent in node.parents)}


def backward(
    tensors: Any, grad_tensors: Any = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add the gradients of `tensors` to ``.grad`` of the leaves."""
    ys: list[Any] = [tensors] if isinstance(tensors, variable.Variable) else list(tensors)
    flows = [grad_tensors] if isinstance(grad_tensors, variable.Variable) else grad_tensors
    for place, (y, flow) in enumerate(zip(ys, flows or [None] * len(ys), strict=True)):
        y.backward(flow, retain_graph or place + 1 < len(ys), create_graph)


def Variable(data: Any, requires_grad: bool = False) -> Tensor:  # a class once
    """Return a Tensor; older programs wrap their Tensors in ``Variable``."""
    view: Tensor = data.detach()
    return view.requires_grad_() if requires_grad else view


def set_detect_anomaly(mode: bool = True) -> Any:
    """Return a context in which the first NaN raises an error; use it in ``with``."""
    return detect_nan() if mode else nullcontext()


class functional:  # a module of PyTorch's
    """``torch.autograd.functional``: Jacobians, Hessians and products with them."""

    @staticmethod
    def jacobian(func: Callable[..., Tensor], inputs: Tensor) -> Tensor:
        """Return the Jacobian of `func`, of shape ``y.shape + x.shape``."""
        return wrapped(calculus.jacobian(func)(inputs))  # type: ignore[no-any-return]

    @staticmethod
    def hessian(func: Callable[..., Tensor], inputs: Tensor) -> Tensor:
        """Return the Hessian of `func`, whose value has one element."""
        return wrapped(calculus.hessian(func)(inputs))  # type: ignore[no-any-return]


if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.autograd", "torch.autograd")
