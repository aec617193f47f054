"""`Module`: the base class of layers and models; finds parameters in its attributes."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.core.dtypes import native_float
from tinygrad_cnn.core.effects import clears, effect, writes
from tinygrad_cnn.core.recording import (
    Recording,
    entered,
    qualified,
    recording,
)
from tinygrad_cnn.core.step_observer import announce_entered
from tinygrad_cnn.core.tensor import A, Parameter, Tensor
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.nn.hooks import Hooked
from tinygrad_cnn.nn.registering import Registering
from tinygrad_cnn.nn.state import Stateful, replace
from tinygrad_cnn.nn.summary import Summary, summarize
from tinygrad_cnn.support.modules import set_by

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class _Forward(Protocol[P, R]):
    """Gives the call of a module the signature of its ``forward``."""

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


class Module(Registering, Stateful, Hooked):
    """Base class of layers and models: parameters, and the computation in ``forward``.

    Subclasses set parameters and other modules as attributes, and define ``forward``. Nothing is
    registered: every attribute that is a `Parameter`, a Module, or a (nested) list, tuple or dict
    of them, belongs to the model. A Tensor that is not a Parameter, such as a running mean, is a
    *buffer*: saved with the model, but not learned. Tensors computed by an op, and Tensors in
    attributes that start with an underscore, are neither.

    Attributes
    ----------
    training : bool
        Whether layers such as `Dropout` and `BatchNorm2d` are in train mode.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> class Perceptron(tg.nn.Module):
    ...     def __init__(self):
    ...         self.hidden = tg.nn.Linear(2, 3)
    ...         self.scale = tg.nn.Parameter([1.0, 2.0, 3.0])
    ...
    ...     def forward(self, x):
    ...         return self.scale * tg.tanh(self.hidden(x))
    >>> model = Perceptron()
    >>> [name for name, _ in model.named_parameters()]
    ['scale', 'hidden.weight', 'hidden.bias']
    >>> y = model(tg.Tensor([[1.0, -1.0]]))
    >>> y.shape
    (1, 3)
    """

    training: bool = True
    compile: ClassVar[Callable[..., Any]] = set_by("tinygrad_cnn.compiler")
    _compiled: Callable[..., Any] | None = None  # set by `compile`
    _unsized: str = ""  # the size that the first call determines; see `SizedLayer`

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | Any:  # Any: overrides may differ
        """Compute the result. Subclasses define it; call the module itself instead."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self: _Forward[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``forward(...)``, and append this module to the scope of recorded nodes.

        A module called by another appends its name, such as ``"conv1"`` or ``"layers.0"``; the
        outermost appends nothing. An exception carries a note with the module that raised it.
        """
        on, scope, observers, caller, shapes = outside = recording.get()
        if caller is not None:
            scope = entered(scope, _name_in(caller, self))  # type: ignore[arg-type]  # a Module
        state = Recording(on, scope, observers, self, shapes)
        try:
            recording.set(state)
            if observers:
                announce_entered(self)
            plain = (
                self._hooks is None  # type: ignore[attr-defined]
                and not self._unsized  # type: ignore[attr-defined]
                and self._compiled is None  # type: ignore[attr-defined]
            )
            y: R = self.forward(*args, **kwargs) if plain else _special_call(self, args, kwargs)
        except Exception as error:
            _note_module(error)
            raise
        finally:
            recording.set(outside)
        if shapes is not None and isinstance(y, Variable | np.ndarray):
            shapes[id(self)] = y.shape
        return y

    # --- contents --------------------------------------------------------------------------------

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield ``(name, module)`` for this module, named "", and its submodules, each once."""
        return _walk(self, "", set())

    def modules(self) -> Iterator[Module]:
        """Yield this module and all its submodules, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield ``(name, module)`` for the modules in the attributes, each once."""
        seen: set[int] = set()
        for name, member in self._members():
            if isinstance(member, Module) and id(member) not in seen:
                seen.add(id(member))
                yield name, member

    def children(self) -> Iterator[Module]:
        """Yield the modules in the attributes, each once."""
        return (module for _, module in self.named_children())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield ``(name, parameter)``, such as "conv1.weight"; shared parameters once.

        Raises
        ------
        TypeError
            If a Tensor that is not a Parameter requires a gradient: it would never be updated.
        RuntimeError
            If a layer has no parameters yet, because its first input determines their shape.
        """
        self._check_sized()
        return ((name, t) for name, t in self._named_tensors() if isinstance(t, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield ``(name, buffer)``: the Tensors that are saved but not learned."""
        return ((name, t) for name, t in self._named_tensors() if not isinstance(t, Parameter))

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers: the Tensors that are saved but not learned."""
        return (buffer for _, buffer in self.named_buffers())

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function(module)`` for all submodules and then this module; return this module.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> def start_at_one(module):
        ...     if isinstance(module, tg.nn.Linear):
        ...         module.weight.data[...] = 1.0
        >>> tg.nn.Sequential(tg.nn.Linear(2, 1)).apply(start_at_one)[0].weight
        Tensor([[1., 1.]], requires_grad=True)
        """
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def get_submodule(self, target: str) -> Module:
        """Return the submodule named `target`, such as "features.0"; this module for "".

        Raises
        ------
        AttributeError
            If there is none.
        """
        found = self if target == "" else self._found(target)
        if not isinstance(found, Module):
            raise AttributeError(f"{type(self).__name__} has no submodule {target!r}")
        return found

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter named `target`, such as "features.0.weight".

        Raises
        ------
        AttributeError
            If there is none.
        """
        found = self._found(target)
        if not isinstance(found, Parameter):
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer named `target`, such as "features.1.running_mean".

        Raises
        ------
        AttributeError
            If there is none.
        """
        buffers = dict(self.named_buffers())
        if target not in buffers:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return buffers[target]

    def _found(self, target: str) -> Tensor | Module | None:
        """Return the Tensor or Module of that name; a shared one has several."""
        for name, member in self._members():
            if name == target:
                return member
            if isinstance(member, Module) and target.startswith(f"{name}."):
                found = member._found(target.removeprefix(f"{name}."))
                if found is not None:
                    return found
        return None

    # --- registering -----------------------------------------------------------------------------

    def add_module(self, name: str, module: Module | None) -> None:
        """Set the attribute `name`, which may be "0", to a module or None.

        Raises
        ------
        TypeError
            If `module` is not a Module.
        ValueError
            If the name has a dot or is that of another attribute.
        """
        self._register(name, module, Module)

    register_module = add_module

    # --- for the methods above -------------------------------------------------------------------

    def _check_sized(self) -> None:
        """Raise RuntimeError if a layer waits for its first input."""
        for name, module in self.named_modules():
            if module._unsized:
                where = f"{type(self).__name__}: {name}" if name else type(self).__name__
                raise RuntimeError(
                    f"{where}: {module._unsized} is None, so its parameters have no shape before "
                    "the first call; call the model once, or model.summary(input_shape)"
                )

    def _members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """Yield ``(name, value)`` for each Tensor and Module in the attributes."""
        for name, value in vars(self).items():
            if isinstance(value, MEMBERS):
                yield name, value
            elif isinstance(value, CONTAINERS):  # most attributes are neither
                yield from _opened(name, value)

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters and buffers of this module and its submodules, each once."""
        seen: set[int] = set()
        names: set[str] = set()
        for prefix, module in self.named_modules():
            for own_name, tensor in module._members():
                name = qualified(prefix, own_name)
                if isinstance(tensor, Module) or id(tensor) in seen:
                    continue
                if not isinstance(tensor, Parameter):
                    hidden = not tensor.is_leaf or own_name.startswith("_")
                    if hidden and own_name not in module._registered:
                        continue
                    if tensor.requires_grad:
                        raise TypeError(
                            f"{type(self).__name__}: {name} is a Tensor that requires a gradient: "
                            "make it an nn.Parameter to have it learned, or start its name with _"
                        )
                if name in names:
                    raise ValueError(f"{type(self).__name__}: two tensors are named {name}")
                seen.add(id(tensor))
                names.add(name)
                yield name, tensor

    def _saved_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters and buffers that are part of the state dict."""
        temporary = {
            id(vars(module).get(name))
            for module in self.modules()
            for name, persistent in module._registered.items()
            if not persistent
        }
        return ((name, t) for name, t in self._named_tensors() if id(t) not in temporary)

    # --- modes -----------------------------------------------------------------------------------

    @effect
    @writes()
    def train(self, mode: bool = True) -> Self:
        """Set train mode, or without `mode` eval mode, for this and all submodules; return this."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set eval mode for this module and its submodules, and return it."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters require gradients, and return the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all floating parameters, their gradients and buffers; return the module.

        Parameters
        ----------
        dtype : dtype_like
            float32 or float64.

        Raises
        ------
        TypeError
            If `dtype` is neither.

        Notes
        -----
        The parameters stay the same objects. Make optimizers afterwards: their running averages
        keep their dtype.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> tg.nn.Linear(2, 1).astype("float64").weight.dtype
        dtype('float64')
        """
        wanted = native_float("astype", dtype)
        tensors = [t for _, t in self._named_tensors() if t.dtype.kind == "f"]
        arrays = [tensor._array.astype(wanted) for tensor in tensors]
        held = [array_of(tensor._grad) for tensor in tensors]
        gradients = [None if gradient is None else gradient.astype(wanted) for gradient in held]
        for tensor, array, gradient in zip(tensors, arrays, gradients, strict=True):
            replace(tensor, array)
            tensor._grad = gradient
        for module in self.modules():
            if module._unsized:
                module._dtype = wanted  # type: ignore[attr-defined]  # a SizedLayer
        return self

    def double(self) -> Self:
        """Convert to float64, as `astype` does."""
        return self.astype(np.float64)

    def float(self) -> Self:
        """Convert to float32, as `astype` does."""
        return self.astype(np.float32)

    @effect
    @clears(lambda self: [tensor for _, tensor in self._named_tensors()])
    def zero_grad(self) -> None:
        """Clear the gradients: set ``.grad`` of every parameter to None."""
        for _, tensor in self._named_tensors():
            tensor.grad = None

    # --- inspection ------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return the arguments to show: attributes that differ from their default."""
        shown = []
        for argument in inspect.signature(type(self)).parameters.values():
            value = vars(self).get(argument.name, argument.default)
            if value is None and argument.default is True:  # such as no bias
                value = False
            if value is None and argument.default is argument.empty:  # determined later
                shown.append(f"{argument.name}=None")
            elif _is_plain(value) and value != argument.default:
                shown.append(f"{argument.name}={value!r}")
        return ", ".join(shown)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        lines = [self.extra_repr()] if self.extra_repr() else []
        inner = [f"({name}): {m!r}" for name, m in self._members() if isinstance(m, Module)]
        if not inner:
            return f"{type(self).__name__}({''.join(lines)})"
        body = "\n".join([*lines, *inner]).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def summary(self, input_shape: tuple[int, ...] | None = None) -> Summary:
        """Return a table of the layers: output shapes, parameters and multiply-adds.

        Parameters
        ----------
        input_shape : tuple of int, optional
            The shape of one example, without the batch axis: ``(1, 28, 28)``. By default the
            module's attribute ``input_shape``; without it, only the parameters are counted.

        Returns
        -------
        Summary
            With ``rows``, ``parameters`` and ``multiply_adds``; prints as a table.

        Raises
        ------
        ValueError
            If the model rejects an input of this shape.

        Notes
        -----
        Runs the model on zeros in eval mode, without changing it; but layers whose size the first
        input determines get it from this one.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> layers = tg.nn.Conv2d(1, 6, 5), tg.nn.ReLU(), tg.nn.Flatten()
        >>> print(tg.nn.Sequential(*layers).summary((1, 8, 8)))
        layer  kind     output     parameters  multiply-adds
        0      Conv2d   6 × 4 × 4         156          2,400
        1      ReLU     6 × 4 × 4           0              0
        2      Flatten  96                  0              0
        total                             156          2,400
        """
        if input_shape is None:
            input_shape = getattr(self, "input_shape", None)
        if input_shape is None:
            self._check_sized()
        return summarize(self, input_shape)


# --- calls ---------------------------------------------------------------------------------------


def _name_in(caller: Module, module: Module) -> str:
    """Return the name of `module` in `caller`; "" if it is not there."""
    for name, value in vars(caller).items():  # the usual case
        if value is module:
            return name
    for name, value in vars(caller).items():  # else in a list, or in a container
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                if item is module:
                    return f"{name}.{i}"
        elif isinstance(value, Module):
            for inner_name, item in vars(value).items():
                if item is module:
                    return f"{name}.{inner_name}"
    names = (name for name, inner in caller.named_modules() if inner is module)
    return next(names, "")


def _special_call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a module that has hooks or is compiled, or a `SizedLayer` for the first time."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        inputs = [*args, *kwargs.values()]
        undo = module._infer(inputs[0]) if module._unsized and inputs else None
        compute = module.forward
        if module._compiled is not None:
            state = recording.get()
            compute = module.forward if state.on or state.observers else module._compiled
        try:
            return compute(*args, **kwargs)
        except BaseException:
            if undo is not None:
                undo()
            raise

    if module._hooks is None:
        return forward(*args, **kwargs)
    return module._hooks.call(module, forward, args, kwargs)


def _note_module(error: Exception) -> None:
    """Note on `error` the module that raised it, unless an op or inner module already has."""
    where = recording.get().scope
    if where and not any(note.startswith("in module") for note in getattr(error, "__notes__", ())):
        error.add_note(f"in module {where}")


class Parameterless(Module):
    """Base class of layers without parameters: an array gives an array, a Tensor a Tensor."""

    if TYPE_CHECKING:

        def __call__(self, x: A) -> A:
            """Return ``forward(x)``."""


# --- search through attributes -------------------------------------------------------------------

MEMBERS = (Tensor, Module)
CONTAINERS = (list, tuple, dict)


def _opened(name: str, value: Any) -> Iterator[tuple[str, Tensor | Module]]:
    """Yield `value`, or the contents of a container, with names such as "layers.0"."""
    if isinstance(value, MEMBERS):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _opened(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _opened(f"{name}.{key}", item)


def _walk(module: Module, name: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield name, module
    for inner_name, inner in module.named_children():
        yield from _walk(inner, qualified(name, inner_name), seen)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | str)
