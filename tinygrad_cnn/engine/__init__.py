"""The array engine: functions from ndarrays to ndarrays, independent of Tensors."""

from tinygrad_cnn.engine.configuration import options

__all__ = ["options"]
