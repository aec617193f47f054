"""``torch.utils.data``: data sets, samplers, and batches of Tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.utils.data.dataloader import (
    DataLoader,
    default_collate,
    get_worker_info,
)
from tinygrad_cnn.compat.torch.utils.data.dataset import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tinygrad_cnn.compat.torch.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.utils.data", "torch.utils.data")
else:

    def __getattr__(name: str) -> Any: ...
