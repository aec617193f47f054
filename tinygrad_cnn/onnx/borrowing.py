"""`unchanged`: a model in eval mode for a while, and then as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np

from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.nn import Module, Parameter

__all__ = ["unchanged"]

LOCK = RLock()
"""Held while a model is in eval mode: two exports of one model would restore each other's mode."""
STATE = ("_array", "node", "_origin", "_unrecorded", "requires_grad", "_changed", "__class__")
"""What a call in place may replace in a Tensor."""


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Set eval mode, and restore the modes, attributes and buffers of all modules afterwards.

    Parameters
    ----------
    model : Module or any
        Nothing is done for what is not a module. Modules whose sizes the first call determines keep
        what that call made. Not restored are values of parameters, and what lies outside of the
        modules' attributes and the lists, dicts and sets in them.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Sequential(tg.nn.Linear(2, 2), tg.nn.Dropout(0.5))
    >>> with unchanged(model):
    ...     model.training, model[1].training
    (False, False)
    >>> model[1].training
    True
    """
    if not isinstance(model, Module):
        yield
        return
    with LOCK:
        restore = [_restoring(module) for module in model.modules()]
        try:
            model.eval()
            yield
        finally:
            for undo in restore:
                undo()


def _restoring(module: Module) -> Any:
    """Return a function that restores the attributes of one module."""
    attributes, unsized, mode = dict(vars(module)), bool(module._unsized), module.training
    contents = {
        name: value.copy() for name, value in attributes.items() if type(value) in (list, dict, set)
    }
    tensors = [value for _, value in module._members() if isinstance(value, Variable)]
    states = [{name: getattr(tensor, name) for name in STATE} for tensor in tensors]
    values = [None if isinstance(t, Parameter) else t._array.copy() for t in tensors]

    def restore() -> None:
        if unsized:
            module.training = mode
            return
        vars(module).clear()
        vars(module).update(attributes)
        for name, content in contents.items():
            _refill(attributes[name], content)
        for tensor, state, value in zip(tensors, states, values, strict=True):
            for name, part in state.items():
                if getattr(tensor, name) is not part:
                    setattr(tensor, name, part)
            if value is not None and not np.array_equal(tensor._array, value, equal_nan=True):
                tensor._array[...] = value
                tensor._mark_changed()

    return restore


def _refill(held: Any, content: Any) -> None:
    """Give a list, dict or set its earlier content."""
    held.clear()
    held.extend(content) if isinstance(held, list) else held.update(content)
