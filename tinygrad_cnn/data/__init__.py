"""Image data sets, loaders and transforms, in NumPy only."""

from typing import TYPE_CHECKING

from tinygrad_cnn.data.archive import npz
from tinygrad_cnn.data.cifar import cifar10, cifar100
from tinygrad_cnn.data.collate import collate
from tinygrad_cnn.data.dataset import Dataset, Split
from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.data.european import european_digits
from tinygrad_cnn.data.idx import read_idx, write_idx
from tinygrad_cnn.data.idx_sets import digits, fashion_mnist, idx_folder, kmnist, mnist
from tinygrad_cnn.data.image_files import image_folder
from tinygrad_cnn.data.ink import as_mnist
from tinygrad_cnn.data.labels import from_one_hot, one_hot
from tinygrad_cnn.data.loader import DataLoader, Transform
from tinygrad_cnn.data.picture import plain_picture, read_image
from tinygrad_cnn.data.sampler import ClassBalancedSampler, Sampler, WeightedRandomSampler
from tinygrad_cnn.data.shapes import shapes
from tinygrad_cnn.data.sources import is_local, load
from tinygrad_cnn.data.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Elastic,
    MixUp,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    Resize,
    Rotate,
    Shift,
)
from tinygrad_cnn.support.modules import public

__all__ = [
    "CenterCrop",
    "ClassBalancedSampler",
    "ColorJitter",
    "Compose",
    "CutMix",
    "DataError",
    "DataLoader",
    "Dataset",
    "Elastic",
    "MixUp",
    "Normalize",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Resize",
    "Rotate",
    "Sampler",
    "Shift",
    "Split",
    "Transform",
    "WeightedRandomSampler",
    "as_mnist",
    "cifar10",
    "cifar100",
    "collate",
    "digits",
    "european_digits",
    "fashion_mnist",
    "from_one_hot",
    "idx_folder",
    "image_folder",
    "is_local",
    "kmnist",
    "load",
    "mnist",
    "npz",
    "one_hot",
    "plain_picture",
    "read_idx",
    "read_image",
    "shapes",
    "write_idx",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
