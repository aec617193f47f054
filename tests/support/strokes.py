"""Digits and other signs as pen strokes, to test what the studio makes of drawings.

These are not recorded handwriting. Each skeleton below was written by hand as the corners through
which a pen is led, after the forms taught and used in Europe and America; `drawings` draws each one
several times with the habits of a "hand" (slant, width, tremor, speed, pen), at a size, a place
and a tilt. The random numbers are seeded, so the same points come each time. Training sees none of
the skeletons. Real hands vary more: the accuracies are those of these strokes only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = {
    "0 round": (0, "50,14 30,20 20,42 24,70 44,86 66,80 79,56 74,28 50,14"),
    "0 narrow": (0, "52,11 41,22 36,50 40,78 51,89 62,76 66,48 61,22 52,11"),
    "0 overlapping": (0, "62,20 44,13 28,30 23,58 36,82 57,85 73,66 75,38 62,20 50,17 41,24"),
    "0 open": (0, "57,15 37,20 24,44 28,74 48,87 68,74 75,46 70,26 62,18"),
    "1 stroke": (1, "50,10 50,30 50,62 50,90"),
    "1 leaning": (1, "60,11 54,36 47,64 41,89"),
    "1 flag": (1, "36,30 44,22 53,11 53,11 53,50 53,89"),
    "1 long flag": (1, "27,47 40,31 55,11 55,11 54,50 54,89"),
    "1 flag and foot": (1, "37,28 45,21 53,11 53,11 53,50 53,87 / 35,88 53,88 71,88"),
    "1 curved flag": (1, "34,34 46,29 55,12 55,12 54,50 53,89"),
    "2 round": (2, "26,32 36,16 56,13 70,28 62,48 42,66 25,86 25,86 50,85 77,86"),
    "2 looped": (2, "28,30 40,14 60,15 67,33 54,57 37,77 25,83 24,74 36,71 50,81 64,88 78,83"),
    "2 angular": (2, "27,20 66,16 68,38 28,86 28,86 74,85"),
    "2 swan": (2, "30,36 34,18 52,12 66,24 60,46 44,66 30,80 48,82 62,88 76,80"),
    "3 round": (3, "28,24 44,12 66,18 67,36 47,47 47,47 70,55 73,75 53,88 28,78"),
    "3 flat": (3, "27,14 71,14 71,14 46,43 46,43 68,50 75,68 62,86 41,88 26,79"),
    "3 flowing": (3, "30,20 48,12 64,22 60,39 45,47 62,55 69,71 55,87 30,80"),
    "3 narrow": (3, "36,18 50,11 61,22 57,40 46,47 46,47 62,58 63,78 50,89 36,82"),
    "4 open": (4, "34,12 25,52 25,52 77,52 / 62,26 60,58 58,89"),
    "4 closed": (4, "62,89 62,50 62,11 62,11 21,63 21,63 80,63"),
    "4 closed in two": (4, "60,12 22,60 22,60 79,60 / 61,14 60,50 60,89"),
    "4 round": (4, "30,13 27,40 40,53 66,47 / 69,12 65,50 60,89"),
    "4 high": (4, "40,10 28,42 28,42 74,44 / 64,12 60,50 55,90"),
    "5 in two": (5, "38,14 33,44 52,40 71,54 69,76 49,88 26,80 / 38,14 55,14 73,13"),
    "5 in one": (5, "73,14 38,14 38,14 34,45 34,45 54,40 72,54 70,76 50,88 28,80"),
    "5 flowing": (5, "69,15 45,14 35,32 46,44 65,54 69,72 52,87 29,82"),
    "5 long neck": (5, "40,12 36,50 36,50 56,48 68,62 62,82 42,89 28,82 / 40,12 72,10"),
    "6 curved": (6, "64,13 42,28 28,54 32,78 50,88 69,76 66,58 48,52 31,66"),
    "6 straight": (6, "58,10 45,28 34,48 28,70 42,88 62,83 69,66 54,54 35,63"),
    "6 large loop": (6, "56,11 38,24 26,48 26,72 42,88 64,84 74,66 64,48 44,46 28,60"),
    "6 small loop": (6, "62,10 46,30 34,56 34,78 48,89 62,80 60,66 46,64 35,76"),
    "7 plain": (7, "24,16 50,16 76,15 76,15 60,46 46,89"),
    "7 barred": (7, "25,15 50,15 76,14 76,14 60,46 46,89 / 38,50 54,50 72,49"),
    "7 serif": (7, "27,28 26,14 26,14 50,15 75,15 75,15 57,50 46,89"),
    "7 serif and bar": (7, "28,27 27,14 27,14 50,15 75,14 75,14 57,50 47,89 / 38,53 54,52 72,50"),
    "7 curved": (7, "24,22 44,14 76,18 76,18 62,42 52,64 47,88"),
    "7 wavy and bar": (7, "24,20 38,13 56,18 76,13 76,13 62,42 53,66 49,89 / 40,52 70,48"),
    "8 in one": (8, "66,24 49,12 33,24 41,42 60,57 68,74 50,88 32,74 42,55 62,40 66,24"),
    "8 two rings": (8, "50,11 35,21 36,39 50,47 64,39 65,21 50,11 / 50,48 31,60 32,80 50,89 "
                       "68,80 69,60 50,48"),
    "8 from above": (8, "70,20 52,11 34,22 42,42 62,58 66,78 49,89 33,76 44,56 64,38 72,18"),
    "8 narrow": (8, "58,22 50,11 41,23 46,42 56,60 59,76 50,89 41,76 45,58 56,40 58,22"),
    "9 straight": (9, "68,28 52,13 35,22 33,42 48,52 65,42 69,26 69,26 68,60 63,89"),
    "9 curved": (9, "67,28 50,12 33,24 34,43 50,50 66,38 69,26 69,26 69,56 58,80 35,86"),
    "9 open": (9, "64,18 43,16 32,34 42,49 60,42 69,20 69,20 67,56 64,89"),
    "9 slanted": (9, "70,24 56,12 38,22 34,40 46,50 62,42 71,22 71,22 58,56 46,89"),
}  # fmt: skip
"""Digits by style: the label, and the corners on a sheet of side 100; "/" lifts the pen."""

OTHERS = {
    "cross": "22,20 50,50 78,80 / 77,20 50,50 23,80",
    "plus": "50,18 50,82 / 18,50 82,50",
    "A": "24,86 50,14 50,14 76,86 / 34,60 66,60",
    "B": "30,14 30,86 / 30,14 62,18 66,36 32,48 32,48 70,56 70,78 30,86",
    "E": "72,14 30,14 30,14 30,86 30,86 72,86 / 30,50 64,50",
    "F": "72,14 30,14 30,14 30,88 / 30,50 62,50",
    "H": "26,14 26,86 / 74,14 74,86 / 26,50 74,50",
    "K": "30,14 30,86 / 72,14 32,52 32,52 74,86",
    "M": "18,86 24,16 24,16 50,60 50,60 76,16 76,16 82,86",
    "N": "26,86 26,16 26,16 74,84 74,84 74,16",
    "R": "30,86 30,14 30,14 64,18 66,40 32,50 32,50 74,86",
    "T": "20,16 80,16 / 50,16 50,86",
    "U": "26,14 26,66 50,86 74,66 74,14",
    "V": "22,16 50,86 50,86 78,16",
    "W": "14,16 32,84 32,84 50,34 50,34 68,84 68,84 86,16",
    "Y": "24,16 50,50 / 76,16 50,50 50,88",
    "a": "70,36 46,26 28,50 40,78 68,66 70,34 70,34 72,82",
    "k": "32,10 32,88 / 66,40 34,62 34,62 68,88",
    "m": "18,80 20,34 20,34 36,34 42,80 42,80 46,40 62,34 68,80 68,80 72,42 84,40 88,80",
    "w": "18,34 32,78 32,78 50,44 50,44 66,78 66,78 82,34",
    "at": "62,44 46,38 38,54 50,64 62,46 64,64 78,60 80,36 56,16 26,28 20,60 42,84 74,78",
    "hash": "36,16 32,86 / 66,14 62,86 / 16,38 84,36 / 16,66 82,64",
    "star": "50,12 30,84 30,84 82,36 82,36 18,36 18,36 70,84 70,84 50,12",
    "heart": "50,84 20,50 22,24 42,22 50,38 58,22 78,24 80,50 50,84",
    "smiley": "50,12 20,28 14,58 34,84 66,84 86,58 80,28 50,12 / 36,38 36,42 / 64,38 64,42 / "
              "32,60 50,72 68,60",
    "house": "20,86 20,44 20,44 50,14 50,14 80,44 80,44 80,86 80,86 20,86",
    "square": "20,20 80,20 80,20 80,80 80,80 20,80 20,80 20,20",
    "triangle": "50,16 82,82 82,82 18,82 18,82 50,16",
    "spiral": "50,50 56,46 58,56 46,60 38,48 48,34 66,38 72,58 54,76 30,68 24,42 44,20 74,22 86,50",
    "zigzag": "14,30 30,70 30,70 44,30 44,30 58,70 58,70 72,30 72,30 88,70",
    "wave": "10,50 24,32 40,50 56,68 72,50 90,32",
    "lying line": "12,50 50,50 88,51",
    "two lines": "30,14 30,86 / 70,14 70,86",
    "three lines": "20,16 20,84 / 50,16 50,84 / 80,16 80,84",
    "lying lines": "16,30 84,30 / 16,50 84,50 / 16,70 84,70",
    "dot": "50,50 51,50",
    "scribble": "16,40 60,18 80,50 30,70 24,30 70,26 76,74 36,84 18,52 60,44 84,66 44,30 50,80",
    "dense scribble": "14,20 86,26 86,26 16,34 16,34 84,42 84,42 16,50 16,50 86,58 86,58 14,66 "
                      "14,66 84,76 84,76 18,84",
    "arrow": "14,50 86,50 / 62,28 86,50 86,50 62,72",
    "check": "18,54 40,80 40,80 84,20",
    "question": "30,28 44,14 64,20 64,38 50,50 50,66 / 50,82 51,86",
    "ampersand": "76,84 38,36 40,18 56,18 56,34 30,56 30,76 50,86 76,56",
    "12": "18,26 30,14 30,14 30,86 / 48,30 60,16 76,24 72,46 48,84 48,84 82,84",
    "10": "20,14 20,86 / 62,14 44,34 44,66 62,86 80,66 80,34 62,14",
    "37": "12,18 34,16 20,42 36,60 12,84 / 54,16 86,16 86,16 66,86",
    "48": "26,14 10,56 10,56 42,56 / 34,36 34,86 / 76,28 66,14 56,28 78,68 66,86 54,70 76,28",
}  # fmt: skip
"""Signs that are not digits, by name."""


@dataclass(frozen=True)
class Hand:
    """The habits of a hand.

    Attributes
    ----------
    slant : float
        Degrees by which uprights lean to the right.
    width : float
        Factor of the width.
    tremor : float
        Standard deviation of the tremor, in hundredths of the digit's height.
    loose : float
        Standard deviation of the corners, in the same unit.
    points : int
        Points between two corners: a slow hand leaves many.
    pen : float
        Width of the pen, as a share of the sheet.
    """

    slant: float
    width: float
    tremor: float
    loose: float
    points: int
    pen: float


HANDS = (
    Hand(slant=0, width=1.0, tremor=0.0, loose=0.8, points=6, pen=0.085),
    Hand(slant=8, width=0.85, tremor=0.3, loose=1.2, points=9, pen=0.085),
    Hand(slant=-5, width=1.1, tremor=0.2, loose=1.5, points=4, pen=0.05),
    Hand(slant=4, width=0.75, tremor=0.6, loose=1.0, points=12, pen=0.085),
    Hand(slant=10, width=0.95, tremor=0.4, loose=1.8, points=3, pen=0.13),
)
TILTS = (-30, -15, 0, 15, 30)
SIZES = (0.12, 0.2, 0.35, 0.6, 0.85)
"""Heights of a digit, as a share of the sheet."""


@dataclass(frozen=True)
class Drawn:
    """A drawing: its style, how it was drawn, and its strokes, arrays (N, 2) in the unit square."""

    style: str
    label: int | None
    hand: int
    tilt: float
    size: float
    strokes: list[NDArray[np.float64]]

    def marks(self) -> list[dict[str, Any]]:
        """Return the strokes as marks of the Draw view."""
        return [
            {
                "kind": "stroke",
                "points": [{"x": x, "y": y, "pressure": 1} for x, y in stroke.round(5).tolist()],
                "size": HANDS[self.hand].pen,
                "erases": False,
            }
            for stroke in self.strokes
        ]


def digits(times: int = 5, seed: int = 0) -> list[Drawn]:
    """Return every style `times` times, each time with another tilt."""
    labels = {style: label for style, (label, _) in DIGITS.items()}
    skeletons = {style: corners for style, (_, corners) in DIGITS.items()}
    return list(_drawn(skeletons, labels, times, seed))


def others(times: int = 5, seed: int = 1) -> list[Drawn]:
    """Return every sign that is not a digit `times` times."""
    return list(_drawn(OTHERS, {}, times, seed))


def _drawn(
    skeletons: dict[str, str], labels: dict[str, int], times: int, seed: int
) -> Iterator[Drawn]:
    rng = np.random.default_rng(seed)
    for row, (style, corners) in enumerate(skeletons.items()):
        for turn in range(times):
            hand = (row + turn) % len(HANDS)
            tilt, size = TILTS[turn % len(TILTS)], SIZES[(row + 2 * turn) % len(SIZES)]
            strokes = _strokes(corners, HANDS[hand], tilt, size, rng)
            yield Drawn(style, labels.get(style), hand, tilt, size, strokes)


def _strokes(
    corners: str, hand: Hand, tilt: float, size: float, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    slant, turn = np.tan(np.radians(hand.slant)), np.radians(tilt)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ [[1, -slant], [0, 1]] @ np.diag([hand.width, 1])
    center = rng.uniform(0.5 - (1 - size) / 2, 0.5 + (1 - size) / 2, 2)
    strokes = []
    for part in corners.split("/"):
        ends = np.array([corner.split(",") for corner in part.split()], float) - 50
        same = (ends[1:] == ends[:-1]).all(axis=1)
        shift = rng.normal(0, hand.loose, ends.shape)
        shift[1:][same] = shift[:-1][same]  # a corner stays sharp
        path = curve(ends + shift, hand.points)
        path = path + rng.normal(0, hand.tremor, path.shape)
        strokes.append(np.clip(path @ matrix.T / 78 * size + center, 0, 1))
    return strokes


def curve(ends: NDArray[np.float64], between: int) -> NDArray[np.float64]:
    """Return the places of a pen led through corners smoothly (Catmull and Rom, 1974)."""
    a, b, c, d = (np.pad(ends, ((1, 1), (0, 0)), "edge")[i : len(ends) - 1 + i] for i in range(4))
    square, cube = 2 * a - 5 * b + 4 * c - d, 3 * (b - c) + d - a
    shares = np.arange(between) / between
    places = [b + s / 2 * (c - a + s * (square + s * cube)) for s in shares]
    return np.concatenate([np.stack(places, 1).reshape(-1, 2), ends[-1:]])
