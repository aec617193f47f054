"""What pytest needs before it collects doctests."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

PACKAGE = Path(__file__).parent / "tinygrad_cnn"


def pytest_collect_file(file_path: Path) -> None:
    """Import a module of the package before pytest does.

    With ``--import-mode=importlib``, pytest runs the file of a module again if the package that it
    is in has imported it already, and its tables, such as those of exporters, would exist twice.
    """
    if file_path.suffix == ".py" and PACKAGE in file_path.parents and file_path.stem != "__main__":
        name = file_path.relative_to(PACKAGE.parent).with_suffix("").as_posix()
        with suppress(ImportError):  # which pytest reports
            import_module(name.removesuffix("/__init__").replace("/", "."))
