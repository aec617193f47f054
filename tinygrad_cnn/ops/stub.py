"""The types of the ops for type checkers: ``python -m tinygrad_cnn.ops.stub``.

Arrays give an array and a Tensor among them gives a Tensor, which needs one overload for each
parameter that takes either. The stub ``ops/__init__.pyi`` is written from the declarations.
"""

from __future__ import annotations

import inspect
import re
import sys
from inspect import Parameter

from tinygrad_cnn import ops
from tinygrad_cnn.core.op import Op

HEAD = """\
# Written from the declarations by python -m tinygrad_cnn.ops.stub > tinygrad_cnn/ops/__init__.pyi
# mypy: disable-error-code="override, overload-overlap"
# pyright: reportIncompatibleMethodOverride=false, reportOverlappingOverload=false

from collections.abc import Sequence
from typing import Any, Literal, overload

from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.windows import Padding, Pair
from tinygrad_cnn.ops.loss import Reduction
from tinygrad_cnn.ops.ranks import Ranks
from tinygrad_cnn.ops.reduction import Axis
"""


def stub() -> str:
    """Return the text of ``ops/__init__.pyi``."""
    names = ", ".join(f'"{name}"' for name in ops.__all__)
    return HEAD + "".join(map(_declared, ops.__all__)) + f"\n__all__ = [{names}]\n"


def _declared(name: str) -> str:
    """Return the overloads of a function, or for an op a class with them and its instance."""
    value = getattr(ops, name)
    signature = inspect.signature(value)
    calls = _overloads([*signature.parameters.values()], signature.return_annotation)
    if isinstance(value, Op):
        body = "".join(f"    @overload\n    def __call__(self, {call}: ...\n" for call in calls)
        return f"\nclass _{name}(Op[..., NDArray[Any]]):\n{body}{name}: _{name}\n"
    overload = "@overload\n" if len(calls) > 1 else ""
    return "".join(f"\n{overload}def {name}({call}: ...\n" for call in calls)


def _overloads(taken: list[Parameter], result: str) -> list[str]:
    """Return the signatures: one Tensor at each place in turn, then arrays alone."""
    if not _names_array(result):  # the same for Tensors and arrays
        return [_call(taken, "TensorLike", result)]
    several = [p for p in taken if p.annotation == "Sequence[Array]" or p.kind is p.VAR_POSITIONAL]
    single = [p for p in taken if p.annotation in ("Array", "Array | None") and p not in several]
    calls = [_call(taken, "TensorLike", _with("Tensor", result), one) for one in single]
    calls.append(_call(taken, "ArrayLike", _with("NDArray[Any]", result)))
    if several:
        calls.append(_call(taken, "TensorLike", _with("Tensor", result)))
    return calls


def _call(parameters: list[Parameter], kind: str, result: str, one: Parameter | None = None) -> str:
    """Return a signature whose arrays are of `kind`, and the parameter `one` a Tensor."""
    parts: list[str] = []
    for parameter in parameters:
        if parameter is one:
            if any(" = " in part for part in parts):  # what has no default follows as a keyword
                parts.append("*")
            parts.append(f"{parameter.name}: Tensor")
            continue
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        default = "" if parameter.default is Parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{star}{parameter.name}: {_with(kind, parameter.annotation)}{default}")
    return f"{', '.join(parts)}) -> {result}"


def _names_array(annotation: str) -> bool:
    return re.search(r"\bArray\b", annotation) is not None


def _with(kind: str, annotation: str) -> str:
    """Return an annotation with `kind` for ``Array``."""
    return re.sub(r"\bArray\b", kind, annotation)


if __name__ == "__main__":
    sys.stdout.write(stub())
