"""The optimizers of `tinygrad_cnn.optim` with PyTorch's arguments, and a base class for others."""

from __future__ import annotations

from abc import ABCMeta
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinygrad_cnn import optim
from tinygrad_cnn.compat.torch.tensor import Parameter, wrapped
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.variable import Variable, array_of

IGNORED = {"foreach", "fused", "capturable"}
"""Arguments that choose between implementations of the same numbers."""

REFUSED = {"amsgrad", "maximize", "centered", "decoupled_weight_decay", "differentiable"}
"""Arguments that are not here; False is accepted."""


class Optimizer(metaclass=ABCMeta):  # noqa: B024  # `step` may be left out, as in PyTorch
    """Base class of optimizers of your own: a subclass defines ``step``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    defaults : dict
        The options that a group may leave out.
    """

    def __init__(self, params: Any, defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.state: Any = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: params is empty")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own."""
        group = {**self.defaults, **param_group}
        params = group["params"]
        group["params"] = [params] if isinstance(params, Variable) else list(params)
        self.param_groups.append(group)

    @effect
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients: set them to None, or to 0."""
        _clear([p for group in self.param_groups for p in group["params"]], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters."""
        raise NotImplementedError(f"{type(self).__name__} defines no step")


def _clear(parameters: Any, set_to_none: bool) -> None:
    for parameter in parameters:
        if set_to_none or parameter.grad is None:
            parameter.grad = None
        else:
            parameter.grad.detach_().zero_()


class FreeGroup(optim.ParamGroup):
    """A parameter group that keeps entries of other names too, such as "name"."""

    others: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.others[name] if name in self.others else super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._optimizer.options():
            super().__setitem__(name, value)
        elif name == "params":
            self.params = list(value)
        else:
            self.others[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter([*super().__iter__(), *self.others])

    def __len__(self) -> int:
        return super().__len__() + len(self.others)


class RatesOf(optim.SGD):
    """The learning rates of an optimizer of the user's own, as schedules set them."""

    def __init__(self, optimizer: Any) -> None:
        groups = [{"params": [Parameter(0.0)], "lr": g["lr"]} for g in optimizer.param_groups]
        super().__init__(groups, lr=groups[0]["lr"])
        self.whole = optimizer


def ported(kind: Any, module: str) -> Any:
    """Return an optimizer of ours that takes PyTorch's arguments."""

    def __init__(self: Any, params: Any, *args: Any, **options: Any) -> None:
        for name in [name for name in options if name in IGNORED | REFUSED]:
            value = options.pop(name)
            if value and name in REFUSED:
                raise NotImplementedError(
                    f"{kind.__name__}: {name}={value!r} is not here; leave it out"
                )
        kind.__init__(self, params, *args, **options)

    @effect
    def zero_grad(self: Any, set_to_none: bool = True) -> None:
        """Clear the gradients: set them to None, or to 0."""
        _clear(self.params, set_to_none)

    def add_param_group(self: Any, param_group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own."""
        known = {"params", *self.options()}
        kind.add_param_group(self, {k: v for k, v in param_group.items() if k in known})
        group = self.param_groups[-1]
        group.__class__ = FreeGroup
        group.others = {k: v for k, v in param_group.items() if k not in known}

    def state_dict(self: Any) -> dict[str, Any]:
        """Return the state of each parameter, by its number, and the parameter groups."""
        state: dict[int, dict[str, Any]] = {}
        for key, value in kind.state_dict(self).items():
            number, dot, slot = key.partition(".")
            if dot and number.isdigit():
                state.setdefault(int(number), {})[slot] = wrapped(value)
            elif key not in self.options() and not key.startswith("group "):
                return kind.state_dict(self)  # type: ignore[no-any-return]  # not by parameter
        places = {id(p): i for i, p in enumerate(self.params)}
        groups = [{**group, "params": [places[id(p)] for p in group["params"]]}
                  for group in self.param_groups]  # fmt: skip
        return {"state": state, "param_groups": groups}

    def load_state_dict(self: Any, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` of another optimizer returned."""
        if "param_groups" not in state_dict:
            kind.load_state_dict(self, state_dict)
            return
        groups = state_dict["param_groups"]
        flat: dict[str, Any] = {name: groups[0][name] for name in self.options()}
        if len(groups) > 1:
            for k, group in enumerate(groups):
                flat |= {f"group {k}.{name}": group[name] for name in self.options()}
        for i, slots in state_dict["state"].items():
            flat |= {f"{i}.{slot}": array_of(value) for slot, value in slots.items()}
        kind.load_state_dict(self, flat)
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.others = {k: v for k, v in loaded.items() if k not in {"params", *self.options()}}

    body = {
        "__init__": __init__, "zero_grad": zero_grad, "add_param_group": add_param_group,
        "state_dict": state_dict, "load_state_dict": load_state_dict,
        "defaults": property(lambda self: {name: getattr(self, name) for name in self.options()}),
        "__doc__": kind.__doc__, "__module__": module,
    }  # fmt: skip
    made = type(kind.__name__, (kind,), body)
    Optimizer.register(made)
    return made


def optimizers(module: str) -> dict[str, Any]:
    """Return the optimizers by name."""
    found = {name: getattr(optim, name) for name in optim.__all__}
    return {
        name: ported(kind, module)
        for name, kind in found.items()
        if isinstance(kind, type)
        and issubclass(kind, optim.Optimizer)
        and kind is not optim.Optimizer
    }
