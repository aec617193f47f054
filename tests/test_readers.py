"""Damaged files: every reader returns what it declares or raises its error, which names the file.

`support.mutations` damages them, in bytes and in structure; `support.readers` lists the readers.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.machine import lengthy
from support.readers import READERS, Reader, fuzz

each_reader = pytest.mark.parametrize("reader", READERS, ids=[each.name for each in READERS])


FOUND = {  # further seeds that have found a fault
    "cifar, archive": [106],
    "idx.gz": [1294],
    "idx folder": [1077],
    "read_state": [129],
    "restore": [1711],
    "resumed, settings": [4338],
    "results": [1910, 1118],
    "settings": [1055],
}


def check(reader: Reader, folder: Path, seeds: Sequence[int]) -> None:
    wrong = list(fuzz(reader, folder, seeds))
    if wrong:
        seed, error = wrong[0]
        text = "".join(traceback.format_exception(error)[-6:])
        pytest.fail(f"{len(wrong)} of {len(seeds)}, first seed {seed}: {text}")


@each_reader
def test_a_damaged_file_is_refused_by_name_or_read_as_declared(
    reader: Reader, tmp_path: Path
) -> None:
    check(reader, tmp_path, [*range(60), *FOUND.get(reader.name, ())])


@lengthy
@each_reader
def test_a_file_damaged_in_ten_thousand_ways_is_refused_or_read(
    reader: Reader, tmp_path: Path
) -> None:
    check(reader, tmp_path, range(10_000))
