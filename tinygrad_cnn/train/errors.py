"""Errors of the train package: invalid run folders and model files."""

__all__ = ["ModelFileError", "RunError"]


class RunError(ValueError):
    """Invalid run folder, or invalid file in it; the message names it.

    Examples
    --------
    >>> raise RunError("runs/a/weights.safetensors: there is no such file")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.train.errors.RunError: runs/a/weights.safetensors: there is no such file
    """


class ModelFileError(ValueError):
    """Unusable file with a user's model; the message has its name and the reason.

    Examples
    --------
    >>> raise ModelFileError("net.py: has no class 'Net'")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.train.errors.ModelFileError: net.py: has no class 'Net'
    """
