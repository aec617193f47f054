"""`Choice`: a class that settings refer to by name, with its options and the label on screens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Choice"]


@dataclass(frozen=True)
class Choice:
    """A row of a table such as `tinygrad_cnn.train.OPTIMIZERS`.

    Attributes
    ----------
    label : str
        The name on screens.
    factory : callable
        The class, or a function that returns an object.
    defaults : mapping
        Arguments of this row, instead of the factory's own defaults.
    arguments : tuple of str
        Arguments that are not options, since they come from elsewhere.
    """

    label: str
    factory: Callable[..., Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The options and their defaults; None where the run decides.

        Examples
        --------
        >>> from tinygrad_cnn.train import OPTIMIZERS
        >>> OPTIMIZERS["momentum"].options
        {'momentum': 0.9, 'dampening': 0.0, 'nesterov': False}
        """
        given = inspect.signature(self.factory).parameters
        defaults = {
            name: None if parameter.default is parameter.empty else parameter.default
            for name, parameter in given.items()
        }
        found = {**defaults, **self.defaults}
        return {name: value for name, value in found.items() if name not in self.arguments}

    def make(self, *args: Any, **options: Any) -> Any:
        """Call the factory, with the defaults of this row where `options` has none."""
        return self.factory(*args, **{**self.defaults, **options})

    def check(self, owner: str, options: Mapping[str, Any]) -> None:
        """Raise ValueError if one of `options` is unknown; the message starts with `owner`."""
        for name in options:
            if name not in self.options:
                known = ", ".join(
                    key if value is None else f"{key}={value}"
                    for key, value in self.options.items()
                )
                raise ValueError(f"{owner} has no option {name!r}; it has {known or 'no options'}")
