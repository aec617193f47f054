"""The types of the ops for type checkers: ``python -m tinygrad_cnn.ops.stub``.

Arrays give an array and a Tensor among them gives a Tensor, which needs one overload for each
parameter that takes either. The stub ``ops/__init__.pyi`` is written from the declarations.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from inspect import Parameter

from tinygrad_cnn import ops
from tinygrad_cnn.core.op import Op

HEAD = """\
# Written from the declarations by python -m tinygrad_cnn.ops.stub > tinygrad_cnn/ops/__init__.pyi
# mypy: disable-error-code="override, overload-overlap"
# pyright: reportIncompatibleMethodOverride=false, reportOverlappingOverload=false

from collections.abc import Sequence
from typing import Any, overload

from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Padding, Pair
from tinygrad_cnn.ops.loss import Reduction
from tinygrad_cnn.ops.reduction import Axis
"""


def stub() -> str:
    """Return the text of ``ops/__init__.pyi``."""
    names = ", ".join(f'"{name}"' for name in ops.__all__)
    return HEAD + "".join(map(_declared, ops.__all__)) + f"\n__all__ = [{names}]\n"


def _declared(name: str) -> str:
    """Return the overloads of a function, or for an op a class with them and its instance."""
    value = getattr(ops, name)
    calls = _overloads(list(inspect.signature(value).parameters.values()))
    if isinstance(value, Op):
        body = "".join(f"    @overload\n    def __call__(self, {call}: ...\n" for call in calls)
        return f"\nclass _{name}(Op[..., NDArray[Any]]):\n{body}{name}: _{name}\n"
    return "".join(f"\n@overload\ndef {name}({call}: ...\n" for call in calls)


def _overloads(taken: list[Parameter]) -> Iterator[str]:
    """Yield the signatures: one Tensor at each place in turn, then arrays alone."""
    for one in taken:
        if one.annotation in ("Array", "Array | None"):
            yield _call(taken, "TensorLike", "Tensor", one)
    yield _call(taken, "ArrayLike", "NDArray[Any]")
    if taken[0].annotation == "Sequence[Array]":
        yield _call(taken, "TensorLike", "Tensor")


def _call(parameters: list[Parameter], kind: str, result: str, one: Parameter | None = None) -> str:
    """Return a signature whose arrays are of `kind`, and the parameter `one` a Tensor."""
    parts = []
    for parameter in parameters:
        if parameter is one:
            parts.append(f"{parameter.name}: Tensor")
            continue
        default = "" if parameter.default is Parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{parameter.name}: {parameter.annotation.replace('Array', kind)}{default}")
    return f"{', '.join(parts)}) -> {result}"


if __name__ == "__main__":
    sys.stdout.write(stub())
