"""A count of the forwards that Python runs: a replay of a compiled step runs none.

It counts log records, because a step may log, and other changes beside ops are refused.
"""

from __future__ import annotations

import logging

LOG = logging.getLogger("forwards of tests")
LOG.setLevel(logging.DEBUG)
LOG.propagate = False


class Counter(logging.Handler):
    """Counts the messages."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a message."""
        self.count += 1


COUNTER = Counter()
LOG.addHandler(COUNTER)


def count_forward() -> None:
    """Count a forward, in the forward of a model."""
    LOG.debug("forward")


def forwards() -> int:
    """Return the number of forwards since the last call of this function."""
    count, COUNTER.count = COUNTER.count, 0
    return count
