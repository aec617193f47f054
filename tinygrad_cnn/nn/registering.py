"""Registering parameters and buffers by name, instead of setting them as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Parameter, Tensor


class Registering:
    """The part of a `Module` that sets attributes by name and checks them."""

    _registered: Mapping[str, bool] = MappingProxyType({})  # buffers, and whether they are saved

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Set the attribute `name` to a parameter or None; raises as `add_module` does."""
        self._register(name, param, Parameter)

    def register_buffer(
        self, name: str, tensor: Tensor | NDArray[Any] | None, persistent: bool = True
    ) -> None:
        """Set the attribute `name` to a buffer, a Tensor that is not learned, or None.

        Parameters
        ----------
        name : str
        tensor : Tensor, array or None
        persistent : bool
            Whether it is part of `state_dict`. Attributes that are Tensors are.

        Raises
        ------
        TypeError
            If `tensor` is a Parameter or not a Tensor.
        ValueError
            If the name has a dot or is that of another attribute.

        Examples
        --------
        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> layer = tg.nn.Linear(2, 1)
        >>> layer.register_buffer("mask", np.ones(2, "f4"), persistent=False)
        >>> [name for name, _ in layer.named_buffers()], list(layer.state_dict())
        (['mask'], ['weight', 'bias'])
        """
        if isinstance(tensor, np.ndarray):
            tensor = Tensor(tensor)
        if isinstance(tensor, Parameter):
            raise TypeError(f"{type(self).__name__}: {name} is a Parameter, expected a Tensor")
        self._register(name, tensor, Tensor)
        self._registered = {**self._registered, name: persistent}

    def _register(self, name: str, value: Any, kind: type) -> None:
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{type(self).__name__}: {name} is {type(value).__name__}, expected a "
                f"{kind.__name__} or None"
            )
        held = vars(self).get(name)
        learned = kind is Tensor and isinstance(held, Parameter)
        if name not in vars(self) or learned or not isinstance(held, kind | None):
            self._check_name(name)
        setattr(self, name, value)

    def _check_name(self, name: str) -> None:
        """Raise ValueError if nothing can be registered under `name`."""
        owner = type(self).__name__
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{owner}: the name is {name!r}, expected text without dots")
        if hasattr(self, name):
            raise ValueError(f"{owner}: {name} is an attribute already; choose another name")
