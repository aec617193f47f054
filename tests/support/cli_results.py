"""Results of calls of the command line, and a model file for them."""

from __future__ import annotations

from typer.testing import Result

NET = """
from tinygrad_cnn import nn, relu

class Net(nn.Module):
    def __init__(self, classes, rng):
        self.fc1 = nn.Linear(784, 16, rng=rng)
        self.fc2 = nn.Linear(16, classes, rng=rng)

    def forward(self, x):
        return self.fc2(relu(self.fc1(x.reshape(x.shape[0], -1))))
"""
"""A model file, ``net.py:Net``."""


def ok(result: Result) -> str:
    """Return what a call that succeeded printed."""
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def refused(result: Result) -> str:
    """Return the one line on stderr of a call that was refused."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr
