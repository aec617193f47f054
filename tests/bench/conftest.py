"""The fixtures that tests of measuring share."""

from support.measured import few, start

__all__ = ["few", "start"]
