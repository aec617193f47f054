"""The example calls that ops declare, as a strategy."""

from __future__ import annotations

from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.cases import cases_of


def calls(name: str, of: str = "") -> st.SearchStrategy[Call]:
    """Draw calls of an op, of all its cases, that are differentiated by `of` if given."""
    cases = [case for case in cases_of(tg.OPS[name]) if not of or of in case.operands]
    drawn = st.one_of([case.arguments.map(case.call) for case in cases])
    return drawn.filter(lambda call: of in call.of) if of else drawn
