"""The lengths of the axes that vary, in the runs of an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, TypeAlias, TypeVar

from tinygrad_cnn.capture import CaptureError
from tinygrad_cnn.onnx.errors import OnnxError

__all__ = ["Trials"]

T = TypeVar("T")
Lengths: TypeAlias = dict[str, int]  # by the name of the axis
Run: TypeAlias = Callable[[Lengths], T]

FAR = 32  # layers in a row make images smaller by up to this: less does not show in their result


class Trials:
    """Chooses the lengths at which a model is tried.

    The runs have to show how each number of the program depends on the lengths. So every axis has
    at least three lengths, no two axes vary alike, and the lengths are not multiples of each other:
    n and 2n, both even, do not tell ⌊n/2⌋ from ⌈n/2⌉. Where the model takes multiples of a number
    only, such as images whose sides are divisible by 32, that number is found first.

    Parameters
    ----------
    inputs : mapping of str to Variable
        The example.
    axes : mapping of str to mapping of int to str
        The names of the axes that vary, by input. A name that stands for a first axis anywhere is
        a batch: its lengths stay small, and 1 is among them.
    """

    def __init__(self, inputs: Mapping[str, Any], axes: Mapping[str, Mapping[int, str]]) -> None:
        self.lengths: Lengths = {}
        self.batches: set[str] = set()
        for name, of_input in axes.items():
            for axis, symbol in of_input.items():
                self.lengths[symbol] = inputs[name]._array.shape[axis]
                if axis == 0:
                    self.batches.add(symbol)
        self.steps = dict.fromkeys(self.lengths, 1)
        self.tried: list[Lengths] = [self.lengths]
        self.places: dict[str, int] = {}  # among the batches, or among the rest
        for symbol in self.lengths:
            alike = [s for s in self.places if (s in self.batches) == (symbol in self.batches)]
            self.places[symbol] = len(alike)

    def results(self, run: Run[T]) -> list[T]:
        """Return what `run` gives for each of the lengths.

        Raises
        ------
        OnnxError
            If the model refuses other lengths than those of the example.
        """
        if not self.lengths:
            return []
        near = self.attempted(run, [self.near()])
        if near is None:
            self.steps = {symbol: self.step(run, symbol) for symbol in self.lengths}
            near = [self.run(run, self.near())]
        far = [self.far(wide, single) for single in (True, False) for wide in (True, False)]
        last = self.attempted(run, far[:-1]) or [self.run(run, far[-1])]
        if self.batches.issuperset(self.lengths):
            return [*near, *last]
        rest = [
            self.attempted(run, [self.even()]),
            self.attempted(run, [self.middle(), self.close(5, 3)]),
            self.attempted(run, [self.below(), self.close(-3, 4)]),
        ]
        return [*near, *last, *(result for found in rest for result in found or [])]

    def checked(self, run: Run[T]) -> T:
        """Return what `run` gives for new lengths; for earlier ones if the model refuses those."""
        last = self.tried[1] if len(self.tried) > 1 else self.lengths
        result = self.attempted(run, [self.beyond(), self.between()])
        return result[0] if result else self.run(run, last)

    # --- the runs --------------------------------------------------------------------------------

    def attempted(self, run: Run[T], choices: list[Lengths]) -> list[T] | None:
        """Return the result for the first of the choices that the model takes, if there is one."""
        for lengths in choices:
            if lengths in self.tried:
                continue
            try:
                result = run(lengths)
            except CaptureError:
                raise
            except Exception:
                continue  # a model may refuse any length
            self.tried.append(lengths)
            return [result]
        return None

    def run(self, run: Run[T], lengths: Lengths) -> T:
        """Return the result for lengths that the model must take."""
        try:
            result = run(lengths)
        except CaptureError:
            raise
        except Exception as error:
            shown = ", ".join(f"{symbol} = {n}" for symbol, n in lengths.items())
            raise OnnxError(
                f"export: the model refuses an input with {shown}: {error}; leave that axis out of "
                "dynamic"
            ) from error
        self.tried.append(lengths)
        return result

    def step(self, run: Run[Any], symbol: str) -> int:
        """Return the least number by which the model lets this length grow."""
        n = self.lengths[symbol]
        divisors = [1] if symbol in self.batches else [k for k in range(1, n + 1) if n % k == 0]
        for step in sorted(divisors, key=lambda k: (k & (k - 1) > 0, k)):  # powers of 2 first
            try:
                run({symbol: n + step})
            except CaptureError:
                raise
            except Exception as error:
                refused = error
            else:
                return step
        raise OnnxError(
            f"export: the model refuses an input with {symbol} = {n + 1}: {refused}; leave that "
            "axis out of dynamic"
        ) from refused

    # --- the lengths -----------------------------------------------------------------------------

    def near(self) -> Lengths:
        """Return lengths close to those of the example."""
        return {s: n + self.steps[s] * (1 + self.places[s]) for s, n in self.lengths.items()}

    def even(self) -> Lengths:
        """Return multiples of `FAR`, or lengths close to those of the example if these are some."""
        chosen = self.near()
        for symbol, n in self.lengths.items():
            if symbol not in self.batches and self.steps[symbol] <= FAR and n % FAR:
                chosen[symbol] = self.rounded(symbol, 0)
        return chosen

    def far(self, wide: bool, single: bool) -> Lengths:
        """Return lengths far from the example and apart: one more than multiples of `FAR`."""
        chosen = {}
        for symbol, n in self.lengths.items():
            place, step = self.places[symbol], self.steps[symbol]
            if symbol in self.batches:
                chosen[symbol] = 1 if single and n > 1 else n + 2 + place
            elif wide and step <= FAR:
                # The places in another order, so that no two axes grow in proportion.
                chosen[symbol] = self.rounded(symbol, FAR * (1 + (place ^ 1)) + 1)
            else:
                chosen[symbol] = n + step * (2 - place % 2)
        return chosen

    def middle(self) -> Lengths:
        """Return lengths one less than multiples of `FAR`, in one more order."""
        chosen = dict(self.lengths)
        for symbol, place in self.places.items():
            if symbol not in self.batches and self.steps[symbol] <= FAR:
                chosen[symbol] = self.rounded(symbol, FAR * (2 * place % 5) - 1)
        return chosen

    def close(self, one: int, other: int) -> Lengths:
        """Return lengths in place of those that the model refuses: steps for every other axis."""
        chosen = dict(self.lengths)
        for symbol, place in self.places.items():
            step, more = self.steps[symbol], other + place if place % 2 else one + place
            if symbol not in self.batches and step <= FAR:
                chosen[symbol] = max(step, chosen[symbol] + step * more)
        return chosen

    def rounded(self, symbol: str, more: int) -> int:
        """Return a length so much above a multiple of `FAR`, as far as the model takes it."""
        n, step = self.lengths[symbol], self.steps[symbol]
        return n + step * -((n - (-(-n // FAR) * FAR + more)) // step)

    def below(self) -> Lengths:
        """Return shorter lengths, but not 1, which models may treat in another way."""
        chosen = dict(self.lengths)
        for symbol, n in self.lengths.items():
            step = self.steps[symbol]
            units, least = n // step, 2 if step == 1 else 1
            if symbol in self.batches:
                chosen[symbol] = self.unused(symbol)  # at little cost
            elif units > least:
                # 5 more than a multiple of 8: its halves, rounded down or up, are odd in turn.
                shorter = units - 1 - units // 3 - self.places[symbol]
                odd = (shorter - 5) // 8 * 8 + 5
                chosen[symbol] = step * max(least, odd if odd > 0 else shorter)
        return chosen

    def beyond(self) -> Lengths:
        """Return lengths for the check, odd where the model takes odd ones."""
        chosen = {}
        for symbol, n in self.lengths.items():
            place, step = self.places[symbol], self.steps[symbol]
            if symbol in self.batches:
                only = len(self.batches) == len(self.lengths)
                chosen[symbol] = self.unused(symbol) if only else 2 + place
            elif step == 1:
                chosen[symbol] = n + 9 + 24 * place | 1
            elif step < n:
                chosen[symbol] = n + step * (4 + place)
            else:
                chosen[symbol] = n * (2 - place % 2)
        return chosen

    def between(self) -> Lengths:
        """Return lengths for the check of a model that takes no long ones."""
        two = (self.tried * 2)[:2]
        return {s: two[(1 + place) % 2][s] for s, place in self.places.items()}

    def unused(self, symbol: str) -> int:
        """Return a length of a batch that no run has had, another for each symbol."""
        used = {tried.get(symbol) for tried in self.tried}
        unused: Iterator[int] = (n for n in count(2) if n not in used)
        for _ in range(self.places[symbol]):
            next(unused)
        return next(unused)
