"""The entries of the local derivatives: ∂y[…]/∂x[…] for each op, as a formula in its arguments."""

import tinygrad_cnn.derivation.entries.moves
import tinygrad_cnn.derivation.entries.products
import tinygrad_cnn.derivation.entries.sums
import tinygrad_cnn.derivation.entries.windows  # noqa: F401  # these four for what they hold
from tinygrad_cnn.derivation.entries.registry import (
    ENTRIES,
    Letters,
    at,
    entry_of,
    shared_axes,
)

__all__ = ["ENTRIES", "Letters", "at", "entry_of", "shared_axes"]
