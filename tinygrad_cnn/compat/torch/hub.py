"""``torch.hub``: weights are not downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.train.weight_files import conversion


def load_state_dict_from_url(url: str, *args: Any, **options: Any) -> Any:
    """Raise RuntimeError, which says how to get the weights."""
    raise RuntimeError(f"torch.hub: {url} is not downloaded: it is a pickle; {conversion(url)}")


if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.hub", "torch.hub")
