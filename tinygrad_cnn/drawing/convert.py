"""Conversion of an SVG to PNG or PDF by the typesetting system Typst, a pip package."""

from __future__ import annotations

__all__ = ["converted"]

FONTS = "Helvetica,Arial,Liberation Sans,Arimo,Nimbus Sans,Libertinus Serif"
"""Fonts of Helvetica's widths, for which boxes are laid out; the last, narrower, is Typst's own."""

PAGE = """#set page(width: auto, height: auto, margin: 0pt, fill: white)
#image(bytes("{}"), format: "svg")"""


def converted(svg: str, form: str, dpi: int = 96) -> bytes:
    """Return an SVG as "png", of `dpi` pixels per inch, or as "pdf", on white ground.

    Examples
    --------
    >>> svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt"></svg>'
    >>> converted(svg, "pdf")[:5]  # doctest: +SKIP
    b'%PDF-'
    """
    import typst

    svg = svg.replace("Helvetica,Arial,sans-serif", FONTS)
    document = PAGE.format(svg.replace("\\", "\\\\").replace('"', '\\"')).encode()
    if form == "png":
        return typst.compile(document, format="png", ppi=float(dpi))
    return typst.compile(document, format="pdf")
