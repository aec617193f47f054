"""Comparison of backward's gradients with numerical derivatives, by entry or along lines."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_cnn.check.branches import BranchTrace, other_branch, traced
from tinygrad_cnn.check.comparison import CheckOptions, InputComparison, LineComparison, Position
from tinygrad_cnn.check.functional import Functional, random_weights
from tinygrad_cnn.check.numerical import (
    COMPLEX_STEP,
    Sample,
    Slope,
    bend,
    central_difference,
    complex_step,
)
from tinygrad_cnn.check.rounding import Shaking
from tinygrad_cnn.core.observer import observe
from tinygrad_cnn.engine.arrays import Array

LOOKED_AT = 128  # entries compared of an input whose directions cross kinks
DIRECTIONS = 3
SEARCHED = 512  # entries of a large input searched for wrong ones,
LEAST_SEARCHED, SEARCH = 48, 400_000  # and fewer for a very large one: bounds the entries moved
PROBES = 3  # shakings
TRIES = 24  # to find that many shakings that change no branch
EPSILON = 2.0**-52
SAFETY = 64.0  # tolerance relative to the change by shaking
UNSETTLED = 0.01  # relative to the largest entry: a less certain reference is discarded
SHARE = 1e-3  # of the largest entry over all inputs, if that is more
LEAST = 1e-6  # where u is about 1
NARROW = 1e-3  # relative: the largest difference between two trusted central differences
CONFIRMED = 1e-9  # relative: the largest difference between central differences and complex step
TINY = float(np.finfo(float).tiny)  # smaller numbers lose digits

TOGETHER = "all inputs together, equal values by equal amounts"

Moves = Mapping[int, Array]
"""The directions in which to move some inputs, by input index."""
Along = Callable[[list[Array]], float]


class Examination:
    """The comparison of one order of a functional at given points."""

    def __init__(
        self,
        functional: Functional,
        points: Sequence[Array],
        order: int,
        options: CheckOptions,
    ) -> None:
        self.functional = functional
        self.points = list(points)
        self.order = order
        self.options = options
        self.rng = np.random.default_rng([options.seed, order])

    @cached_property
    def gradients(self) -> list[Array]:
        """Backward's gradients for the inputs and, from order 2 on, for u."""
        return self.functional.gradients(self.order, self.points)

    def compare(self, i: int, label: str) -> InputComparison:
        """Compare the gradient of input `i`."""
        shape = self.points[i].shape
        nothing = np.full(shape, np.nan)
        made = InputComparison(
            label, self.order, self.options.method, self.gradients[i], nothing, np.zeros(shape)
        )
        size = self.points[i].size
        if size <= self.options.entries:
            self._look(made, i, range(size))
            return made
        made.directions = [
            self._ask({i: random_weights(self.rng, shape)}) for _ in range(DIRECTIONS)
        ]
        if any(answer.kink for answer in made.directions):
            made.directions = []
            self._look(made, i, self.rng.permutation(size)[: min(LOOKED_AT, _searched(size))])
        elif made.failed:
            self._look(made, i, self._suspects(i))
            if made.kinks and not made.wrong.any():  # the directions crossed these
                made.directions = []
        return made

    def _look(self, made: InputComparison, i: int, entries: Iterable[Any]) -> None:
        """Compare some entries one by one."""
        for k in entries:
            index = tuple(int(j) for j in np.unravel_index(int(k), made.gradient.shape))
            if np.isnan(made.reference[index]) and index not in made.kinks:
                direction = np.zeros(made.gradient.shape)
                direction[index] = 1.0
                answer = self._ask({i: direction}, index)
                if answer.kink:
                    made.kinks[index] = answer.kink
                else:
                    made.reference[index] = answer.reference
                    made.tolerance[index] = answer.tolerance

    def _suspects(self, i: int) -> Iterator[int]:
        """Yield entries of a large input: wrong ones, found by bisection, then random ones."""
        shape, size = self.points[i].shape, self.points[i].size
        spans = [(0, size)]
        asked = 0
        while spans and asked < _searched(size):
            start, stop = spans.pop()
            if stop - start == 1:
                yield start
                continue
            middle = (start + stop) // 2
            for half in ((start, middle), (middle, stop)):
                direction = np.zeros(size)
                direction[slice(*half)] = random_weights(self.rng, (half[1] - half[0],))
                answer = self._ask({i: direction.reshape(shape)}, again=False)
                asked += 1
                if answer.kink or answer.wrong:
                    spans.append(half)
        yield from (int(k) for k in self.rng.permutation(size)[: _searched(size) // 4])

    def together(self, compared: Sequence[InputComparison]) -> InputComparison | None:
        """Compare along a line that preserves ties, to cover kinks that entries alone cannot.

        For maximum(a, b) at a = b, a step in a or b alone crosses the kink, but a step in both does
        not: the two gradients add up to the gradient flowing in under any convention.
        """
        if not any(made.kinks for made in compared):
            return None
        answer = self._ask(
            {i: x * (1.0 + np.sin(12345.0 * np.abs(x)) / 2) for i, x in enumerate(self.points[:-1])}
        )
        if not answer.wrong:
            return None
        got, reference, tolerance = (
            np.array(v) for v in (answer.got, answer.reference, answer.tolerance)
        )
        return InputComparison(TOGETHER, self.order, self.options.method, got, reference, tolerance)

    def continues(self, compared: Sequence[InputComparison]) -> bool:
        """Return whether central differences confirm the complex step, along a line per input.

        If not, f leaves the graph through a function that drops the imaginary part, or an op
        declared with ``complex_step`` is not analytic.
        """
        return all(self._confirmed(i, made) for i, made in enumerate(compared))

    def _confirmed(self, i: int, made: InputComparison) -> bool:
        shape = self.points[i].shape
        for share in (1.0, 0.5, 0.1, 0.02):  # a line that moves many entries often meets a kink
            line = random_weights(self.rng, shape) * (self.rng.random(shape) < share)
            if made.worst is not None and share == 1.0:
                line = np.zeros(shape)
                line[made.worst] = 1.0
            if not line.any():
                continue
            complex_ = self.slope({i: line}).value
            if self._nearly({i: line}, complex_):
                return True
            central = self._central({i: line})
            if not central.kink:
                apart = abs(complex_ - central.value)
                return apart <= 8 * central.error + CONFIRMED * abs(central.value)
        return True

    def _nearly(self, moves: Moves, slope: float) -> bool:
        """Return whether two central differences confirm `slope`, with few evaluations."""

        def phi(t: float) -> float:
            moved = list(self.points)
            for i, direction in moves.items():
                moved[i] = moved[i] + t * direction
            return float(sum(np.sum(term) for term in self.functional.terms(self.order, moved)))

        h = self._step(moves)
        wide, narrow = ((phi(t) - phi(-t)) / (2 * t) for t in (h, h / 2))
        change = abs(narrow - wide)
        off = abs((4 * narrow - wide) / 3 - slope)
        return change <= NARROW * abs(slope) and off <= change / 4 + CONFIRMED * abs(slope)

    # --- one question ----------------------------------------------------------------------------

    def _ask(
        self, moves: Moves, index: Position | None = None, again: bool = True
    ) -> LineComparison:
        """Compare along a line, or for the entry `index` of one input if given.

        With `again`, apparent errors are checked again.
        """

        def along(gradients: list[Array]) -> float:
            if index is not None:
                (i,) = moves
                return float(gradients[i][index])
            terms = (
                g[d != 0] * d[d != 0] for g, d in ((gradients[i], d) for i, d in moves.items())
            )
            return float(sum(map(np.sum, terms)))  # without 0 · ∞ where nothing moves

        got = along(self.gradients)
        slope = self.slope(moves)
        if slope.kink:
            return LineComparison(got, np.nan, 0.0, slope.kink)
        allowed = self.options.relative * abs(slope.value)
        if self.options.atol is not None:
            return LineComparison(got, slope.value, allowed + self.options.atol)
        allowed += 8 * slope.error
        close = abs(got - slope.value) <= allowed <= self._most(moves, slope.value)
        if close or not again:
            return LineComparison(got, slope.value, allowed)
        return self._again(moves, index, along, LineComparison(got, slope.value, allowed))

    def _most(self, moves: Moves, reference: float) -> float:
        """Return the error above which a reference is unusable."""
        own, every = _largest([self.gradients[i] for i in moves]), _largest(self.gradients)
        return UNSETTLED * max(own, abs(reference), SHARE * every, LEAST)

    def _again(
        self, moves: Moves, index: Position | None, along: Along, first: LineComparison
    ) -> LineComparison:
        """Check an apparent error again: it may be a corner, a singular point or rounding."""
        got, reference, allowed = first.got, first.reference, first.tolerance
        if self._parted or (self.options.method == "complex" and not np.isfinite(got)):
            central = replace(self.options, method="central", rtol=None)
            other = Examination(self.functional, self.points, self.order, central)
            return other._ask(moves, index)
        # a rule subtracts terms of the size of the largest entry, as softmax's y·(g − Σ g·y)
        noise = EPSILON * _largest(self.gradients)
        calm = along(self._calm[0])  # not `got`: on arrays, a rule may compute another way
        for shaking, gradients in self._shaken:
            slope = self.slope(moves, shaking, self.rng.uniform(0.3, 1.0))
            if not slope.kink:
                moved = float(np.nan_to_num(abs(along(gradients) - calm)))
                noise = max(noise, abs(slope.value - reference), moved)
        if allowed + SAFETY * noise > self._most(moves, reference):
            return LineComparison(got, np.nan, 0.0, "values do not settle")
        if self.options.method == "central":
            phi, h = self._line(moves)
            sides = bend(phi, h, self.epsilon)
            if sides and min(sides) - allowed <= got <= max(sides) + allowed:
                return LineComparison(got, np.nan, 0.0, "a corner in the values")
        return LineComparison(got, reference, allowed + SAFETY * noise)

    def slope(self, moves: Moves, shaking: Shaking | None = None, shorter: float = 1.0) -> Slope:
        """Return the derivative along `moves` from values: finite, or the kink that prevents it.

        If the complex step fails because something does not support complex numbers, central
        differences are used.
        """
        if self.options.method == "complex":
            h = shorter * COMPLEX_STEP

            def continued(t: complex) -> Any:
                moved = [p.astype(complex) for p in self.points]
                for i, direction in moves.items():
                    moved[i] += t * direction
                return sum(np.sum(term) for term in self._terms(moved, shaking))

            value = complex_step(continued, h)
            if np.isfinite(value):
                return Slope(value, TINY / h)
        return self._central(moves, shaking, shorter)

    def _central(
        self,
        moves: Moves,
        shaking: Shaking | None = None,
        shorter: float = 1.0,
    ) -> Slope:
        phi, h = self._line(moves, shaking)
        return central_difference(phi, shorter * h, self.epsilon)

    def _line(
        self, moves: Moves, shaking: Shaking | None = None
    ) -> tuple[Callable[[float], Sample], float]:
        """Return φ as a function of the step along `moves`, and a step scaled to the inputs."""

        def phi(t: float) -> Sample:
            moved = list(self.points)
            for i, direction in moves.items():
                moved[i] = moved[i] + t * direction
            terms, trace = self._traced(moved, shaking)
            value = float(sum(np.sum(term) for term in terms))
            size = max(float(sum(np.sum(np.abs(term)) for term in terms)), self._noise)
            size = size or float(np.sum(np.abs(self.points[-1])))  # a 0 may be 1 − 1 inside an op
            parted = other_branch(self._trace.branches, trace.branches)
            return Sample(value, size, parted or ("" if np.isfinite(value) else "not finite"))

        return phi, self._step(moves)

    def _step(self, moves: Moves) -> float:
        """Return a step size for central differences along `moves`, scaled to the inputs."""
        x = np.concatenate([np.abs(self.points[i]).ravel() for i in moves])
        weights = np.concatenate([np.abs(direction).ravel() for direction in moves.values()])
        average = float(np.average(x, weights=weights)) if weights.any() else 0.0
        return (max(average, float(np.mean(x))) or 1.0) * float(self.epsilon**0.2)

    # --- what is evaluated -----------------------------------------------------------------------

    def _terms(self, points: list[Array], shaking: Shaking | None) -> list[Array]:
        if shaking is None:
            return self.functional.terms(self.order, points)
        recorded = self._recordable
        with observe(shaking):
            return self.functional.terms(self.order, points, recorded)

    def _traced(
        self, points: list[Array], shaking: Shaking | None = None
    ) -> tuple[list[Array], BranchTrace]:
        return traced(lambda: self.functional.terms(self.order, points), then=shaking)

    @cached_property
    def _trace(self) -> BranchTrace:
        return self._traced(self.points)[1]

    @property
    def epsilon(self) -> float:
        """The machine epsilon of the coarsest dtype in the computation."""
        return self._trace.epsilon

    @cached_property
    def _recordable(self) -> bool:
        """Whether the rules accept Tensors; first-order rules need not."""
        try:
            self.functional.gradients(self.order, self.points, recorded=True)
        except Exception:
            return False
        return True

    @cached_property
    def _noise(self) -> float:
        """The size of terms whose rounding would explain the uncertainty of φ under shaking."""
        calm, _ = self._traced(self.points)
        shaken = [self._terms(self.points, shaking) for shaking, _ in self._shaken]
        moved = [
            abs(float(sum(np.sum(a - b) for a, b in zip(terms, calm, strict=True))))
            for terms in shaken
        ]
        return max(moved, default=0.0) / self.epsilon

    @cached_property
    def _parted(self) -> str:
        """The op that took another branch in complex arithmetic, which rounds differently."""
        if self.options.method == "central":
            return ""
        _, trace = self._traced([p.astype(complex) for p in self.points])
        return other_branch(self._trace.branches, trace.branches)

    @cached_property
    def _calm(self) -> tuple[list[Array], BranchTrace]:
        """Backward's gradients, recorded where rules allow it, and the branches taken."""
        return self._recorded_gradients()

    def _recorded_gradients(
        self, shaking: Shaking | None = None
    ) -> tuple[list[Array], BranchTrace]:
        recorded = self._recordable
        return traced(
            lambda: self.functional.gradients(self.order, self.points, recorded), then=shaking
        )

    @cached_property
    def _shaken(self) -> list[tuple[Shaking, list[Array]]]:
        """Shakings that keep all branches, with backward's gradients under them."""
        made: list[tuple[Shaking, list[Array]]] = []
        for _ in range(TRIES):
            shaking = Shaking(int(self.rng.integers(2**62)))
            moved, trace = self._recorded_gradients(shaking)
            if not other_branch(self._calm[1].branches, trace.branches):
                made.append((shaking, moved))
            if len(made) == PROBES:
                break
        return made


def _searched(size: int) -> int:
    """Return the number of entries or parts searched of an input of `size` elements."""
    return max(LEAST_SEARCHED, min(SEARCHED, SEARCH // size))


def _largest(gradients: list[Array]) -> float:
    """Return the largest finite entry."""
    return max(float(np.max(np.abs(g[np.isfinite(g)]), initial=0.0)) for g in gradients)


def compare_order(
    functional: Functional,
    points: Sequence[Array],
    labels: Sequence[str],
    order: int,
    options: CheckOptions,
    guarded: bool = False,
) -> list[InputComparison]:
    """Compare the gradients for all inputs and, from order 2 on, for u, the last of `labels`.

    With `guarded`, central differences replace the complex step if they contradict it; see the
    method of the comparisons.
    """
    examination = Examination(functional, points, order, options)
    count = len(points) - (order == 1)
    compared = [examination.compare(i, labels[i]) for i in range(count)]
    together = examination.together(compared)
    compared += [together] if together else []
    if guarded and options.method == "complex" and not examination.continues(compared[:count]):
        central = replace(options, method="central")
        return compare_order(functional, points, labels, order, central)
    return compared


def fit_method(
    options: CheckOptions, functional: Functional, order: int, points: Sequence[Array]
) -> CheckOptions:
    """Return `options`; for "auto", with the complex step if every op up to `order` supports it."""
    if options.method != "auto":
        return options
    central = replace(options, method="central")
    _, trace = traced(lambda: functional.gradients(order, points), branches=False)
    if not all(op.complex_step for op in trace.ops):
        return central
    imaginary = [p + 1j * COMPLEX_STEP for p in points]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            functional.terms(order, imaginary)
    except (TypeError, ValueError, np.exceptions.ComplexWarning):
        return central  # f does not support complex numbers outside of ops
    return replace(options, method="complex")
