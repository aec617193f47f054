"""Atomic file writes: a file is written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

__all__ = ["atomic_write", "digest", "remove_leftovers", "write_by_suffix"]

T = TypeVar("T")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file atomically: readers see the old contents or the new, never a part.

    The bytes go to a temporary file in the same folder, which is flushed to disk and replaces
    ``path`` when the block ends; then the folder is flushed, too. If the block raises, the
    temporary file is removed and ``path`` is unchanged. Symbolic links are followed, and an
    existing file keeps its mode.

    Parameters
    ----------
    path : str or path-like
        The file to write; its folder must exist.

    Yields
    ------
    BinaryIO
        A seekable file handle, open for writing bytes.

    Raises
    ------
    OSError
        If ``path`` is not a regular file, or the folder is missing, full or write-protected. Its
        ``filename`` is ``path``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder, "weights.bin")
    ...     with atomic_write(target) as file:
    ...         _ = file.write(b"abc")
    ...     target.read_bytes()
    b'abc'
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(f"{path}: cannot be written: it is not a regular file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: cannot be written: there is no folder {target.parent}")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:  # respects the umask, unlike tempfile's 0600
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = os.fspath(path)  # of a full disk, Python does not say where
        raise
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Write the entries of a folder to disk: without, a renamed file may be lost with the power."""
    with suppress(OSError):  # not every system opens folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed in `atomic_write`.

    No other process may be writing to `folder`.
    """
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_by_suffix(
    owner: str,
    path: str | os.PathLike[str],
    formats: Mapping[str, Callable[[T], str | bytes]],
    value: T,
) -> Path:
    """Write `value` to a file, atomically, with the writer for the file's suffix.

    Raises
    ------
    ValueError
        If `formats` has no such suffix; the message starts with `owner`.
    """
    target = Path(path)
    write = formats.get(target.suffix.lower())
    if write is None:
        raise ValueError(
            f"{owner}: path is {str(path)!r}, expected one ending in {', '.join(formats)}"
        )
    contents = write(value)
    with atomic_write(target) as file:
        file.write(contents if isinstance(contents, bytes) else contents.encode())
    return target


def digest(path: str | os.PathLike[str]) -> str:
    """Return the digest of a file that a figure drawn from it stores."""
    data = Path(path)
    return f"drawn from {data.name}, sha256 {hashlib.sha256(data.read_bytes()).hexdigest()}"
