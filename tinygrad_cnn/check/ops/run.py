"""One case of an op, checked on calls that Hypothesis draws, and shrinks where one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Flaky, HypothesisException

from tinygrad_cnn.check.calls import Call
from tinygrad_cnn.check.cases import Case
from tinygrad_cnn.check.gradients import check_gradients
from tinygrad_cnn.check.mismatch import GradientMismatch
from tinygrad_cnn.check.ops.backward import BACKWARD
from tinygrad_cnn.check.ops.forward import FORWARD
from tinygrad_cnn.check.ops.probe import Probe, Properties
from tinygrad_cnn.check.ops.report import OpCheckError, OpGradientError
from tinygrad_cnn.check.report import InputReport
from tinygrad_cnn.core.op import Op

PROPERTIES: Properties = FORWARD | BACKWARD
RUNS = "it takes what its inputs strategy draws"
BACKWARD_RUNS = "backward gives a gradient for each input, each time"
DERIVATIVES = "backward is the derivative of the forward"
SHRINKING = 1.0
"""Seconds to look for a smaller example than the first."""
ENTRIES = 16
"""Larger inputs of a call that is drawn are compared along random directions."""
DRAWS = 3
"""How many calls to draw at most for each that is checked: those of a new form are preferred."""


class _Enough(BaseException):
    """Ends the drawing as Ctrl-C would: Hypothesis takes any Exception for a failure."""


class Run:
    """The check of one case of `op`, differentiated by `of`.

    Attributes
    ----------
    of : tuple of str
    rows : list of InputReport
        What `check_gradients` reported, call by call.
    tried : int
        How many calls were checked.
    """

    def __init__(
        self,
        op: Op[Any],
        case: Case,
        of: Sequence[str] | None,
        reference: Callable[..., Any] | None,
        order: int,
        method: str,
        seed: int | None,
    ) -> None:
        self.op = op
        self.case = case
        self.of = case.operands(op) if of is None else tuple(of)
        self.reference = reference
        self.order = order
        self.method = method
        self.seed = seed
        self.tried = 0
        self.rows: list[InputReport] = []
        self._forms: set[str] = set()
        self._broken = ""  # once one property is, only its smallest example is looked for
        self._smallest: tuple[int, OpCheckError] | None = None
        self._give_up = float("inf")

    def __call__(self, examples: int) -> None:
        """Check `examples` calls; raise `OpCheckError` for the smallest that fails."""
        for arguments in self.case.always:
            self._check(arguments)

        spare = (DRAWS - 1) * examples

        @hypothesis.settings(
            max_examples=DRAWS * examples,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            phases=[Phase.generate, Phase.target, Phase.shrink],
        )
        @hypothesis.given(self.case.arguments)
        def on_drawn(arguments: Any) -> None:
            nonlocal examples, spare
            if self._broken:
                if perf_counter() < self._give_up:
                    self._check(arguments)
            elif spare and self._is_repeated(arguments):
                spare -= 1  # Hypothesis likes to vary the values of a call, and keep its form
            else:
                examples -= 1
                self._check(arguments)
                if not examples:
                    raise _Enough

        if self.seed is not None:
            on_drawn = hypothesis.seed(self.seed)(on_drawn)
        try:
            with suppress(_Enough):
                on_drawn()
        except (OpCheckError, Flaky) as found:  # flaky is what fails once, or is given up on
            if self._smallest is None:
                raise
            _, error = self._smallest
            if isinstance(found, Flaky) and perf_counter() < self._give_up:
                error.add_note("This is not so every time: the op gives different answers.")
            else:
                error.__notes__ = []  # Hypothesis's, that say the same in its own words
            raise error.with_traceback(None) from error.__cause__
        except TypeError as error:
            error.__notes__ = []
            raise

    def _is_repeated(self, arguments: Any) -> bool:
        """Return whether a call of the same shapes and options was drawn before."""
        form = self.case.call(self.op, arguments).form
        repeated = form in self._forms
        self._forms.add(form)
        return repeated

    def _check(self, arguments: Any) -> None:
        call = self.case.call(self.op, arguments)
        call = Call(call.op, call.arguments, tuple(n for n in call.of if n in self.of))
        self.tried += not self._broken
        doing = RUNS
        try:
            probe = Probe(call, reference=self.reference)
            promises = {
                BACKWARD_RUNS: lambda at: (at.gradients, at.rounding),
                **FORWARD,
                DERIVATIVES: self._derivatives,
                **BACKWARD,
            }
            for doing, holds in promises.items():
                if self._broken in ("", doing):
                    holds(probe)
        except HypothesisException:
            raise
        except Exception as error:
            if self._broken in ("", doing):
                raise self._failure(call, doing, error)  # noqa: B904  # it has its cause

    def _derivatives(self, at: Probe) -> None:
        call = at.call
        report = check_gradients(
            call,
            *call.inputs,
            order=self.order,
            method=self.method,
            names=call.labels,
            seed=self.seed or 0,
            entries=ENTRIES,
        )
        self.rows += report.rows

    def _failure(self, call: Call, broken: str, error: Exception) -> OpCheckError:
        """Return the error to raise for a call, and keep it if it is the smallest."""
        if not self._broken:
            self._broken = broken
            self._give_up = perf_counter() + SHRINKING
        expected = isinstance(error, AssertionError)
        at_fault = getattr(error, "parameter", "") or getattr(error, "input", "")
        kind = OpGradientError if isinstance(error, GradientMismatch) else OpCheckError
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        made = kind(call, broken, parameter_of(at_fault), message)
        made.__dict__ = vars(error) | vars(made)  # a GradientMismatch knows more
        made.__cause__ = None if expected else error
        made.__suppress_context__ = True
        size = sum(x.size for x in call.inputs)
        if self._smallest is None or size <= self._smallest[0]:
            self._smallest = size, made
        return made


def parameter_of(label: str) -> str:
    """Return the parameter that an input is, or is part of: "arrays" of "arrays[1]"."""
    return label.partition("[")[0]
