"""The base class of optimizers: parameters, the step, and a state that can be saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.effects import clears, effect, writes
from tinygrad_cnn.core.recording import enable_grad
from tinygrad_cnn.core.step_observer import reads
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.engine import fast
from tinygrad_cnn.optim.group import Alone, State, Together, grouped
from tinygrad_cnn.optim.param_group import ParamGroup
from tinygrad_cnn.support.arguments import native, number, whole

T = TypeVar("T")
Params: TypeAlias = Iterable[Variable] | Iterable[Mapping[str, Any]]
"""Parameters, or parameter groups: dicts with ``"params"`` and options."""

UpdatePlan: TypeAlias = tuple[list[int], list[tuple[ParamGroup, list[Alone | Together]]]]
"""The indices of the parameters to update, and their update groups."""


class CompiledUpdate(NamedTuple):
    """The compiled kernel that computes an optimizer's `update`, with the same bits.

    It gets the parameter, the gradient, the arrays of the slots, the options, and then the numbers
    that `Optimizer.coefficients` returns.

    Attributes
    ----------
    kernel : str
        Its name in `engine.fast.optimizers`.
    slots : tuple of str
    options : tuple of int
    least : int
        The values of a parameter from which a call of the kernel pays.
    """

    kernel: str
    slots: tuple[str, ...] = ()
    options: tuple[int, ...] = ()
    least: int = fast.LEAST


class Option(Generic[T]):
    """An attribute that is checked when set, saved with the state, and restored from it.

    Reading costs nothing extra: without ``__get__``, Python finds the value in the instance.

    Parameters
    ----------
    check : callable
        ``check(owner, name, value)`` returns the value to keep, or raises ValueError.
    """

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: type | None = None) -> T: ...

    def __init__(self, check: Callable[[str, str, Any], T]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: Any) -> None:
        if self.name in vars(instance):
            reads(instance, f"assignment to {self.name}")
        vars(instance)[self.name] = self.check(type(instance).__name__, self.name, value)


class Hyperparameter(Option[float]):
    """An option that is a number with 0 ≤ number < below.

    Stored as a Python float, which never promotes float32 to float64.
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
    """Base class: updates parameters to minimize the loss.

    Subclasses declare their settings as `Hyperparameter`, name in `slots` the arrays kept per
    parameter, and define `update`. If `update` works elementwise, as in all optimizers here, set
    ``elementwise = True``: small parameters are then updated in one call, and large ones in
    chunks, on several threads.
    A parameter whose ``requires_grad`` is False is frozen: no step changes it.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Leaves of float32 or float64, each once. A dict is a parameter group: ``"params"``, and
        options that differ from the optimizer's, as ``{"params": biases, "weight_decay": 0.0}``.
    lr : float
        The learning rate, 0 or more. It may change between steps.

    Attributes
    ----------
    params : list of Parameter
        Of all groups.
    param_groups : list of ParamGroup
        Mappings: ``optimizer.param_groups[1]["lr"] = 0.01``.
    lr : float
        The learning rate of groups without one of their own.
    state : dict of Parameter to dict
        The steps of each parameter and its arrays by slot; empty before its first step.
    plan : tuple
        The indices of the parameters of the latest step, and their update groups: see `planned`.

    Raises
    ------
    ValueError
        If there are no parameters, one is repeated, or a number is out of range.
    TypeError
        If a parameter is not such a leaf.

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
        def first(name: str) -> int:
            return next(i for i, each in enumerate(cls.__mro__) if name in vars(each))

        if first("update") < first("elementwise"):
            cls.elementwise = False  # a new `update` may not be elementwise
        if first("update") < first("compiled_update"):
            cls.compiled_update = Optimizer.compiled_update  # type: ignore[method-assign]  # none

    def __init__(self, params: Params, lr: float) -> None:
        self.lr = lr
        self.params: list[Variable] = []
        self.param_groups: list[ParamGroup] = []
        self.state: dict[Variable, State] = {}
        self.plan: UpdatePlan = ([], [])
        for group in _groups_of(type(self).__name__, params):
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own.

        Parameters
        ----------
        param_group : mapping
            ``"params"``, an iterable of Parameter or one, and options by name.

        Raises
        ------
        ValueError
            If a parameter is in a group already, or an option is unknown or out of range.
        TypeError
            If a parameter is not a leaf of float32 or float64.
        """
        owner, own = type(self).__name__, dict(param_group)
        params = own.pop("params", ())
        params = [params] if isinstance(params, Variable) else params
        found = leaves(owner, "params", params, self.params)
        group = ParamGroup(self, found, own)
        self.params += found
        self.param_groups.append(group)
        self.state.update({p: {} for p in found})
        self.plan = ([], [])

    @classmethod
    def options(cls) -> dict[str, Option[Any]]:
        """Return the options by name, those of base classes first."""
        return options_of(cls)

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        """Update `p` in place from its gradient `g`, which must not change, and its state."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def compiled_update(self) -> CompiledUpdate | None:
        """Return the kernel that computes `update` with the options of now; None if none does."""
        return None

    def coefficients(self, steps: int) -> tuple[float, ...]:
        """Return the numbers in the formula of `update`, of the options and the steps so far."""
        raise NotImplementedError(f"{type(self).__name__} defines no coefficients")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient and requires one.

        A gradient that is not finite is applied like any other; see `clip_grad_norm_`.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients first, and returns the loss; needed by `LBFGS` only.

        Returns
        -------
        object
            The value of `closure`; None without.

        Raises
        ------
        ValueError
            If a gradient is not an array or Tensor of its parameter's shape and dtype. Nothing is
            changed.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self.update_all()
        return loss

    @effect
    @writes(lambda self: self.params)
    def update_all(self) -> None:
        """Update every parameter that has a gradient and requires one."""
        _, planned = self.planned(self._ready())
        with np.errstate(over="ignore", invalid="ignore"):
            for param_group, groups in planned:
                update = self.of_group(param_group)._kernel_or_numpy
                for group in groups:
                    group.step(update)

    def _kernel_or_numpy(self, p: NDArray[Any], g: NDArray[Any], state: State) -> Any:
        """Update `p` by the compiled kernel, or by `update`."""
        if p.size >= fast.LEAST and (own := self.compiled_update()) is not None:
            kernels, slots = fast.kernels("optimizers", p, own.least), map(state.get, own.slots)
            if kernels is not None and kernels.update(
                own.kernel, [p, g, *slots], own.options, self.coefficients(state["steps"])
            ):
                return None
        return self.update(p, g, state)

    def planned(self, ready: list[int]) -> UpdatePlan:
        """Return the plan for the parameters at these indices; make it if they have changed."""
        if ready != self.plan[0]:
            self.plan = ready, self._groups(ready)
        return self.plan

    def _ready(self) -> list[int]:
        """Return the indices of the parameters to update, their gradients checked."""
        ready = []
        for i, p in enumerate(self.params):
            g, array = p._grad, p._array
            if g is None or not p.requires_grad:
                continue
            if type(g) is not np.ndarray or g.shape != array.shape or g.dtype != array.dtype:
                gradient_of(type(self).__name__, f"params[{i}]", p)
            ready.append(i)
        return ready

    def _groups(self, ready: list[int]) -> list[tuple[ParamGroup, list[Alone | Together]]]:
        """Return the update groups of the parameters at these indices; create missing states."""
        due = set(map(self.params.__getitem__, ready))
        for p in due:
            if not (state := self.state[p]):  # in one call: an interrupt leaves no partial state
                state.update({"steps": 0} | {slot: np.zeros_like(p._array) for slot in self.slots})
        return [
            (
                group,
                grouped([(p, self.state[p]) for p in group.params if p in due], self.elementwise),
            )
            for group in self.param_groups
        ]

    def of_group(self, group: ParamGroup) -> Self:
        """Return an optimizer with the options of a group, for its update."""
        if not group.own:
            return self
        made = object.__new__(type(self))
        vars(made).update(vars(self), **group.own)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "plan": ([], [])}  # copies share no group memory

    @effect
    @clears(lambda self: self.params)
    def zero_grad(self) -> None:
        """Clear the gradients: set ``.grad`` of every parameter to None."""
        for parameter in self.params:
            parameter.grad = None

    # --- saving and loading ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the options and the state of every parameter: numbers and copied arrays.

        Returns
        -------
        dict of str to float, bool, int or ndarray
            Options by name; those of a group as ``"group 1.lr"``. The state of parameter ``i`` as
            ``"i.steps"`` and so on, once it has been updated.
        """
        found: dict[str, Any] = {name: getattr(self, name) for name in self.options()}
        for k, group in enumerate(self.param_groups):
            found |= {f"group {k}.{name}": value for name, value in group.own.items()}
        for i, state in enumerate(self.state.values()):
            if state.get("steps"):
                for key, value in state.items():
                    found[f"{i}.{key}"] = value.copy() if isinstance(value, np.ndarray) else value
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state and the options that `state_dict` of another optimizer returned.

        Raises
        ------
        ValueError
            If `state_dict` does not match the optimizer or its parameters; the message says where.
            Nothing is changed.
        """
        owner = f"{type(self).__name__}.load_state_dict"
        unread = dict(state_dict)
        loaded: dict[str, Any] = {}
        own: list[dict[str, Any]] = [{} for _ in self.param_groups]
        for name, option in self.options().items():
            if name not in unread:
                raise ValueError(f"{owner}: {name} is missing")
            loaded[name] = option.check(owner, name, unread.pop(name))
            for k, values in enumerate(own):
                key = f"group {k}.{name}"
                if key in unread:
                    values[name] = option.check(owner, key, unread.pop(key))
        state = {p: self._loaded(owner, i, p, unread) for i, p in enumerate(self.params)}
        if unread:
            raise ValueError(f"{owner}: unexpected {', '.join(unread)}")
        for name, value in loaded.items():
            setattr(self, name, value)
        for group, values in zip(self.param_groups, own, strict=True):
            group.own = values
        self.state = state
        self.plan = ([], [])

    def _loaded(self, owner: str, i: int, p: Variable, unread: dict[str, Any]) -> State:
        """Take the state of parameter `i` out of `unread`; empty before its first step."""
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
        return own if own.get("steps") else {}  # 0 steps: interrupted in the first

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in self.options()}
        shown = [
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in options.items()
        ]
        groups = len(self.param_groups)
        several = f" in {groups} groups" if groups > 1 else ""
        return f"{type(self).__name__}({len(self.params)} parameters{several}, {', '.join(shown)})"


def _groups_of(owner: str, params: Params) -> list[Mapping[str, Any]]:
    """Return parameter groups: the dicts of `params`, or one group of all parameters."""
    if isinstance(params, Variable) or not isinstance(params, Iterable):
        raise not_iterable(owner, "params", params)
    found: list[Any] = list(params)
    if not any(isinstance(each, Mapping) for each in found):
        return [{"params": found}]
    for k, each in enumerate(found):
        if not isinstance(each, Mapping) or "params" not in each:
            raise TypeError(
                f'{owner}: params[{k}] is {type(each).__name__}, expected a dict with "params"'
                " like the others"
            )
    return found


def not_iterable(owner: str, argument: str, value: Any) -> TypeError:
    """Return the error for `value` where an iterable of parameters is expected."""
    return TypeError(
        f"{owner}: {argument} is {type(value).__name__}, expected an iterable of "
        "Parameters, such as model.parameters()"
    )


def leaves(
    owner: str, argument: str, values: Iterable[Variable], others: Sequence[Variable] = ()
) -> list[Variable]:
    """Return the parameters `values` as a list, after checking that they are distinct leaves.

    They must differ from `others` too, and are numbered after them.

    Raises
    ------
    ValueError
        If there are none, or one is repeated.
    TypeError
        If `values` is a Tensor or not iterable, or contains anything but floating leaves.
    """
    if isinstance(values, Variable) or not isinstance(values, Iterable):
        raise not_iterable(owner, argument, values)
    found = list(values)
    if not found:
        raise ValueError(f"{owner}: {argument} is empty; a model's are its nn.Parameter attributes")
    places = {id(p): i for i, p in enumerate(others)}
    for i, p in enumerate(found, len(others)):
        if not isinstance(p, Variable):
            raise TypeError(f"{owner}: {argument}[{i}] is {type(p).__name__}, expected a Parameter")
        if not p.is_leaf:
            raise TypeError(f"{owner}: {argument}[{i}] was computed, expected a leaf: its detach()")
        if p.dtype.char not in "fd":
            raise TypeError(
                f"{owner}: {argument}[{i}] holds {p.dtype}, expected float32 or float64"
            )
        if id(p) in places:
            raise ValueError(f"{owner}: {argument}[{i}] is {argument}[{places[id(p)]}] again")
        places[id(p)] = i
    return found


def gradient_of(owner: str, name: str, p: Variable) -> NDArray[Any] | None:
    """Return the gradient of `p` as an array; None if it has or requires none.

    A Tensor, or an array in the other byte order, is replaced by a new native array.

    Raises
    ------
    ValueError
        If its shape or dtype differs from that of `p`.
    """
    g: Any = p._grad
    if g is None or not p.requires_grad:
        return None
    g = g._array.copy() if isinstance(g, Variable) else g  # a graph may need its memory
    g = native(g) if isinstance(g, np.ndarray) else g
    if not isinstance(g, np.ndarray) or (g.shape, g.dtype) != (p.shape, p.dtype):
        came = f"{getattr(g, 'dtype', type(g).__name__)} of shape {np.shape(g)}"
        raise ValueError(
            f"{owner}: the gradient of {name} is {came}, expected {p.dtype} of shape {p.shape}"
        )
    if g is not p._grad:
        p._grad = g
    return g
