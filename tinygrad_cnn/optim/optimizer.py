"""What all optimisers share: the parameters, the step, and a state that can be saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.optim.group import Alone, State, Together, grouped
from tinygrad_cnn.support.arguments import native, number, whole

T = TypeVar("T")


class Option(Generic[T]):
    """An attribute that is checked whenever it is set, saved with the state, and restored from it.

    It is read as fast as any other: Python finds it in the instance, as there is no ``__get__``.

    Parameters
    ----------
    check : callable
        ``check(owner, name, value)`` returns the value to keep, or raises ValueError.
    optional : bool
        A state may lack it, as states of earlier versions do; the attribute then stays as it is.
    """

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: type | None = None) -> T: ...

    def __init__(self, check: Callable[[str, str, Any], T], optional: bool = False) -> None:
        self.check = check
        self.optional = optional

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = self.check(type(instance).__name__, self.name, value)


class Hyperparameter(Option[float]):
    """An option that is a number with 0 ≤ number < below.

    It is kept as a Python float, which never turns float32 into float64.
    """

    def __init__(self, below: float = math.inf) -> None:
        super().__init__(partial(number, below=below))


def options_of(kind: type) -> dict[str, Option[Any]]:
    """Return the options of a class by name, those of its bases first."""
    return {
        name: value
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Option)
    }


class Optimizer:
    """Changes parameters so that what their gradients are of becomes smaller.

    Derive from it: make numbers that steer it a `Hyperparameter`, name in `slots` the arrays it
    keeps for each parameter, and define `update`. If `update` treats every number by itself, as all
    of ours do, say ``elementwise = True`` beside it: small parameters are then updated by one call.
    A parameter whose ``requires_grad`` is False is frozen: no step changes it.

    Parameters
    ----------
    parameters : iterable of Parameter
        Or of other leaves of float32 or float64; each once.
    lr : float
        The learning rate, 0 or more. It can be changed between steps.

    Attributes
    ----------
    parameters : list of Parameter
    lr : float

    Raises
    ------
    ValueError
        If there are no parameters, one is there twice, or a number is out of range.
    TypeError
        If one of them is no such leaf.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> class SignDescent(tg.optim.Optimizer):
    ...     def update(self, p, g, state):
    ...         p -= self.lr * np.sign(g)
    >>> x = tg.nn.Parameter([1.0, -1.0])
    >>> optimizer = SignDescent([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x.numpy()
    array([ 0.75, -0.75], dtype=float32)
    """

    slots: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False
    lr = Hyperparameter()

    def __init_subclass__(cls) -> None:
        if "update" in vars(cls) and "elementwise" not in vars(cls):
            cls.elementwise = False  # what was said of another's update says nothing of this one

    def __init__(self, parameters: Iterable[Variable], lr: float) -> None:
        self.parameters = leaves(type(self).__name__, parameters)
        self.lr = lr
        self.states: list[State] = [{} for _ in self.parameters]
        self._grouped: tuple[list[int], list[Alone | Together]] = ([], [])

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Change `p` in place, given its gradient `g` (which must stay as it is) and its state."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def step(self) -> None:
        """Change every parameter that has a gradient and requires one; the others stay as they are.

        A gradient that is not finite is applied like any other; see `clip_gradient_norm`.

        Raises
        ------
        ValueError
            If a gradient is no array or Tensor of its parameter's shape and dtype: nothing is
            changed then.
        """
        ready = []
        for i, p in enumerate(self.parameters):
            g, array = p.grad, p.array
            if g is None or not p.requires_grad:
                continue
            if type(g) is not np.ndarray or g.shape != array.shape or g.dtype != array.dtype:
                gradient_of(type(self).__name__, i, p)
            ready.append(i)
        if ready != self._grouped[0]:
            self._grouped = ready, self._groups(ready)
        with np.errstate(over="ignore", invalid="ignore"):
            for group in self._grouped[1]:
                group.step(self.update)

    def _groups(self, ready: list[int]) -> list[Alone | Together]:
        """Return how to update the parameters at these places, whose state begins if it has not."""
        members = [(self.parameters[i], self.states[i]) for i in ready]
        for p, state in members:
            if not state:  # in one step, so that an interrupt leaves no half of it
                state.update({"steps": 0} | {slot: np.zeros_like(p.array) for slot in self.slots})
        return grouped(members, self.elementwise)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_grouped": ([], [])}  # a copy would not share the groups' memory

    def zero_grad(self) -> None:
        """Forget the gradients: set ``.grad`` of every parameter to None."""
        for parameter in self.parameters:
            parameter.grad = None

    # --- saving and loading ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return options and the state of every parameter: numbers and copied arrays.

        Returns
        -------
        dict of str to float, bool, int or ndarray
            Options by name; the state of parameter ``i`` as ``"i.steps"`` and so on, once it has
            made a step.
        """
        found: dict[str, Any] = {name: getattr(self, name) for name in options_of(type(self))}
        for i, state in enumerate(self.states):
            if state.get("steps"):
                for key, value in state.items():
                    found[f"{i}.{key}"] = value.copy() if isinstance(value, np.ndarray) else value
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another optimizer was when its `state_dict` was taken.

        The options are restored too. One that the state of an earlier version lacks, such as
        `SGD`'s ``nesterov``, stays as it is.

        Raises
        ------
        ValueError
            If `state` is not that of such an optimizer for such parameters: the message says in
            what, and nothing is changed.
        """
        owner = f"{type(self).__name__}.load_state_dict"
        unread = dict(state)
        loaded: dict[str, Any] = {}
        for name, option in options_of(type(self)).items():
            if name in unread:
                loaded[name] = option.check(owner, name, unread.pop(name))
            elif not option.optional:
                raise ValueError(f"{owner}: {name} is missing")
        states = [self._loaded(owner, i, p, unread) for i, p in enumerate(self.parameters)]
        if unread:
            raise ValueError(f"{owner}: unexpected {', '.join(unread)}")
        for name, value in loaded.items():
            setattr(self, name, value)
        self.states = states
        self._grouped = ([], [])

    def _loaded(self, owner: str, i: int, p: Variable, unread: dict[str, Any]) -> State:
        """Take the state of parameter `i` out of `unread`; empty if it has made no step."""
        keys = [key for key in ("steps", *self.slots) if f"{i}.{key}" in unread]
        if keys and len(keys) <= len(self.slots):
            lacking = {"steps", *self.slots}.difference(keys)
            raise ValueError(f"{owner}: {i}.{min(lacking)} is missing")
        own: State = {key: unread.pop(f"{i}.{key}") for key in keys}
        for slot in keys[1:]:
            own[slot] = array = native(np.array(own[slot]))
            if (array.shape, array.dtype) != (p.shape, p.dtype):
                raise ValueError(
                    f"{owner}: {i}.{slot} is {array.dtype} of shape {array.shape}, expected "
                    f"{p.dtype} of shape {p.shape}"
                )
        if keys:
            begun = any(own[slot].any() for slot in keys[1:])
            own["steps"] = whole(owner, f"{i}.steps", own["steps"], int(begun))
        return own if own.get("steps") else {}  # 0, all zero: interrupted in the first step

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in options_of(type(self))}
        shown = [
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in options.items()
        ]
        return f"{type(self).__name__}({len(self.parameters)} parameters, {', '.join(shown)})"


def leaves(owner: str, parameters: Iterable[Variable]) -> list[Variable]:
    """Return `parameters` as a list; refuse an empty one, a repeated Tensor, and what is no leaf.

    Raises
    ------
    ValueError
        If there are none, or one is there twice.
    TypeError
        If `parameters` is one Tensor or no iterable, or holds anything else than floating leaves.
    """
    if isinstance(parameters, Variable) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"{owner}: parameters is {type(parameters).__name__}, expected an iterable of "
            "Parameters, such as model.parameters()"
        )
    found = list(parameters)
    if not found:
        raise ValueError(f"{owner}: parameters is empty; a model's are its nn.Parameter attributes")
    places: dict[int, int] = {}
    for i, p in enumerate(found):
        if not isinstance(p, Variable):
            raise TypeError(f"{owner}: parameters[{i}] is {type(p).__name__}, expected a Parameter")
        if not p.is_leaf:
            raise TypeError(f"{owner}: parameters[{i}] was computed, expected a leaf: its detach()")
        if p.dtype.char not in "fd":
            raise TypeError(
                f"{owner}: parameters[{i}] holds {p.dtype}, expected float32 or float64"
            )
        if id(p) in places:
            raise ValueError(f"{owner}: parameters[{i}] is parameters[{places[id(p)]}] again")
        places[id(p)] = i
    return found


def gradient_of(owner: str, i: int, p: Variable) -> NDArray[Any] | None:
    """Return the gradient that `p` is to be changed by; None if it has or requires none.

    One that is a Tensor, or of the other byte order, is replaced by a plain array of its own.

    Raises
    ------
    ValueError
        If it is of another shape or dtype than `p`.
    """
    g: Any = p.grad
    if g is None or not p.requires_grad:
        return None
    g = g.array.copy() if isinstance(g, Variable) else g  # a graph may need its memory
    g = native(g) if isinstance(g, np.ndarray) else g
    if not isinstance(g, np.ndarray) or (g.shape, g.dtype) != (p.shape, p.dtype):
        came = f"{getattr(g, 'dtype', type(g).__name__)} of shape {np.shape(g)}"
        raise ValueError(
            f"{owner}: the gradient of parameters[{i}] is {came}, expected {p.dtype} of shape "
            f"{p.shape}"
        )
    if g is not p.grad:
        p.grad = g
    return g
