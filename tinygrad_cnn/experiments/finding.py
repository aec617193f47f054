"""What an experiment found: its text, and whether the claims hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "Holds", "Verdict"]

Holds: TypeAlias = Literal["holds", "does not hold", "depends"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claim holds, in one line of the page's summary.

    Attributes
    ----------
    claim : str
        The claim, in a few words.
    outcome : str
        "holds", "does not hold" or "depends".
    figure : str
        The measurement that decides, in a few words.
    """

    claim: str
    outcome: Holds
    figure: str

    @classmethod
    def of(cls, claim: str, holds: bool, figure: str) -> Verdict:
        """Return the verdict on a claim that holds or does not.

        Examples
        --------
        >>> Verdict.of("ReLU trains faster", 2.0 < 3.0, "2 epochs, not 3").outcome
        'holds'
        """
        return cls(claim, "holds" if holds else "does not hold", figure)

    @classmethod
    def of_each(cls, claim: str, cases: Sequence[bool], figure: str) -> Verdict:
        """Return the verdict on a claim that depends if it holds in some of the cases only.

        Without any case, because nothing was measured, it depends too.

        Examples
        --------
        >>> Verdict.of_each("ReLU trains faster", [True, False], "at 1 layer").outcome
        'depends'
        """
        if not cases or (any(cases) and not all(cases)):
            return cls(claim, "depends", figure)
        return cls.of(claim, all(cases), figure)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of an experiment.

    Attributes
    ----------
    text : str
        A Markdown paragraph or several. Every number in it comes from the results, and so does the
        direction of every comparison.
    verdicts : tuple of Verdict
        For the summary at the top of the page.
    """

    text: str
    verdicts: tuple[Verdict, ...] = ()
