"""`Sequential`: a chain of modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self, cast, overload

from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.nn.containers import NumberedContainer
from tinygrad_cnn.nn.module import Module


class Sequential(NumberedContainer[Module]):
    """Modules called in order, each on the output of the one before.

    It is a list too: ``append``, ``insert``, ``extend``, ``pop`` and slices. A slice keeps the
    names of its modules.

    Parameters
    ----------
    *modules : Module
        Named "0", "1", ...; or one dict with the names and modules.

    Raises
    ------
    TypeError
        If one is not a Module.
    ValueError
        If a name has a dot, or is that of another attribute.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Sequential(tg.nn.Linear(4, 3), tg.nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=3)
      (1): ReLU()
    )
    >>> model = tg.nn.Sequential({"hidden": tg.nn.Linear(4, 3), "act": tg.nn.ReLU()})
    >>> model.hidden is model[0]
    True
    """

    @overload
    def __init__(self, *modules: Module) -> None: ...
    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...
    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            self._set_items(modules[0])
        else:
            self._set_items({str(i): module for i, module in enumerate(modules)})

    def forward(self, x: TensorLike) -> Tensor:
        """Return ``modules[-1](... modules[0](x))``."""
        y = cast(Tensor, x)  # an array, where no module has parameters
        for module in self._items().values():
            y = module(y)
        return y

    def _part(self, index: slice) -> Iterable[tuple[str, Module]]:
        return list(self._items().items())[index]

    def insert(self, index: int, value: Module) -> Self:  # type: ignore[override]
        """Insert a module before `index`, number the modules again, and return the Sequential."""
        super().insert(index, value)
        return self
