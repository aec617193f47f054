"""Parameter groups: parameters whose options differ from the optimizer's."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from tinygrad_cnn.core.step_observer import reads
from tinygrad_cnn.core.variable import Variable


class ParamGroup(MutableMapping[str, Any]):
    """Parameters and their options, by name: a group has its own value or the optimizer's.

    Setting an option gives the group its own value. The only group of an optimizer has none of its
    own, unless it was made with one: there, setting ``group["lr"]`` sets ``optimizer.lr``.

    Attributes
    ----------
    params : list of Parameter
    own : dict of str to float
        The options in which the group differs from the optimizer.
    """

    def __init__(self, optimizer: Any, params: list[Variable], own: dict[str, Any]) -> None:
        self._optimizer = optimizer
        self.params = params
        self.own: dict[str, Any] = {}
        for name, value in own.items():
            self.own[name] = self._checked(name, value)

    def _checked(self, name: str, value: Any) -> Any:
        owner, options = type(self._optimizer).__name__, self._optimizer.options()
        if name not in options:
            known = ", ".join(["params", *options])
            raise ValueError(f"{owner}: a parameter group has {name!r}, expected one of {known}")
        return options[name].check(owner, name, value)

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        if name in self.own:
            return self.own[name]
        if name in self._optimizer.options():
            return getattr(self._optimizer, name)
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        reads(self, f"assignment to {name}")
        if len(self._optimizer.param_groups) == 1 and name not in self.own:
            setattr(self._optimizer, name, self._checked(name, value))
        else:
            self.own[name] = self._checked(name, value)

    def __delitem__(self, name: str) -> None:
        del self.own[name]  # the optimizer's value again

    def __iter__(self) -> Iterator[str]:
        return iter(["params", *self._optimizer.options()])

    def __len__(self) -> int:
        return 1 + len(self._optimizer.options())

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.own.items())
        return f"ParamGroup({len(self.params)} parameters{', ' if shown else ''}{shown})"
