"""Fetch files once, by their sha256, into the user's cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinygrad_cnn.data.errors import DataError, require

__all__ = ["cache", "download"]


def download(name: str, url: str, sha256: Mapping[str, str], instead: str) -> Path:
    """Download what is not yet in the user's cache.

    Parameters
    ----------
    name : str
        The name of the set, and of its folder in the cache.
    url : str
        The address that the file names are appended to.
    sha256 : mapping of str to str
        The hexadecimal hash of every file, by file name.
    instead : str
        What the error suggests: the words before "a folder that holds the files".

    Returns
    -------
    Path
        The folder in the cache; every file in it has the hash asked for.

    Raises
    ------
    DataError
        If a file cannot be had, or has another hash; it is then not kept.
    ModuleNotFoundError
        If ``pooch`` is not installed.

    Examples
    --------
    >>> hashes = {"letters.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"}
    >>> download("letters", "https://example.org/", hashes, "make")  # downloads  # doctest: +SKIP
    PosixPath('/home/me/.cache/tinygrad_cnn/letters')
    """
    pooch = require("pooch", f"downloading {name}")
    folder = cache(name)
    for file, expected in sha256.items():
        address = f"{url.rstrip('/')}/{file}"
        try:
            pooch.retrieve(address, known_hash=f"sha256:{expected}", fname=file, path=folder)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            raise DataError(
                f"{name}: {address} could not be downloaded to {folder}: {error}\n"
                f"Without a network: {instead} a folder that holds the files"
            ) from error
    return folder


def cache(name: str) -> Path:
    """Return the folder in the user's cache where `download` keeps a set; it may not exist."""
    return Path(require("pooch", f"downloading {name}").os_cache("tinygrad_cnn"), name)
