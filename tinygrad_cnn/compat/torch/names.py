"""The error for a name that is not here: a similar name, and whether PyTorch has it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

INSTEAD = {
    "LSTM": "there are no recurrent layers",
    "GRU": "there are no recurrent layers",
    "RNN": "there are no recurrent layers",
    "MultiheadAttention": "use nn.functional.scaled_dot_product_attention",
    "MaxUnpool2d": "max pooling returns no indices; use nn.Upsample or nn.ConvTranspose2d",
    "max_unpool2d": "max pooling returns no indices; use interpolate or conv_transpose2d",
    "Conv3d": "images have two axes; use nn.Conv2d",
    "SyncBatchNorm": "use tinygrad_cnn.distributed.convert_sync_batchnorm",
    "LazyConv2d": "give the number of channels, or use tinygrad_cnn.nn.Conv2d(None, ...)",
    "LazyLinear": "give the number of features, or use tinygrad_cnn.nn.Linear(None, ...)",
    "bfloat16": "use torch.float32",
    "distributed": "use tinygrad_cnn.distributed",
    "vmap": "write the function for a batch",
    "DataParallel": "use tinygrad_cnn.distributed.DataParallel",
    "quantize_per_tensor": "there is no quantization",
    "swa_utils": "use AveragedModel of tinygrad_cnn.optim",
    "tensorboard": "tinygrad_cnn.train.fit keeps a history, and writes it as CSV",
    "gradcheck": "use tinygrad_cnn.check.check_gradients",
    "gradgradcheck": "use tinygrad_cnn.check.check_gradients",
    "AlphaDropout": "use nn.Dropout",
    "modules": "its classes are in torch.nn",
    "parallel": "use tinygrad_cnn.distributed.DataParallel",
    "rnn": "there are no recurrent layers",
    "sparse": "there are no sparse Tensors",
}
"""What to use instead of names that PyTorch has."""

PAGE = "docs/how-to/coming-from-pytorch.md lists the names"


@functools.cache
def known() -> dict[str, set[str]]:
    """Return PyTorch's public names by module, also those that are not here."""
    text = Path(__file__).with_name("names.txt").read_text(encoding="utf-8")
    parts = (line.partition(": ") for line in text.splitlines())
    return {module: set(names.split()) for module, _, names in parts}


class MissingNameError(AttributeError):
    """The error for a missing `name` of `owner`; `here` returns the names that there are.

    ``hasattr`` asks for many names, so the message is made only when it is read.
    """

    def __init__(self, owner: str, name: str, here: Callable[[], Iterable[str]], module: str):
        super().__init__()
        self.asked = owner, name, here, module

    def __str__(self) -> str:
        owner, name, here, module = self.asked
        if name in INSTEAD:
            return f"{owner}.{name} is not here: {INSTEAD[name]}"
        if name in known().get(module, ()):
            return f"{owner}.{name} is PyTorch's, but not here; {PAGE}"
        held = {n.lower(): n for n in sorted(here()) if not n.startswith("_")}
        close = get_close_matches(name.lower(), held, 1)
        hint = f"; did you mean {owner}.{held[close[0]]}?" if close else f"; {PAGE}"
        return f"{owner} has no attribute {name!r}{hint}"


def missing(package: str, owner: str, module: str) -> Callable[[str], Any]:
    """Return ``__getattr__`` of a module, which raises AttributeError with advice."""

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        raise MissingNameError(owner, name, here, module)

    def here() -> list[str]:
        held = vars(sys.modules[package]).items()
        return [key for key, value in held if not isinstance(value, ModuleType)]

    return get
