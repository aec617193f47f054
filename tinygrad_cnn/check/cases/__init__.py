"""A table of example calls for op checks; `register` adds the user's ops."""

import tinygrad_cnn.check.cases.elementwise
import tinygrad_cnn.check.cases.moves
import tinygrad_cnn.check.cases.reductions
import tinygrad_cnn.check.cases.windows  # noqa: F401  # these four register cases
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.cases.registry import CASES, Case, register, unchecked

__all__ = ["CASES", "Call", "Case", "register", "unchecked"]
