"""The chain rule, written out for any model: `derive`."""

from tinygrad_cnn.draw.derivation.derivation import Derivation, derive

__all__ = ["Derivation", "derive"]
