"""The notation for entries of local derivatives, ∂y[…]/∂x[…], in which ops declare them.

``@op.entry("x")`` decorates a function that writes an entry for derivations. It takes the index of
an entry of the result, and the source of new letters for the axes that the argument does not share
with the result; it returns the index of the argument and the formula, in the op's parameters. An
elementwise op needs none: its entry is the factor of g in its derivative. It may declare one, if
its options choose among formulas.

An index may be an expression, such as ``"2·i + k"``, if it always stays within its axis. A bracket,
such as ``[i = k]``, is 1 where its condition holds and 0 elsewhere; ``[y[i] took x[k]]`` is 1 if a
maximum chose that entry. An entry outside its array is 0.
"""

from __future__ import annotations

from typing import TypeAlias

from tinygrad_cnn.engine.arrays import Shape

__all__ = ["Index", "Letters", "LocalEntry", "Quantities", "at", "equal", "place", "shared_axes"]

Index: TypeAlias = tuple[str, ...]
"""A letter or an expression for each axis; empty for an axis of length 1."""

LocalEntry: TypeAlias = tuple[Index, str]
"""The index of the argument, and the formula."""

Quantities: TypeAlias = dict[str, tuple[Shape, str]]
"""The shape and the definition of quantities that entries use besides the parameters."""

ORDER = "ikjplmorstuvhe"


class Letters:
    """Letters for indices, in the text's order: i, k, j, p.

    Parameters
    ----------
    taken : set of str
        Letters that no index may use.

    Attributes
    ----------
    lengths : dict of str to int
        The axis lengths, by letter.
    """

    def __init__(self, taken: set[str]) -> None:
        self.lengths: dict[str, int] = {}
        self._batch = "n" not in taken
        self._free = [letter for letter in ORDER if letter not in taken]
        self._next = 0

    def fresh(self, length: int) -> str:
        """Return a new letter for an axis; "" for an axis of length 1."""
        if length == 1:
            return ""
        primes, place = divmod(self._next, len(self._free))
        self._next += 1
        letter = self._free[place] + "′" * primes
        self.lengths[letter] = length
        return letter

    def index(self, shape: Shape) -> Index:
        """Return new letters for all axes; the first index with several begins with n (batch)."""
        if len(shape) > 1 and self._batch and shape[0] != 1:
            self._batch = False
            self.lengths["n"] = shape[0]
            return ("n", *map(self.fresh, shape[1:]))
        return tuple(map(self.fresh, shape))


def shared_axes(y: Index, shape: Shape) -> Index:
    """Return the index of an argument that was broadcast to a result with index `y`."""
    axes = y[len(y) - len(shape) :] if shape else ()
    return tuple("" if n == 1 else letter for letter, n in zip(axes, shape, strict=True))


def at(name: str, index: Index) -> str:
    """Return an entry in the notation of formulas.

    Examples
    --------
    >>> at("w", ("i", "", "p")), at("w", ())
    ('w[i, p]', 'w')
    """
    shown = ", ".join(filter(None, index))
    return f"{name}[{shown}]" if shown else name


def equal(i: str, k: str) -> str:
    """Return the factor that requires two indices to be equal; "" stands for index 0.

    Examples
    --------
    >>> equal("i", "k"), equal("", "0"), equal("1", "0")
    ('[i = k]', '1', '0')
    """
    left, right = i or "0", k or "0"
    if left.isdigit() and right.isdigit():
        return "1" if left == right else "0"
    return f"[{left} = {right}]"


def place(*terms: tuple[int, str], constant: int = 0) -> str:
    """Return an index such as 2·i + k − 1; "" stands for 0.

    Examples
    --------
    >>> place((2, "i + k"), (1, "l"), constant=-1), place((3, ""), constant=0)
    ('2·(i + k) + l − 1', '')
    """
    written = ""
    for factor, letter in terms:
        if letter and factor:
            inner = f"({letter})" if factor != 1 and " " in letter else letter
            written += " + " * bool(written) + (inner if factor == 1 else f"{factor}·{inner}")
    if constant:
        sign = (" − " if constant < 0 else " + ") if written else ("−" if constant < 0 else "")
        written += f"{sign}{abs(constant)}"
    return written
