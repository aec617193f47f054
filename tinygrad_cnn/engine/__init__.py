"""The array engine: functions from ndarrays to ndarrays, independent of Tensors."""

from tinygrad_cnn.engine.configuration import options

__all__ = ["options"]


def __dir__() -> list[str]:
    """Return the public names. The engine imports no other package, so not made by `public`."""
    return __all__
