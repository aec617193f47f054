"""Containers of modules and of parameters: lists and dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.nn.module import Module

T = TypeVar("T")


class _Container(Module, Generic[T]):
    """A module whose items are attributes of its own: "0", "1", ... or the keys of a dict."""

    _kind: ClassVar[type[Module | Parameter]] = Module

    def _items(self) -> dict[str, T]:
        kind: Any = self._kind
        return {name: value for name, value in vars(self).items() if isinstance(value, kind)}

    def _checked(self, name: str, value: Any) -> T:
        """Return the item `value`; an array becomes a parameter in a container of these."""
        if self._kind is Parameter and not isinstance(value, Parameter):
            value = Parameter(value)
        if not isinstance(value, self._kind):
            owner = type(self).__name__
            raise TypeError(f"{owner}: modules[{name}] is {value!r}, expected a Module")
        return cast(T, value)

    def _set_items(self, items: Mapping[str, Any]) -> None:
        """Replace all items; nothing is changed if one is refused."""
        new = {name: self._checked(name, value) for name, value in items.items()}
        old = self._items()
        for name in new.keys() - old.keys():
            self._check_name(name)
        for name in old:
            del vars(self)[name]
        vars(self).update(new)

    def __len__(self) -> int:
        return len(self._items())


class NumberedContainer(_Container[T], MutableSequence[T]):
    """A container that is also a list; its items are named by numbers."""

    def __iter__(self) -> Iterator[T]:
        return iter(self._items().values())

    def __contains__(self, value: object) -> bool:
        return any(item is value for item in self)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the position of this very item; items are not compared by value."""
        for i in range(*slice(start, stop).indices(len(self))):
            if self[i] is value:
                return i
        raise ValueError(f"{type(self).__name__}: {value!r} is not an item")

    def count(self, value: Any) -> int:
        """Return how often this very item occurs."""
        return sum(item is value for item in self)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> T | Self:
        """Return an item, or for a slice a container of them."""
        if isinstance(index, slice):
            part = type(self)()
            part._set_items(dict(self._part(index)))
            return part
        return self._items()[self._name(index)]

    def _part(self, index: slice) -> Iterable[tuple[str, T]]:
        """Return the names and items of a slice."""
        return ((str(i), item) for i, item in enumerate(list(self)[index]))

    def _name(self, index: int) -> str:
        names = list(self._items())
        if not -len(names) <= index < len(names):
            raise IndexError(f"{type(self).__name__}: [{index}] of {len(names)} items")
        return names[index]

    def __setitem__(self, index: int, value: Any) -> None:  # type: ignore[override]  # no slices
        self._set_items({**self._items(), self._name(index): value})

    def __delitem__(self, index: int | slice) -> None:
        items = list(self)
        del items[index]
        self._set_items({str(i): item for i, item in enumerate(items)})

    def insert(self, index: int, value: T) -> Any:
        """Insert an item before `index`, and number the items again."""
        items = list(self)
        items.insert(index, value)
        self._set_items({str(i): item for i, item in enumerate(items)})

    def append(self, value: T) -> Self:  # type: ignore[override]  # as in PyTorch
        """Append an item, and return the container."""
        return self.extend([value])

    def extend(self, values: Iterable[T]) -> Self:  # type: ignore[override]  # as in PyTorch
        """Append several items, and return the container."""
        items = self._items()
        number = len(items)
        for value in list(values):
            while str(number) in items:  # of a part of another container, "2", "3", ...
                number += 1
            items[str(number)] = value
        self._set_items(items)
        return self

    def __iadd__(self, values: Iterable[T]) -> Self:
        return self.extend(values)

    def __add__(self, values: Iterable[T]) -> Self:
        """Return a container of the items of both."""
        return type(self)().extend([*self, *values])


class ModuleList(NumberedContainer[Module]):
    """A list of modules, named "0", "1", ...

    A plain list in an attribute works as well; this is PyTorch's class, with the same names.

    Parameters
    ----------
    modules : iterable of Module, optional

    Raises
    ------
    TypeError
        If one is not a Module.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> layers = tg.nn.ModuleList(tg.nn.Linear(2, 2) for _ in range(3))
    >>> len(layers.append(tg.nn.ReLU())), list(layers[1:].state_dict())
    (4, ['0.weight', '0.bias', '1.weight', '1.bias'])
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(() if modules is None else modules)


class ParameterList(NumberedContainer[Parameter]):
    """A list of parameters, named "0", "1", ...

    Parameters
    ----------
    values : iterable of array_like, optional
        What is not a Parameter becomes one.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ParameterList([np.zeros((3, 2), "f4"), [1.0]])
    ParameterList((3, 2), (1,))
    """

    _kind = Parameter

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.extend(() if values is None else values)

    def extra_repr(self) -> str:
        """Return the shapes."""
        return ", ".join(str(parameter.shape) for parameter in self)


class _NamedContainer(_Container[T], MutableMapping[str, T]):
    """A container that is also a dict."""

    __eq__ = object.__eq__  # a Module is compared and hashed by identity
    __hash__ = object.__hash__

    def __getitem__(self, key: str) -> T:
        return self._items()[key]

    def __setitem__(self, key: str, value: T) -> None:
        self._set_items({**self._items(), key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self._items():
            raise KeyError(key)
        del vars(self)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())


class ModuleDict(_NamedContainer[Module]):
    """A dict of modules, by name.

    A plain dict in an attribute works as well; this is PyTorch's class, with the same names.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of (str, Module), optional

    Raises
    ------
    TypeError
        If one is not a Module.
    ValueError
        If a name has a dot, or is that of another attribute.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> heads = tg.nn.ModuleDict({"left": tg.nn.Linear(2, 1), "right": tg.nn.Linear(2, 1)})
    >>> heads["left"](tg.Tensor([[0.0, 0.0]])).shape, list(heads.state_dict())[0]
    ((1, 1), 'left.weight')
    """

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        self._set_items(dict(modules or {}))


class ParameterDict(_NamedContainer[Parameter]):
    """A dict of parameters, by name.

    Parameters
    ----------
    parameters : mapping of str to array_like, or iterable of (str, array_like), optional
        What is not a Parameter becomes one.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> scales = tg.nn.ParameterDict({"left": [1.0], "right": [2.0, 3.0]})
    >>> [(name, p.shape) for name, p in scales.named_parameters()]
    [('left', (1,)), ('right', (2,))]
    """

    _kind = Parameter

    def __init__(
        self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None
    ) -> None:
        self._set_items(dict(parameters or {}))

    def extra_repr(self) -> str:
        """Return the names and shapes."""
        return ", ".join(f"{name}: {parameter.shape}" for name, parameter in self.items())
