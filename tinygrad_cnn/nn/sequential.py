"""`Sequential`: a chain of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.nn.module import Module


class Sequential(Module):
    """Modules called in order, each on the output of the one before.

    Parameters
    ----------
    *modules : Module
        Named "0", "1", ...

    Raises
    ------
    TypeError
        If one is not a Module.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Sequential(tg.nn.Linear(4, 3), tg.nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=3)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: modules[{i}] is {module!r}, expected a Module")
        vars(self).update({str(i): module for i, module in enumerate(modules)})

    def forward(self, x: TensorLike) -> Tensor:
        """Return ``modules[-1](... modules[0](x))``."""
        y = cast(Tensor, x)  # an array, where no module has parameters
        for module in self:
            y = module(y)
        return y

    def __iter__(self) -> Iterator[Module]:
        return (module for name, module in vars(self).items() if name.isdigit())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> Module:
        """Return a module, or for a slice a Sequential of them."""
        if isinstance(index, slice):
            return Sequential(*list(self)[index])
        return list(self)[index]
