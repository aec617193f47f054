"""Files that have the names of modules."""

from __future__ import annotations

from pathlib import Path

NAMES = ("json", "numpy", "random", "socket", "tempfile")


def shadow(folder: Path) -> None:
    """Write files that end a program which imports them."""
    for name in NAMES:
        (folder / f"{name}.py").write_text("raise SystemExit(f'imported {__file__}')\n")
