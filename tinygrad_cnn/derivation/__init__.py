"""The chain rule, written out for any model: `derive`.

The modules that write it are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_cnn.core.tensor import Tensor
    from tinygrad_cnn.derivation.derivation import Derivation
    from tinygrad_cnn.drawing.names import Names

__all__ = ["Derivation", "derive"]


def derive(
    y: Tensor, wrt: Tensor | str, *, names: Names | None = None, depth: int | None = None
) -> Derivation:
    """Write out the chain rule; see `derivation.derivation.derive` for the arguments.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(0.5, requires_grad=True, name="x")
    >>> type(tg.derive(tg.tanh(x), wrt=x)).__name__
    'Derivation'
    """
    from tinygrad_cnn.derivation.derivation import derive as write

    return write(y, wrt, names=names, depth=depth)


def __getattr__(name: str) -> Any:
    if name != "Derivation":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinygrad_cnn.derivation.derivation import Derivation

    return Derivation
