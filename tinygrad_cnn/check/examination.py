"""Backward's gradients held against derivatives from values, entry by entry or along lines."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_cnn.check.branches import Trace, other_branch, traced
from tinygrad_cnn.check.comparison import Answer, Comparison, Index, Settings
from tinygrad_cnn.check.functional import Array, Functional, random_weights
from tinygrad_cnn.check.reference import (
    COMPLEX_STEP,
    Point,
    Slope,
    bend,
    central_difference,
    complex_step,
)
from tinygrad_cnn.check.shaking import Shaking
from tinygrad_cnn.core.observer import observe

LOOKED_AT = 128  # entries of an input whose directions cross kinks
DIRECTIONS = 3
SEARCHED = 512  # how much of a large input is looked at to find its wrong entries
PROBES = 3  # ways to shake
TRIES = 24  # to find as many that change no branch
SAFETY = 64.0  # how many times what shaking changes is allowed
UNSETTLED = 0.01  # a reference less certain than this, relative to the largest entry, is none
SHARE = 1e-3  # of the largest entry for all inputs, if that is more
LEAST = 1e-6  # where u is about 1
TINY = float(np.finfo(float).tiny)  # what is smaller loses digits

Along = Callable[[list[Array]], float]


class Examination:
    """The comparison of one order of a functional at one place."""

    def __init__(
        self,
        functional: Functional,
        points: Sequence[Array],
        order: int,
        settings: Settings,
    ) -> None:
        self.functional = functional
        self.points = list(points)
        self.order = order
        self.settings = settings
        self.rng = np.random.default_rng([settings.seed, order])
        self.gradients = functional.gradients(order, points)

    def compare(self, i: int, label: str) -> Comparison:
        """Compare the gradient of input `i`."""
        shape = self.points[i].shape
        nothing = np.full(shape, np.nan)
        made = Comparison(
            label, self.order, self.settings.method, self.gradients[i], nothing, np.zeros(shape)
        )
        size = self.points[i].size
        if size <= self.settings.entries:
            self._look(made, i, range(size))
            return made
        made.directions = [self._ask(i, random_weights(self.rng, shape)) for _ in range(DIRECTIONS)]
        if any(answer.kink for answer in made.directions):
            made.directions = []
            self._look(made, i, self.rng.permutation(size)[:LOOKED_AT])
        elif made.failed:
            self._look(made, i, self._suspects(i))
            if made.kinks and not made.wrong.any():  # the directions crossed these
                made.directions = []
        return made

    def _look(self, made: Comparison, i: int, entries: Iterable[Any]) -> None:
        """Compare some entries one by one."""
        for k in entries:
            index = tuple(int(j) for j in np.unravel_index(int(k), made.gradient.shape))
            if np.isnan(made.reference[index]) and index not in made.kinks:
                direction = np.zeros(made.gradient.shape)
                direction[index] = 1.0
                answer = self._ask(i, direction, index)
                if answer.kink:
                    made.kinks[index] = answer.kink
                else:
                    made.reference[index] = answer.reference
                    made.tolerance[index] = answer.tolerance

    def _suspects(self, i: int) -> Iterator[int]:
        """Yield entries of a large input: first wrong ones, found by halving, then any."""
        shape, size = self.points[i].shape, self.points[i].size
        spans = [(0, size)]
        asked = 0
        while spans and asked < SEARCHED:
            start, stop = spans.pop()
            if stop - start == 1:
                yield start
                continue
            middle = (start + stop) // 2
            for half in ((start, middle), (middle, stop)):
                direction = np.zeros(size)
                direction[slice(*half)] = random_weights(self.rng, (half[1] - half[0],))
                answer = self._ask(i, direction.reshape(shape))
                asked += 1
                if answer.kink or answer.wrong:
                    spans.append(half)
        yield from (int(k) for k in self.rng.permutation(size)[:SEARCHED])

    # --- one question ----------------------------------------------------------------------------

    def _ask(self, i: int, direction: Array, index: Index | None = None) -> Answer:
        """Compare along `direction`: the one of the entry `index`, if that is given."""

        def along(gradients: list[Array]) -> float:
            return float(gradients[i][index] if index else np.sum(gradients[i] * direction))

        got = along(self.gradients)
        slope = self.slope(i, direction)
        if slope.kink:
            return Answer(got, np.nan, 0.0, slope.kink)
        allowed = self.settings.relative * abs(slope.value)
        if self.settings.atol is not None:
            return Answer(got, slope.value, allowed + self.settings.atol)
        allowed += 8 * slope.error
        if abs(got - slope.value) <= allowed <= self._most(i, slope.value):
            return Answer(got, slope.value, allowed)
        return self._again(i, direction, index, along, Answer(got, slope.value, allowed))

    def _most(self, i: int, reference: float) -> float:
        """Return the error above which a reference says nothing."""
        own, every = _largest(self.gradients[i : i + 1]), _largest(self.gradients)
        return UNSETTLED * max(own, abs(reference), SHARE * every, LEAST)

    def _again(
        self, i: int, direction: Array, index: Index | None, along: Along, first: Answer
    ) -> Answer:
        """Look again at what seems wrong: it may be a corner, a singular point, or rounding."""
        got, reference, allowed = first.got, first.reference, first.tolerance
        if self._parted or (self.settings.method == "complex" and not np.isfinite(got)):
            central = replace(self.settings, method="central", rtol=None)
            other = Examination(self.functional, self.points, self.order, central)
            return other._ask(i, direction, index)
        noise = 0.0
        for shaking, gradients in self._shaken:
            slope = self.slope(i, direction, shaking, self.rng.uniform(0.3, 1.0))
            if not slope.kink:
                moved = float(np.nan_to_num(abs(along(gradients) - got)))
                noise = max(noise, abs(slope.value - reference), moved)
        if allowed + SAFETY * noise > self._most(i, reference):
            return Answer(got, np.nan, 0.0, "values do not settle")
        if self.settings.method == "central":
            phi, h = self._line(i, direction)
            sides = bend(phi, h, self.epsilon)
            if sides and min(sides) - allowed <= got <= max(sides) + allowed:
                return Answer(got, np.nan, 0.0, "a corner in the values")
        return Answer(got, reference, allowed + SAFETY * noise)

    def slope(
        self, i: int, direction: Array, shaking: Shaking | None = None, shorter: float = 1.0
    ) -> Slope:
        """Return the derivative along `direction` in input `i`, from values alone."""
        if self.settings.method == "central":
            phi, h = self._line(i, direction, shaking)
            return central_difference(phi, shorter * h, self.epsilon)

        def continued(t: complex) -> Any:
            moved = [p.astype(complex) for p in self.points]
            moved[i] += t * direction
            return sum(np.sum(term) for term in self._terms(moved, shaking))

        h = shorter * COMPLEX_STEP
        return Slope(complex_step(continued, h), TINY / h)

    def _line(
        self, i: int, direction: Array, shaking: Shaking | None = None
    ) -> tuple[Callable[[float], Point], float]:
        """Return φ as a function of the way along `direction`, and a step scaled to the input."""

        def phi(t: float) -> Point:
            moved = list(self.points)
            moved[i] = moved[i] + t * direction
            terms, trace = self._traced(moved, shaking)
            value = float(sum(np.sum(term) for term in terms))
            size = max(float(sum(np.sum(np.abs(term)) for term in terms)), self._noise)
            size = size or float(np.sum(np.abs(self.points[-1])))  # 0 may be 1 − 1, inside an op
            parted = other_branch(self._trace.branches, trace.branches)
            return Point(value, size, parted or ("" if np.isfinite(value) else "not finite"))

        x = np.abs(self.points[i])
        size = max(float(np.average(x, weights=np.abs(direction))), float(np.mean(x)))
        return phi, (size or 1.0) * float(self.epsilon**0.2)

    # --- what is evaluated -----------------------------------------------------------------------

    def _terms(self, points: list[Array], shaking: Shaking | None) -> list[Array]:
        if shaking is None:
            return self.functional.terms(self.order, points)
        recorded = self._recordable
        with observe(shaking):
            return self.functional.terms(self.order, points, recorded)

    def _traced(
        self, points: list[Array], shaking: Shaking | None = None
    ) -> tuple[list[Array], Trace]:
        return traced(lambda: self.functional.terms(self.order, points), then=shaking)

    @cached_property
    def _trace(self) -> Trace:
        return self._traced(self.points)[1]

    @property
    def epsilon(self) -> float:
        """The relative rounding of the coarsest dtype on the way."""
        return self._trace.epsilon

    @cached_property
    def _recordable(self) -> bool:
        """Whether the rules take Tensors: those that are used once need not."""
        try:
            self.functional.gradients(self.order, self.points, recorded=True)
        except Exception:
            return False
        return True

    @cached_property
    def _noise(self) -> float:
        """The size of terms that would make φ as uncertain as shaking shows that it is."""
        calm, _ = self._traced(self.points)
        shaken = [self._terms(self.points, shaking) for shaking, _ in self._shaken]
        moved = [
            abs(float(sum(np.sum(a - b) for a, b in zip(terms, calm, strict=True))))
            for terms in shaken
        ]
        return max(moved, default=0.0) / self.epsilon

    @cached_property
    def _parted(self) -> str:
        """The op that took another branch in complex arithmetic, which rounds in another way."""
        if self.settings.method == "central":
            return ""
        _, trace = self._traced([p.astype(complex) for p in self.points])
        return other_branch(self._trace.branches, trace.branches)

    @cached_property
    def _shaken(self) -> list[tuple[Shaking, list[Array]]]:
        """Ways to shake that lead to the same branches, with backward's gradients under them."""
        recorded = self._recordable

        def gradients() -> list[Array]:
            return self.functional.gradients(self.order, self.points, recorded)

        _, calm = traced(gradients)
        made: list[tuple[Shaking, list[Array]]] = []
        for _ in range(TRIES):
            shaking = Shaking(int(self.rng.integers(2**62)))
            moved, trace = traced(gradients, then=shaking)
            if not other_branch(calm.branches, trace.branches):
                made.append((shaking, moved))
            if len(made) == PROBES:
                break
        return made


def _largest(gradients: list[Array]) -> float:
    """Return the largest finite entry."""
    return max(float(np.max(np.abs(g[np.isfinite(g)]), initial=0.0)) for g in gradients)


def compare_order(
    functional: Functional,
    points: Sequence[Array],
    labels: Sequence[str],
    order: int,
    settings: Settings,
) -> list[Comparison]:
    """Compare the gradients for all inputs; from order 2 on for u as well, the last of `labels`."""
    examination = Examination(functional, points, order, settings)
    return [examination.compare(i, labels[i]) for i in range(len(examination.gradients))]


def fit_method(functional: Functional, order: int, points: Sequence[Array]) -> str:
    """Return "complex" if all that is called on the way to `order` continues to complex numbers."""
    _, trace = traced(lambda: functional.gradients(order, points), branches=False)
    if not all(op.complex_step for op in trace.ops):
        return "central"
    imaginary = [p + 1j * COMPLEX_STEP for p in points]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            functional.terms(order, imaginary)
    except (TypeError, ValueError, np.exceptions.ComplexWarning):
        return "central"  # what f does besides calling ops does not take them
    return "complex"
