"""What each op is called with when it is checked: a table, which users' ops join by `register`."""

import tinygrad_cnn.check.cases.elementwise
import tinygrad_cnn.check.cases.moves
import tinygrad_cnn.check.cases.reductions
import tinygrad_cnn.check.cases.windows  # noqa: F401  # these four for what they register
from tinygrad_cnn.check.calls import Call
from tinygrad_cnn.check.cases.registry import CASES, Case, register, unchecked

__all__ = ["CASES", "Call", "Case", "register", "unchecked"]
