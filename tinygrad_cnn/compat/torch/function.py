"""``torch.autograd.Function``: a function with a backward of its own, recorded as one op."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from tinygrad_cnn.compat.torch.tensor import Tensor, wrapped
from tinygrad_cnn.core.declaration import Prose
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.recording import changed_recording, recording
from tinygrad_cnn.core.variable import Variable


class Context:
    """What `Function.forward` keeps for `Function.backward`; other attributes may be set too.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        Whether each argument requires a gradient.
    saved_tensors : tuple of Tensor
        What ``save_for_backward`` was given.
    """

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep arguments, results or other Tensors."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Do nothing: the gradients that ``backward`` returns count."""

    def set_materialize_grads(self, value: bool) -> None:
        """Do nothing: a gradient that flows in is never None."""


class Call:
    """A call of a Function: its arguments and its context."""

    def __init__(self, function: type[Function], arguments: tuple[Any, ...]) -> None:
        self.function = function
        wants = [isinstance(a, Variable) and a.requires_grad for a in arguments]
        self.needs_input_grad = tuple(wants)
        self.places = [place for place, wanted in enumerate(wants) if wanted]
        self.arguments = [None if wanted else a for a, wanted in zip(arguments, wants, strict=True)]
        self.context: Context | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.function is other.function

    __hash__ = object.__hash__

    def result(self, xs: list[Any]) -> Tensor:
        """Return what ``forward`` computes of `xs`, the arguments that require a gradient.

        The first call keeps the context; the node of the result keeps the arguments and results
        that are in it.
        """
        shown = [a.detach() if isinstance(a, Tensor) else a for a in map(wrapped, self.arguments)]
        for place, x in zip(self.places, xs, strict=True):
            shown[place] = Tensor._of(x)
        context = Context()
        context.needs_input_grad = self.needs_input_grad
        with changed_recording(on=False):
            y = self.function._run(context, shown)
        if not isinstance(y, Tensor):
            came = type(y).__name__
            raise TypeError(f"{self.function.__name__}: forward returned {came}, expected a Tensor")
        if self.context is None:
            roles = {id(y): -1} | {id(shown[place]): k for k, place in enumerate(self.places)}
            saved = [(tensor, roles.get(id(tensor))) for tensor in context.saved_tensors]
            self.roles = [role for _, role in saved]
            context.saved_tensors = tuple(t if role is None else None for t, role in saved)
            self.context = context
        return y

    def gradients(self, g: Any, xs: list[Any], y: Any) -> list[Any]:
        """Return what ``backward`` returns for the arguments that require a gradient."""
        context = copy(self.context)
        assert context is not None
        context.saved_tensors = tuple(
            tensor if role is None else wrapped(y if role < 0 else xs[role])
            for tensor, role in zip(context.saved_tensors, self.roles, strict=True)
        )
        graph = isinstance(g, Variable)
        with changed_recording(on=graph and recording.get().on):
            found = self.function.backward(context, wrapped(g))
        gradients = found if isinstance(found, tuple) else (found,)
        if len(gradients) < len(context.needs_input_grad):
            raise TypeError(
                f"{self.function.__name__}: backward returned {len(gradients)} gradients, expected "
                f"{len(context.needs_input_grad)}, one for each argument"
            )
        chosen = [gradients[place] for place in self.places]
        filled = [
            np.zeros_like(getattr(x, "_array", x)) if gradient is None else gradient
            for x, gradient in zip(xs, chosen, strict=True)
        ]
        return filled if graph else [getattr(value, "_array", value) for value in filled]


class Function:
    """Base class of functions with a backward of their own: call them by ``apply``.

    A subclass defines the static methods ``forward(ctx, ...)``, which returns a Tensor, and
    ``backward(ctx, gradient)``, which returns a gradient or None for each argument. The results are
    recorded like those of an op. Unlike an op's, its backward is checked only if you call
    `tinygrad_cnn.check.check_gradients`.

    Examples
    --------
    >>> import tinygrad_cnn.compat.torch as torch
    >>> class Sign(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x.sign()
    ...
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         return gradient  # passes straight through
    >>> x = torch.tensor([-2.0, 3.0], requires_grad=True)
    >>> Sign.apply(x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """

    _op: Op[..., Any]

    def __init_subclass__(cls) -> None:
        def forward(xs: Any, call: Call) -> Any:
            return call.result(xs)._array

        forward.__name__, forward.__qualname__ = cls.__name__, cls.__qualname__
        forward.__module__ = cls.__module__
        cls._op = Op(
            forward, Prose(f"{cls.__name__}(xs)"), "", "", elementwise=False, complex_step=False,
            sequence=True, integers="kept", role="other", kind="", letter="", aliases={},
            selecting=False, dead_at_zero=False, saturates_at=None,
        )  # fmt: skip

        @cls._op.derivative("xs", formula=Prose("what its backward returns"))
        def _(g: Any, *, xs: Any, y: Any, call: Call) -> Any:
            return call.gradients(g, xs, y)

    @classmethod
    def _run(cls, context: Context, arguments: list[Any]) -> Any:
        if cls.setup_context is Function.setup_context:
            return cls.forward(context, *arguments)
        result = cls.forward(*arguments)
        cls.setup_context(context, tuple(arguments), result)
        return result

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Return the result of ``forward``, recorded with ``backward`` as its derivative."""
        call = Call(cls, args)
        if not call.places or not recording.get().on:
            return call.result([getattr(args[place], "_array", None) for place in call.places])
        return cls._op([args[place] for place in call.places], call)

    @staticmethod
    def forward(*args: Any) -> Any:
        """Return the result; defined by subclasses."""
        raise NotImplementedError("a torch.autograd.Function defines forward")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what backward needs, where ``forward`` takes no context."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients of the arguments; defined by subclasses."""
        raise NotImplementedError("a torch.autograd.Function defines backward")
