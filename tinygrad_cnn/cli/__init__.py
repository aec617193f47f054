"""The command line interface, ``tinygrad-cnn``."""

from typing import TYPE_CHECKING

from tinygrad_cnn.cli.app import app, main
from tinygrad_cnn.support.modules import public

__all__ = ["app", "main"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
