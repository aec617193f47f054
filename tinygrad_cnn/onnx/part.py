"""Parts of a loaded model: modules that hold parameters under the names of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from tinygrad_cnn.core.tensor import Parameter, Tensor
from tinygrad_cnn.nn.module import Module, _opened

__all__ = ["OnnxPart", "kind_of", "path_of", "place_of"]

_DEEPEST = 16  # of parts in parts; what is deeper has dots in its name


class OnnxPart(Module):
    """A part of a loaded model: parameters, buffers and inner parts, by any names.

    Files use names that no attribute can have, such as "onnx::Conv_12", and those of methods. So
    the contents are in a dict; they are attributes as well, unless the class has the name, or
    Python may ask for it, such as "__deepcopy__".
    """

    input_shape: tuple[int, ...] | None = None

    def __init__(self) -> None:
        self._contents: dict[str, Tensor | OnnxPart] = {}

    def _members(self) -> Iterator[tuple[str, Tensor | Module]]:
        yield from self._contents.items()
        for name, value in vars(self).items():  # that a user has set
            if not name.startswith("_"):
                yield from _opened(name, value)

    def __getattr__(self, name: str) -> Any:
        contents = vars(self).get("_contents", {})
        if name not in contents or _is_special(name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return contents[name]

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self).get("_contents", {}).get(name)
        own = name in vars(self) or hasattr(type(self), name) or _is_special(name)
        if held is None or own:
            super().__setattr__(name, value)
            return
        if not isinstance(value, Parameter if isinstance(held, Parameter) else Tensor) or (
            isinstance(held, OnnxPart)
        ):
            raise TypeError(
                f"{type(self).__name__}: {name} is {type(value).__name__}, expected a "
                f"{'Parameter' if isinstance(held, Parameter) else type(held).__name__}"
            )
        self._contents[name] = value

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *filter(str.isidentifier, self._contents)]

    def __reduce__(self) -> Any:
        kind = vars(type(self)).get("_of_operator", type(self))
        return _of_kind, (kind,), self.__getstate__()

    def _put(self, path: str, value: Tensor, names: set[str]) -> tuple[OnnxPart, str]:
        """Put a tensor at a path such as "layer1.conv.weight"; return its place.

        Where a part cannot be, because it has no name or the name of a tensor, the rest of the
        path is one name with dots.
        """
        part, key = self, path
        pieces = path.split(".")
        for depth, piece in enumerate(pieces[:-1], 1):
            if depth > _DEEPEST or "" in pieces or ".".join(pieces[:depth]) in names:
                break
            part, key = part._inner(piece), key.partition(".")[2]
        part._contents[key] = value
        if not isinstance(value, Parameter):
            part._registered = {**part._registered, key: True}
        return part, key

    def _at(self, path: str, names: set[str]) -> tuple[tuple[OnnxPart, ...], str]:
        """Return the parts along a path and the path; a similar one if that is a tensor's."""
        pieces = [piece for piece in path.split(".", _DEEPEST) if piece]
        while any(".".join(pieces[: i + 1]) in names for i in range(len(pieces))):
            pieces = ["_".join(pieces) + "_"]
        parts = [self]
        for piece in pieces:
            parts.append(parts[-1]._inner(piece))
        return tuple(parts[1:]), ".".join(pieces)

    def _inner(self, name: str) -> OnnxPart:
        found = self._contents.get(name)
        if not isinstance(found, OnnxPart):
            found = self._contents[name] = OnnxPart()
        return found


def _is_special(name: str) -> bool:
    """Return whether Python, or a program such as Jupyter, may look for such a method."""
    return name.startswith("_") and name.endswith("_")


def _of_kind(kind: str | type[OnnxPart]) -> OnnxPart:
    """Return an empty part, for a copy."""
    found = kind_of(kind) if isinstance(kind, str) else kind
    return found.__new__(found)


@cache
def kind_of(name: str) -> type[OnnxPart]:
    """Return the class of parts that one kind of operator makes; drawings show its name."""
    return type(name, (OnnxPart,), {"_of_operator": name})


def path_of(name: str) -> str:
    """Return the path of the module in the name of a node.

    Exporters join the names of modules with slashes, and put the operator last.

    Examples
    --------
    >>> path_of("/layer1/layer1.0/conv1/Conv"), path_of("encoder.0/Add"), path_of("Relu_3")
    ('layer1.0.conv1', 'encoder.0', 'Relu_3')
    """
    *modules, operator = filter(None, name.split("/"))
    if not modules and not name.startswith("/"):
        return operator
    path: list[str] = []
    for module in modules:
        if path and module.startswith(f"{path[-1]}."):
            path.pop()
        path.append(module)
    return ".".join(filter(None, ".".join(path).split(".")))


def place_of(call: Any, number: int) -> str:
    """Return the path of a `NodeCall` in its own name; with its number if it has none."""
    name = call.modules or call.operator.name
    if "/" in name or name not in call.outputs:  # a name, not that of a value instead
        return path_of(name)
    return f"{call.operator.op_type}_{number}"
