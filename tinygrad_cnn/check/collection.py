"""The tests of ``pytest --check-ops``: one for each derivative of each op.

They run after all other tests, so that the ops of all test modules and conftest files exist. They
have the marker ``check_ops``: ``pytest --check-ops -m check_ops`` runs nothing else.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinygrad_cnn.check.errors import OpCheckError
from tinygrad_cnn.check.ops import EXAMPLES, check_op
from tinygrad_cnn.core.op import OPS, Op

__all__ = ["OpChecks", "OpItem", "pytest_collection_modifyitems", "refuse_bad_options"]


def refuse_bad_options(config: pytest.Config) -> None:
    """Raise if an option is out of range; otherwise, every op would fail."""
    for option, least in (("--check-ops-examples", 1), ("--check-ops-seed", 0)):
        value = config.getoption(option)
        if value is not None and value < least:
            raise pytest.UsageError(f"{option} is {value}, expected {least} or more")


@pytest.hookimpl(tryfirst=True)  # before -k and -m select
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of all ops that exist after everything else is collected."""
    checks = OpChecks.from_parent(session, name="check-ops", nodeid="check-ops")
    items.extend(session.genitems(checks))


class OpChecks(pytest.Collector):
    """The checks of all ops."""

    def collect(self) -> Iterator[OpItem]:
        """Yield a check for each derivative, and one for all together if an op has several."""
        for name, op in OPS.items():
            each = [(operand,) for operand in op.operands]
            for of in [*each, op.operands] if len(each) > 1 else each:
                yield OpItem.from_parent(self, name=f"{name}[{','.join(of)}]", op=op, of=of)


class OpItem(pytest.Item):
    """The check of an op, differentiated by `of`."""

    def __init__(self, *, op: Op[..., Any], of: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.op = op
        self.of = of
        self.add_marker("check_ops")

    def runtest(self) -> None:
        """Check the op."""
        report = check_op(
            self.op,
            of=self.of if len(self.of) == 1 else None,
            examples=self.config.getoption("--check-ops-examples") or EXAMPLES,
            seed=self.config.getoption("--check-ops-seed"),
        )
        self.user_properties.append(("worst error", report.worst))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> Any:
        """Return the error message, without the checker's own stack frames."""
        error = excinfo.value
        if not isinstance(error, OpCheckError | ValueError):
            return super().repr_failure(excinfo, *args)
        lines = [str(error)]
        if error.__cause__ is not None:
            lines += ["", "".join(traceback.format_exception(error.__cause__))]
        return "\n".join(lines)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the op is declared."""
        try:
            _, line = inspect.getsourcelines(self.op.forward)
            file = inspect.getfile(self.op.forward)
        except (OSError, TypeError):  # declared without a source file
            return self.path, 0, self.name
        return Path(file), line - 1, self.name
