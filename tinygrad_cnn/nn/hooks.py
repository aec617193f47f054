"""Hooks of a module: functions called before and after its forward, and in the sweep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from typing import Any, TypeAlias

from tinygrad_cnn import ops
from tinygrad_cnn.core.hooks import HookHandle
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Array, Variable

Gradients: TypeAlias = "tuple[Array | None, ...]"


class ModuleHooks:
    """The hooks of one module, by kind; each in the order in which they are called.

    Attributes
    ----------
    before : dict
        Of forward: ``hook(module, args)``.
    after : dict
        Of forward: ``hook(module, args, output)``.
    backward : dict
        ``hook(module, grad_input, grad_output)``.
    """

    def __init__(self) -> None:
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.backward: dict[int, Callable[..., Any]] = {}

    def call(
        self,
        module: Any,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Return ``forward(*args, **kwargs)``, with the hooks called around it."""
        for hook in list(self.before.values()):
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        sweep = _Sweep(self, module, len(args)) if self.backward and recording.get().on else None
        if sweep is not None:
            args = sweep.enter(args)
        y = forward(*args, **kwargs)
        for hook in list(self.after.values()):
            changed = hook(module, args, y)
            y = y if changed is None else changed
        return y if sweep is None else sweep.leave(y)


class _Sweep:
    """The backward hooks of one call: collects its gradients, and calls them."""

    def __init__(self, hooks: ModuleHooks, module: Any, inputs: int) -> None:
        self._hooks, self._module = hooks, module
        self._grad_output: Gradients = ()
        self._grad_input: Gradients = (None,) * inputs
        self._to_input = False

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments, passed through nodes at which the sweep leaves the module."""
        passed = _passed(args, self._leaves_module)
        self._to_input = passed is not args
        return passed

    def leave(self, y: Any) -> Any:
        """Return the result, passed through nodes at which the sweep enters the module."""
        if type(y) in (tuple, list):
            return type(y)(_passed(tuple(y), self._enters_module))
        return _passed((y,), self._enters_module)[0]

    def _enters_module(self, gradients: Gradients) -> None:
        self._grad_output = gradients
        if not self._to_input:
            self._call(self._grad_input)

    def _leaves_module(self, gradients: Gradients) -> Gradients:
        return self._call(gradients)

    def _call(self, grad_input: Gradients) -> Gradients:
        for hook in list(self._hooks.backward.values()):
            changed = hook(self._module, grad_input, self._grad_output)
            if changed is not None:
                grad_input = _replaced(self._module, changed, grad_input)
        return grad_input


def _replaced(module: Any, changed: Any, grad_input: Gradients) -> Gradients:
    """Return the gradients of the inputs that a hook returned; None leaves one as it was."""
    new = changed if isinstance(changed, tuple | list) else (changed,)
    if len(new) != len(grad_input):
        raise ValueError(
            f"{type(module).__name__}: a backward hook returned {len(new)} gradients, expected "
            f"{len(grad_input)}, one for each input"
        )
    return tuple(
        old if g is None or old is None else g for g, old in zip(new, grad_input, strict=True)
    )


def _passed(
    values: tuple[Any, ...], hook: Callable[[Gradients], Gradients | None]
) -> tuple[Any, ...]:
    """Return `values`, the Tensors passed through nodes where `hook` gets all their gradients.

    Several are joined in one array, so that a sweep reaches their gradients at once.
    """
    places = [i for i, v in enumerate(values) if isinstance(v, Variable) and v.requires_grad]
    if not places:
        return values
    tensors = [values[i] for i in places]
    shapes = [tensor.shape for tensor in tensors]
    cuts = list(pairwise([0, *accumulate(map(prod, shapes))]))

    def split(flat: Array) -> list[Array]:
        return [ops.reshape(flat[i:j], s) for (i, j), s in zip(cuts, shapes, strict=True)]

    def joined(parts: list[Array]) -> Array:
        return ops.concatenate([ops.reshape(part, (-1,)) for part in parts])

    def at_node(gradient: Array) -> Array | None:
        parts = [gradient] if len(places) == 1 else split(gradient)
        found = dict(zip(places, parts, strict=True))
        changed = hook(tuple([found.get(i) for i in range(len(values))]))
        if changed is None:
            return None
        parts = [changed[i] for i in places]
        return parts[0] if len(places) == 1 else joined(parts)

    whole = ops.reshape(tensors[0], shapes[0]) if len(places) == 1 else joined(tensors)
    whole.register_hook(at_node)
    parts = [whole] if len(places) == 1 else split(whole)
    new = dict(zip(places, parts, strict=True))
    return tuple([new.get(i, value) for i, value in enumerate(values)])


class Hooked:
    """The part of a `Module` that registers hooks."""

    _hooks: ModuleHooks | None = None

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, args)`` before each call of the module.

        Parameters
        ----------
        hook : callable
            `args` is the tuple of positional arguments. It returns None, or new arguments: a tuple,
            or the only one.

        Returns
        -------
        HookHandle
            Its ``remove()`` removes the hook; also a context manager.

        Notes
        -----
        Hooks run in the order in which they were registered. An error in one is an error of the
        call. A copy or pickle of a module has no hooks.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> layer = tg.nn.ReLU()
        >>> with layer.register_forward_pre_hook(lambda module, args: -args[0]):
        ...     layer(tg.Tensor([-2.0]))
        Tensor([2.])
        """
        return self._hooked("register_forward_pre_hook", "before", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, args, output)`` after each call of the module.

        Parameters
        ----------
        hook : callable
            It returns None, or what the call returns instead of `output`.

        Returns
        -------
        HookHandle
            As `register_forward_pre_hook`.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> model = tg.nn.Sequential(tg.nn.ReLU(), tg.nn.Tanh())
        >>> seen = []
        >>> handle = model[0].register_forward_hook(lambda module, args, y: seen.append(y))
        >>> y = model(tg.Tensor([-1.0, 2.0]))
        >>> seen
        [Tensor([0., 2.])]
        >>> handle.remove()
        """
        return self._hooked("register_forward_hook", "after", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, grad_input, grad_output)`` when a sweep has gone through the module.

        Parameters
        ----------
        hook : callable
            `grad_output` has the gradient of each output, `grad_input` that of each positional
            argument through this call; None where there is none. They are read-only arrays (Tensors
            with `create_graph`). It returns None, or gradients that replace `grad_input`.

        Returns
        -------
        HookHandle
            As `register_forward_pre_hook`. Only calls after the registration are seen.

        Notes
        -----
        In the graph, the inputs and outputs of the call pass through a reshape, at which their
        gradients are read.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> layer = tg.nn.ReLU()
        >>> def positive(module, grad_input, grad_output):
        ...     return tuple(g * (g > 0) for g in grad_input)
        >>> handle = layer.register_full_backward_hook(positive)
        >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> (layer(x) * [3.0, -3.0]).sum().backward()
        >>> x.grad
        array([ 3., -0.], dtype=float32)
        """
        return self._hooked("register_full_backward_hook", "backward", hook)

    def _hooked(self, function: str, kind: str, hook: Callable[..., Any]) -> HookHandle:
        if not callable(hook):
            raise TypeError(f"{function}: hook is {hook!r}, expected a function")
        if self._hooks is None:
            self._hooks = ModuleHooks()
        return HookHandle(getattr(self._hooks, kind), hook)
