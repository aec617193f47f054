"""How arrays are computed: ndarrays in, ndarrays out; nothing here knows a Tensor."""

from tinygrad_cnn.engine.configuration import options

__all__ = ["options"]
