"""The command line interface, ``tinygrad-cnn``."""

from tinygrad_cnn.cli.app import app, main

__all__ = ["app", "main"]
