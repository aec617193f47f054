"""Equations of layers, as their ops declare them: text, and MathML for the page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert

import tinygrad_cnn as tg
from tinygrad_cnn.support.text import citation

__all__ = ["OpEquation", "as_mathml", "equation_of"]


@dataclass(frozen=True)
class OpEquation:
    """The equation of an op.

    Attributes
    ----------
    text : str
    mathml : str or None
        A ``math`` element.
    reference : str
        The equation's number in the text "CNNs From Scratch", such as "eq 14"; "" for none.
    """

    text: str
    mathml: str | None
    reference: str


def equation_of(op: tg.Op[..., Any] | None) -> OpEquation:
    """Return the equation of an op; empty for None.

    Examples
    --------
    >>> equation_of(tg.OPS["linear"]).text, equation_of(tg.OPS["linear"]).reference
    ('y = x wᵀ + b', 'eq 14')
    """
    if op is None:
        return OpEquation("", None, "")
    return OpEquation(
        f"y = {op.formula}",
        as_mathml(f"y = {op.latex}") if op.latex else None,
        citation(op.equation),
    )


@lru_cache(maxsize=512)
def as_mathml(latex: str) -> str | None:
    r"""Convert a LaTeX formula to a MathML element; None if it cannot be converted completely.

    Examples
    --------
    >>> as_mathml(r"\alpha")
    '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mrow>...</mrow></math>'
    """
    text = convert(latex, display="block")
    try:
        content = "".join(ElementTree.fromstring(text).itertext())
    except ElementTree.ParseError:
        return None
    return None if "\\" in content else text  # the converter passes unknown commands through
