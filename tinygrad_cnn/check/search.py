"""The search for calls that break a promise of an op; Hypothesis draws and shrinks them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import Flaky, HypothesisException

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.cases import Case
from tinygrad_cnn.check.derivative_properties import BACKWARD, FIRST_OF_RULES
from tinygrad_cnn.check.errors import GradientMismatch, OpCheckError, OpGradientError
from tinygrad_cnn.check.formula_properties import FORMULAS
from tinygrad_cnn.check.forward_properties import FIRST_OF_FORWARD, FORWARD
from tinygrad_cnn.check.gradients import check_gradients
from tinygrad_cnn.check.large_calls import LARGE, Growth, enlarged, growths, largest, with_axes
from tinygrad_cnn.check.probe import Probe, Properties
from tinygrad_cnn.check.report import InputReport
from tinygrad_cnn.core.pullback import WRITES

PROPERTIES: Properties = FIRST_OF_FORWARD | FIRST_OF_RULES | FORWARD | BACKWARD | FORMULAS | LARGE
RUNS = "every drawn call succeeds"
BACKWARD_RUNS = "backward returns a gradient for each input"
DERIVATIVES = "backward is the derivative of the forward"
REFERENCE = "the forward agrees with its reference"
FLOAT32 = "float32 agrees with float64"
COMPARED = "some entries of each derivative can be compared"
SIGNS = {
    f"the forward {WRITES}": "the forward does not write to its arguments",
    WRITES: "no rule writes to its arguments",
}
"""The broken property, by the message of `Op` about writing, which may appear anywhere."""
SHRINKING = 1.0
"""Seconds to search for a smaller example than the first."""
ENTRIES = 16
"""Larger inputs of drawn calls are compared along random directions."""
CONFIRMED = 8
"""The number of small calls after which the complex step needs no confirmation."""
SIZES = (300, 1_200, 5_000, 20_000, 80_000)
"""Sizes of the largest array of successive large calls, in entries."""
SHARE = 10
"""One in `SHARE` calls is large."""
SOURCES = 64
"""The number of drawn calls kept for enlargement."""
DRAWS = 3
"""The most calls drawn per checked call; calls of a new form are preferred."""


class _Enough(BaseException):
    """Stop drawing as Ctrl-C would; Hypothesis treats any Exception as a failure."""


class Search:
    """A search through the calls of one case of an op, differentiated by `of`.

    Attributes
    ----------
    of : tuple of str
    rows : list of InputReport
        The reports of `check_gradients`, call by call.
    tried : int
        The number of checked calls.
    largest : int
        The number of entries of the largest array in a large call.
    every : bool
        Whether the op must have a derivative for every array of floats.
    """

    def __init__(
        self,
        case: Case,
        of: Sequence[str] | None,
        reference: Callable[..., Any] | None,
        order: int,
        method: str,
        seed: int | None,
    ) -> None:
        self.case = case
        self.of = case.operands if of is None else tuple(of)
        self._needs_all = of is not None  # skip calls that leave one out
        self.reference = reference
        self.order = order
        self.method = method
        self.seed = seed
        self.tried = 0
        self.rows: list[InputReport] = []
        self.largest = 0
        self.every = case.of is None and of is None
        self._confirmed = 0
        self._forms: set[str] = set()
        self._sources: list[Call] = []
        self._broken = ""  # once set, only this property's smallest example is sought
        self._smallest: tuple[int, OpCheckError] | None = None
        self._give_up = float("inf")

    def __call__(self, examples: int) -> None:
        """Check `examples` calls; raise `OpCheckError` for the smallest failing one."""
        for arguments in self.case.always:
            if self._has_operands(arguments):
                self._check(arguments)
        large = max(1, examples // SHARE)
        self._draw(self.case.arguments, max(1, examples - large), self._check)
        for strategy in self.case.large:
            self._draw_large(strategy, max(1, large // len(self.case.large)))
        if not self.case.large:
            self._enlarge(large)
        self._check_compared()

    def _draw(
        self, strategy: st.SearchStrategy[Any], examples: int, check: Callable[[Any], None]
    ) -> None:
        """Check `examples` drawn calls, or all calls if the strategy has fewer."""
        tried = self.tried
        self._forms.clear()
        if self._drawn(strategy, examples, (DRAWS - 1) * examples, check):  # there are no more
            self.tried = tried
            self._drawn(strategy, examples, 0, check)

    def _draw_large(self, strategy: st.SearchStrategy[Any], examples: int) -> None:
        """Check drawn large calls except the first: Hypothesis begins with the smallest."""
        passed: list[Any] = []

        def check(arguments: Any) -> None:
            if passed:
                self._check_large(arguments)
            passed.append(arguments)

        self._draw(strategy, 1 + examples, check)

    def _drawn(
        self,
        strategy: st.SearchStrategy[Any],
        examples: int,
        spare: int,
        check: Callable[[Any], None],
    ) -> int:
        """Draw calls and return the number missing; skip up to `spare` calls of a known form."""

        @hypothesis.settings(
            max_examples=spare + examples,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            phases=[Phase.generate, Phase.target, Phase.shrink],
        )
        @hypothesis.given(strategy)
        def on_drawn(arguments: Any) -> None:
            nonlocal examples, spare
            hypothesis.assume(self._has_operands(arguments))
            if self._broken:
                if perf_counter() < self._give_up:
                    check(arguments)
            elif spare and self._is_repeated(arguments):
                spare -= 1  # Hypothesis often varies only the values of a call
            else:
                examples -= 1
                check(arguments)
                if not examples:
                    raise _Enough

        if self.seed is not None:
            on_drawn = hypothesis.seed(self.seed)(on_drawn)
        try:
            with suppress(_Enough), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Generating overly large repr")  # of a large call
                on_drawn()
        except (OpCheckError, Flaky) as found:  # Flaky: failed once, or given up
            if self._smallest is None:
                raise
            _, error = self._smallest
            if isinstance(found, Flaky) and perf_counter() < self._give_up:
                error.add_note("This is not so every time: the op gives different answers.")
            else:
                error.__notes__ = []  # Hypothesis's notes repeat the message
            raise error.with_traceback(None) from error.__cause__
        except TypeError as error:
            error.__notes__ = []
            raise
        return examples

    def _enlarge(self, count: int) -> None:
        """Check `count` enlarged calls, of growing sizes, made from drawn ones."""
        rng = np.random.default_rng(self.seed)
        sources = sorted(self._sources, key=lambda call: len(call.form))[-count:]  # most axes
        for k, source in enumerate(sources):
            ways = growths(source, rng)
            if not ways:
                continue
            turn = k % len(ways)
            chosen = ways[turn : turn + 1] if k % 2 == 0 else ways  # one long axis, or all
            self._check_larger(source, chosen, SIZES[(2 * k + 2) % len(SIZES)], rng)

    def _check_larger(
        self, source: Call, ways: Sequence[Growth], entries: int, rng: np.random.Generator
    ) -> None:
        """Check a large call; if it fails, search for the smallest failing size."""
        try:
            self._check_enlarged(source, ways, entries, rng)
        except OpCheckError as found:
            least, most = 1, entries
            while most > least + 1 and perf_counter() < self._give_up:
                middle = math.isqrt(least * most) + 1
                if middle >= most:
                    break
                try:
                    self._check_enlarged(source, ways, middle, rng)
                except OpCheckError:
                    most = middle
                else:
                    least = middle
            _, error = self._smallest or (0, found)
            raise error.with_traceback(None) from error.__cause__

    def _check_enlarged(
        self, source: Call, ways: Sequence[Growth], entries: int, rng: np.random.Generator
    ) -> None:
        call, taken = enlarged(source, ways, entries, rng)
        if taken:  # ways only for one axis: several grown axes may be coupled
            self._check_large(call.arguments, taken if len(taken) == 1 else ())

    def _check_compared(self) -> None:
        """Raise if all entries of a derivative are on kinks."""
        found: dict[tuple[str, int], list[InputReport]] = {}
        for row in self.rows:
            found.setdefault((parameter_of(row.input), row.order), []).append(row)
        for (name, order), rows in found.items():
            kinks = [kink for row in rows for kink in row.kinks]
            if kinks and not any(row.compared or row.directions for row in rows):
                raise OpCheckError(
                    self._last,
                    COMPARED,
                    name,
                    f"in none of {self.tried} calls was an entry of the derivative of order "
                    f"{order} for {name} compared ({kinks[0].rpartition(': ')[2]}): a residual "
                    "has to be constant almost everywhere, and inputs must not all lie on kinks",
                )

    def _has_operands(self, arguments: Any) -> bool:
        """Return whether a call has all operands that it must be differentiated by."""
        return not self._needs_all or set(self.of) <= set(self.case.call(arguments).of)

    def _is_repeated(self, arguments: Any) -> bool:
        """Return whether a call with the same shapes and options was drawn before."""
        form = self.case.call(arguments).form
        repeated = form in self._forms
        self._forms.add(form)
        return repeated

    def _check(self, arguments: Any) -> None:
        call = self._call(arguments)
        if not self._broken and len(self._sources) < SOURCES:
            self._sources.append(with_axes(call))
        promises: Properties = {
            **FIRST_OF_FORWARD,
            BACKWARD_RUNS: _runs,
            **FIRST_OF_RULES,
            **FORWARD,
            DERIVATIVES: self._derivatives,
            **BACKWARD,
            **FORMULAS,
        }
        self._try(call, promises)

    def _check_large(self, arguments: Any, ways: Sequence[Growth] = ()) -> None:
        call = self._call(arguments)
        promises: Properties = {
            BACKWARD_RUNS: _runs,
            REFERENCE: FORWARD[REFERENCE],
            FLOAT32: BACKWARD[FLOAT32],
            DERIVATIVES: self._derivatives_along_lines,
            **{text: partial(holds, ways=ways) for text, holds in LARGE.items()},
        }
        self._try(call, promises)
        self.largest = max(self.largest, largest(call))

    def _call(self, arguments: Any) -> Call:
        call = self.case.call(arguments)
        return Call(call.op, call.arguments, tuple(n for n in call.of if n in self.of))

    def _try(self, call: Call, promises: Properties) -> None:
        self.tried += not self._broken
        self._last = call
        doing = RUNS
        try:
            with np.errstate(all="ignore"):
                probe = Probe(call, reference=self.reference, every=self.every)
                for doing, holds in promises.items():
                    if self._broken in ("", doing):
                        holds(probe)
        except HypothesisException:
            raise
        except Exception as error:
            doing = next((named for said, named in SIGNS.items() if said in str(error)), doing)
            if self._broken in ("", doing):
                raise self._failure(call, doing, error)  # noqa: B904  # it has its cause

    def _derivatives(self, at: Probe) -> None:
        bounded = all(np.isfinite(gradient).all() for gradient in at.gradients)
        self._compare(at.call, self.order if bounded else 1, ENTRIES)

    def _derivatives_along_lines(self, at: Probe) -> None:
        self._compare(at.call, 1, 0)

    def _compare(self, call: Call, order: int, entries: int) -> None:
        trusted = self.method == "auto" and self._confirmed >= CONFIRMED and entries > 0
        for method in ("complex", self.method) if trusted else (self.method,):
            try:
                report = check_gradients(
                    call,
                    *call.inputs,
                    order=order,
                    method=method,
                    names=call.labels,
                    seed=self.seed or 0,
                    entries=entries,
                )
            except GradientMismatch:
                if method == self.method:
                    raise
            else:
                break
        self._confirmed += all(row.method == "complex" for row in report.rows)
        self.rows += report.rows

    def _failure(self, call: Call, broken: str, error: Exception) -> OpCheckError:
        """Return the error for a failing call; remember it if the call is the smallest."""
        if not self._broken:
            self._broken = broken
            self._give_up = perf_counter() + SHRINKING
        expected = isinstance(error, AssertionError)
        at_fault = getattr(error, "parameter", "") or getattr(error, "input", "")
        kind = OpGradientError if isinstance(error, GradientMismatch) else OpCheckError
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        made = kind(call, broken, parameter_of(at_fault), message)
        made.__dict__ = vars(error) | vars(made)  # keeps a GradientMismatch's attributes
        made.__cause__ = None if expected else error
        made.__suppress_context__ = True
        size = sum(x.size for x in call.inputs)
        if self._smallest is None or size <= self._smallest[0]:
            self._smallest = size, made
        return made


def _runs(at: Probe) -> None:
    assert len(at.gradients) == len(at.call.inputs)
    assert at.rounding


def parameter_of(label: str) -> str:
    """Return the parameter of an input: "arrays" for "arrays[1]"."""
    return label.partition("[")[0]
