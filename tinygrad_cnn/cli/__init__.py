"""The command line interface, ``tinygrad-cnn``."""

from typing import TYPE_CHECKING

from tinygrad_cnn.support.modules import needs_extra, public

with needs_extra("cli", "the command line"):
    from tinygrad_cnn.cli.app import app, main

__all__ = ["app", "main"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
