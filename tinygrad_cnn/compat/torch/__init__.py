"""PyTorch's names for this package: existing model files run with only their imports changed.

>>> import tinygrad_cnn.compat.torch as torch
>>> import tinygrad_cnn.compat.torch.nn as nn
>>> import tinygrad_cnn.compat.torch.nn.functional as F
>>> model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten())
>>> F.log_softmax(model(torch.randn(2, 1, 8, 8)), dim=1).size()
torch.Size([2, 256])

What a name stands for: `docs/how-to/coming-from-pytorch.md`, and ``help(torch.cat)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.compat.torch import (
    amp,
    autograd,
    backends,
    cuda,
    hub,
    jit,
    linalg,
    names,
    nn,
    optim,
    table,
    utils,
)
from tinygrad_cnn.compat.torch.amp import autocast
from tinygrad_cnn.compat.torch.creation import (
    Generator,
    arange,
    as_tensor,
    bernoulli,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    logspace,
    multinomial,
    normal,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from tinygrad_cnn.compat.torch.devices import DTYPES, Size, device, dtype, legacy
from tinygrad_cnn.compat.torch.functions import (
    add,
    amax,
    amin,
    argsort,
    chunk,
    cumprod,
    diag,
    diff,
    div,
    einsum,
    gather,
    index_add,
    kthvalue,
    max,
    maximum,
    median,
    meshgrid,
    min,
    minimum,
    narrow,
    nonzero,
    norm,
    pow,
    scatter,
    select,
    sort,
    split,
    std,
    std_mean,
    sub,
    topk,
    unbind,
    unflatten,
    unique,
    var,
    var_mean,
)
from tinygrad_cnn.compat.torch.methods import add_methods
from tinygrad_cnn.compat.torch.recording import (
    enable_grad,
    get_default_dtype,
    get_num_threads,
    get_rng_state,
    inference_mode,
    initial_seed,
    is_grad_enabled,
    is_tensor,
    manual_seed,
    no_grad,
    seed,
    set_default_dtype,
    set_grad_enabled,
    set_num_threads,
    set_printoptions,
    set_rng_state,
    use_deterministic_algorithms,
)
from tinygrad_cnn.compat.torch.serialization import load, save
from tinygrad_cnn.compat.torch.tensor import Tensor
from tinygrad_cnn.support import version

add_methods()
for _text, _view in ((table.EVERYWHERE, False), (table.VIEWS, True), (table.TORCH, False)):
    globals().update(table.functions(_text, __name__, _view))
globals().update({_name: dtype(_code) for _name, _code in DTYPES.items()})

subtract, divide, true_divide = sub, div, div
compile = jit.ignore  # returns the model; tinygrad_cnn.compile captures whole steps
pi, inf, nan, e = math.pi, math.inf, math.nan, math.e
globals().update(legacy(tensor, zeros))
for _name in names.known()["torch"] - globals().keys():  # such as torch.conv2d
    if hasattr(nn.functional, _name):
        globals()[_name] = getattr(nn.functional, _name)
preserve_format = contiguous_format = channels_last = None  # memory has one layout here
finfo, iinfo = np.finfo, np.iinfo
__version__ = version.__version__

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch", "torch")
else:

    def __getattr__(name: str) -> Any: ...
