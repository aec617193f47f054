"""The chain rule, written out for any model: `derive`.

The modules that write it are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.support.modules import public

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


if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__, {"Derivation": "derivation"})
