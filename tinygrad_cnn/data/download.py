"""Where published sets are: a folder, or a download verified by SHA-256 and kept in a cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.support.modules import needs_extra

__all__ = ["DATA_VARIABLE", "cache", "download", "local_folder"]

DATA_VARIABLE = "TINYGRAD_CNN_DATA"


def local_folder(folder: str | os.PathLike[str] | None, url: str | None) -> Path | None:
    """Return the folder to read a published set from, or None for a download.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder that a caller chose, if any.
    url : str, optional
        The address that a caller chose, if any; then ``TINYGRAD_CNN_DATA`` is ignored.
    """
    if folder is not None:
        return Path(folder)
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named and url is None else None


def download(name: str, url: str, sha256: Mapping[str, str], instead: str) -> Path:
    """Download files that are not yet in the user's cache.

    Parameters
    ----------
    name : str
        The name of the set, and of its folder in the cache.
    url : str
        The base URL; file names are appended to it.
    sha256 : mapping of str to str
        The hexadecimal hash of each file, by file name.
    instead : str
        The suggestion in the message: the words before "a folder that holds the files".

    Returns
    -------
    Path
        The folder in the cache, whose files have the given hashes.

    Raises
    ------
    DataError
        If a file cannot be downloaded, or has another hash; it is then discarded.
    ModuleNotFoundError
        If ``pooch`` is not installed.

    Examples
    --------
    >>> hashes = {"letters.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"}
    >>> download("letters", "https://example.org/", hashes, "make")  # downloads  # doctest: +SKIP
    PosixPath('/home/me/.cache/tinygrad_cnn/letters')
    """
    with needs_extra("data", f"downloading {name}"):
        import pooch
    folder = cache(name)
    for file, expected in sha256.items():
        address = f"{url.rstrip('/')}/{file}"
        try:
            pooch.retrieve(address, known_hash=f"sha256:{expected}", fname=file, path=folder)
        except (OSError, ValueError) as error:  # requests raises OSErrors
            raise DataError(
                f"{name}: {address} could not be downloaded to {folder}: {error}\n"
                f"Without a network: {instead} a folder that holds the files"
            ) from error
    return folder


def cache(name: str) -> Path:
    """Return the user's cache folder of a set, used by `download`; it may not exist."""
    with needs_extra("data", f"downloading {name}"):
        import pooch
    return Path(pooch.os_cache("tinygrad_cnn"), name)
