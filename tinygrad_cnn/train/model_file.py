"""User-defined models from Python files."""

from __future__ import annotations

import hashlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.modules import failure
from tinygrad_cnn.train.errors import ModelFileError
from tinygrad_cnn.train.metrics import Metric, MetricFunction

__all__ = ["MODEL_FILE", "ModelFile"]

MODEL_FILE = "model.py"
"""The name of the copy in a run folder."""
OFFERED = ("input_shape", "classes", "rng")


@dataclass(frozen=True)
class ModelFile:
    """The source of a Python file, and the name of the model class in it.

    The file must be self-contained: it is copied to the run folder, and executed again from there.
    Executing it runs arbitrary code.

    Parameters
    ----------
    path : Path
    class_name : str
    source : bytes
        The contents of the file when it was read.

    Examples
    --------
    >>> source = b'''
    ... from tinygrad_cnn import nn
    ...
    ... class Net(nn.Sequential):
    ...     def __init__(self, classes, rng):
    ...         super().__init__(nn.Flatten(), nn.Linear(784, classes, rng=rng))
    ... '''
    >>> file = ModelFile(Path("net.py"), "Net", source)
    >>> model = file.build(input_shape=(1, 28, 28), classes=10, rng=np.random.default_rng(0))
    >>> model.summary((1, 28, 28)).parameters
    7850
    """

    path: Path
    class_name: str
    source: bytes

    @classmethod
    def read(cls, path: Path, class_name: str) -> Self:
        """Read a file; ModelFileError if that fails."""
        if not class_name.isidentifier():
            raise ModelFileError(
                f"{path}: {class_name!r} is not a class name; expected FILE.py:CLASS"
            )
        try:
            return cls(path, class_name, path.read_bytes())
        except OSError as error:
            raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error

    @property
    def sha256(self) -> str:
        """The hash of the source."""
        return hashlib.sha256(self.source).hexdigest()

    def build(
        self,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        rng: np.random.Generator | None = None,
    ) -> Module:
        """Run the file and build the model.

        Parameters
        ----------
        input_shape, classes, rng
            Passed to the class's constructor if it has parameters of these names. By default `rng`
            is the generator that `manual_seed` sets.

        Returns
        -------
        Module
            An instance of the class.

        Raises
        ------
        ModelFileError
            If the file or the constructor raises an error, there is no such class, or it is not
            a `Module`.
        """
        made = self._class()
        source = generator("ModelFile.build", rng)
        offered = {"input_shape": input_shape, "classes": classes, "rng": source}
        try:
            parameters = inspect.signature(made).parameters.values()
            takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
            named = {
                p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
            }
            arguments = {k: v for k, v in offered.items() if takes_all or k in named}
            lacking = [
                p.name
                for p in parameters
                if p.default is p.empty
                and p.name not in arguments
                and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            ]
            if lacking:
                raise TypeError(
                    f"{', '.join(lacking)} needs a default: a model is called with "
                    f"{', '.join(OFFERED)}, or those of them that it has"
                )
            model = made(**arguments)
        except Exception as error:
            raise self._failed(f"{self.class_name}(...)", error) from error
        if not isinstance(model, Module):
            raise ModelFileError(f"{self.path}: {self.class_name} is not a tinygrad_cnn.nn.Module")
        return model

    def metric(self, name: str) -> Metric | MetricFunction:
        """Run the file and return a metric of it; ModelFileError if there is none."""
        found = getattr(self._module(), name, None)
        if isinstance(found, type) or not (isinstance(found, Metric) or callable(found)):
            raise ModelFileError(
                f"{self.path}: has no metric {name!r}; expected an instance of Metric or a "
                "function (outputs, labels) -> float"
            )
        metric: Metric | MetricFunction = found
        return metric

    def _class(self) -> Any:
        """Run the file and return the class."""
        module = self._module()
        found = getattr(module, self.class_name, None)
        if not isinstance(found, type):
            classes = [
                name
                for name, value in vars(module).items()
                if isinstance(value, type) and value.__module__ == module.__name__
            ]
            raise ModelFileError(
                f"{self.path}: has no class {self.class_name!r}; "
                f"it has {', '.join(classes) or 'none'}"
            )
        return found

    def _module(self) -> ModuleType:
        """Run the file as a separate module."""
        module = ModuleType(f"tinygrad_cnn_model_{self.sha256[:16]}")
        module.__file__ = str(self.path)
        sys.modules[module.__name__] = module  # dataclasses and others look it up here
        try:
            exec(compile(self.source, str(self.path), "exec"), vars(module))
        except Exception as error:
            del sys.modules[module.__name__]
            raise self._failed("importing it", error) from error
        return module

    def _failed(self, where: str, error: Exception) -> ModelFileError:
        """Return an error with the cause and the line of the file."""
        return ModelFileError(failure(self.path, self.path, where, error))
