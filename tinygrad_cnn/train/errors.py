"""What can be wrong with what somebody hands in to be trained, or to be used after training."""

__all__ = ["ModelFileError", "RunError"]


class RunError(ValueError):
    """A run folder, or a file in it, that is not what it should be; the message names it.

    Examples
    --------
    >>> raise RunError("runs/a/weights.safetensors: there is no such file")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.train.errors.RunError: runs/a/weights.safetensors: there is no such file
    """


class ModelFileError(ValueError):
    """A file with a model of one's own that cannot be used; the message names it and says why.

    Examples
    --------
    >>> raise ModelFileError("net.py: has no class 'Net'")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.train.errors.ModelFileError: net.py: has no class 'Net'
    """
