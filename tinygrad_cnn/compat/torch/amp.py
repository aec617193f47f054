"""``torch.amp``: mixed precision is switched off, as PyTorch does on a CPU without it."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any


class autocast(ContextDecorator):  # PyTorch's name
    """A context that changes nothing: all is computed in the dtype of its arguments."""

    def __init__(self, *args: Any, **options: Any) -> None: ...

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None: ...


class GradScaler:
    """A scaler of the loss that changes nothing."""

    def __init__(self, *args: Any, **options: Any) -> None: ...

    def scale(self, outputs: Any) -> Any:
        """Return the loss."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Leave the gradients as they are."""

    def step(self, optimizer: Any, *args: Any, **options: Any) -> Any:
        """Return ``optimizer.step()``."""
        return optimizer.step(*args, **options)

    def update(self, new_scale: Any = None) -> None:
        """Do nothing."""

    def get_scale(self) -> float:
        """Return 1."""
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        """Return an empty dict."""
        return {}

    def load_state_dict(self, state_dict: Any) -> None:
        """Do nothing."""
