"""`Module` with PyTorch's habits: registering sets an attribute."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.devices import check_device, target_of
from tinygrad_cnn.compat.torch.table import of_dtype
from tinygrad_cnn.compat.torch.tensor import Parameter, Tensor, wrapped
from tinygrad_cnn.core import tensor as core
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.recording import qualified
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.nn import module as core_module
from tinygrad_cnn.nn.state import MAY_BE_MISSING


class IncompatibleKeys(NamedTuple):
    """The names of `load_state_dict` that were only in the model, or only in the dict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _own(x: Any) -> Any:
    """Return an array or a Tensor of the core as a Tensor of this package, for the same leaves."""
    if isinstance(x, Tensor) or not isinstance(x, core.Tensor | np.ndarray):
        return x
    leaf = isinstance(x, core.Tensor) and x.is_leaf and x.requires_grad
    return wrapped(ops.reshape(x, x.shape) if leaf else x)


class Module(core_module.Module):
    """Base class of layers and models.

    A `Parameter` or Module set as an attribute belongs to the model; a list of them does not, but a
    `ModuleList` does. `register_buffer` adds a Tensor that is saved but not learned.

    Examples
    --------
    >>> import tinygrad_cnn.compat.torch as torch
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = torch.nn.Linear(3, 2)
    ...
    ...     def forward(self, x):
    ...         return self.fc(x)
    >>> [name for name, _ in Net().named_parameters()]
    ['fc.weight', 'fc.bias']
    """

    if not TYPE_CHECKING:

        def __call__(self, *args, **kwargs):
            """Return ``forward(...)``; arrays and Tensors of the core get our methods."""
            return super().__call__(*map(_own, args), **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, core.Tensor) and not isinstance(value, Tensor):
            parameter = isinstance(value, core.Parameter)
            value = Parameter(value, value.requires_grad) if parameter else wrapped(value)
        if isinstance(value, Parameter) and value.name is None:
            value.name = name  # for drawings and derivations
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in vars(self):  # called by name, as some programs do
            return vars(self)[name]
        if name.startswith("__"):
            raise AttributeError(name)
        held = [*vars(self), *dir(type(self))]
        raise names.MissingNameError(type(self).__name__, name, lambda: held, "Module")

    def _members(self) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            own = isinstance(value, Parameter | core_module.Module) or name in self._registered
            if own and value is not None:
                yield name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """Yield the parameters by name; without `recurse`, only this module's own."""
        found = super().named_parameters()
        if not recurse:
            found = (item for item in self._members() if isinstance(item[1], Parameter))
        return ((qualified(prefix, name), parameter) for name, parameter in found)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """Yield the parameters; without `recurse`, only this module's own."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def _get_name(self) -> str:
        return type(self).__name__

    @property
    def _modules(self) -> dict[str, Any]:
        return {n: v for n, v in self._members() if isinstance(v, core_module.Module)}

    @property
    def _parameters(self) -> dict[str, Any]:
        return {n: v for n, v in self._members() if isinstance(v, Parameter)}

    @property
    def _buffers(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._registered}

    # --- kind ------------------------------------------------------------------------------------

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert the parameters and buffers of floats: ``model.to(torch.float64)``."""
        dtype = target_of(*args, **kwargs)
        for _, tensor in self._named_tensors():
            if dtype is not None and tensor.dtype.kind == "f":
                tensor._array = tensor._array.astype(dtype)
                tensor._mark_changed()
                if tensor._grad is not None:
                    tensor._grad = of_dtype(tensor._grad, dtype)
        return self

    def float(self) -> Self:
        """Convert the parameters and buffers to float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert the parameters and buffers to float64."""
        return self.to(np.float64)

    def half(self) -> Self:
        """Convert the parameters and buffers to float16."""
        return self.to(np.float16)

    def cpu(self) -> Self:
        """Return the module."""
        return self

    def cuda(self, device: Any = None) -> Self:
        """Raise RuntimeError: there is only the CPU."""
        check_device("cuda")
        return self

    @effect
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients: set them to None, or to 0."""
        for parameter in self.parameters():
            if set_to_none or parameter._grad is None:
                parameter._grad = None
            else:
                parameter._grad = np.zeros_like(array_of(parameter._grad))

    # --- saving and loading ----------------------------------------------------------------------

    def state_dict(self, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return the parameters and buffers by name: Tensors of the same memory."""
        found: Any = OrderedDict() if destination is None else destination
        for name, tensor in self._saved_tensors():
            found[prefix + name] = tensor if keep_vars else tensor.detach()
        return found

    def load_state_dict(  # type: ignore[override]  # PyTorch's arguments and result
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of `state_dict` into the parameters and buffers of the same names.

        Raises
        ------
        RuntimeError
            If names or shapes differ. Nothing is changed.
        """
        own: dict[str, Any] = dict(self._saved_tensors())
        given = {name: np.asarray(array_of(value)) for name, value in state_dict.items()}
        missing = [n for n in own if n not in given and not n.endswith(MAY_BE_MISSING)]
        unexpected = [name for name in given if name not in own]
        problems = [
            f"{name} has shape {array.shape}, expected {tuple(own[name].shape)}"
            for name, array in given.items()
            if name in own and array.shape != own[name].shape
        ]
        if strict:
            problems += [f"{name} is missing" for name in missing]
            problems += [f"{name} is unexpected" for name in unexpected]
        if problems:
            raise RuntimeError(
                f"{type(self).__name__}.load_state_dict: {'; '.join(problems)}; nothing was loaded"
            )
        for name, array in given.items():
            if name in own:
                own[name]._write("load_state_dict", ..., array)
        return IncompatibleKeys(missing, unexpected)
