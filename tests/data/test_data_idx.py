"""IDX files: what is written is read, and whatever else is refused."""

from __future__ import annotations

import gzip
import struct
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, read_idx, write_idx

IDX_DTYPES = st.sampled_from(["u1", "i1", "<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<f8", ">f8"])
ARRAYS = hnp.arrays(IDX_DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))

PLAIN = struct.pack(">HBB2I", 0, 0x0B, 2, 2, 3) + bytes(range(12))  # int16 of shape (2, 3)


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@given(ARRAYS)
def test_reading_an_idx_file_gives_back_the_array_written(array: NDArray[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "array.gz")
        write_idx(path, array)
        again = read_idx(path)
    assert again.dtype == array.dtype.newbyteorder("=")
    assert again.dtype.isnative
    assert again.flags.writeable
    np.testing.assert_array_equal(again, array)
    assert again.shape == array.shape


@given(ARRAYS)
def test_a_plain_idx_file_reads_as_the_gzipped_one_whatever_its_name(array: NDArray[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        zipped, plain = Path(folder, "named-as-plain"), Path(folder, "named-as-gzip.gz")
        write_idx(zipped, array)
        plain.write_bytes(gzip.decompress(zipped.read_bytes()))
        np.testing.assert_array_equal(read_idx(plain), read_idx(zipped))


def test_the_layout_is_that_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    write_idx(path, np.frombuffer(PLAIN[12:], ">i2").reshape(2, 3))
    assert gzip.decompress(path.read_bytes()) == PLAIN


def test_writing_twice_gives_the_same_bytes_under_any_name_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "one.gz", np.arange(5, dtype=np.uint8))
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_idx(tmp_path / "two.gz", np.arange(5, dtype=np.uint8))
    one = (tmp_path / "one.gz").read_bytes()
    assert one == (tmp_path / "two.gz").read_bytes()
    assert one[3] == 0  # gzip's flags: no stored name
    assert one[4:8] == bytes(4)  # and no time


@pytest.mark.parametrize("zipped", [False, True])
def test_every_truncation_of_an_idx_file_is_refused(tmp_path: Path, zipped: bool) -> None:
    whole = gzip.compress(PLAIN) if zipped else PLAIN
    for length in range(len(whole)):
        message = refusal(tmp_path / "x", whole[:length])
        assert zipped or length < 4 or message.startswith("truncated: ")
    (tmp_path / "x").write_bytes(whole)
    assert read_idx(tmp_path / "x").shape == (2, 3)


@pytest.mark.parametrize("zipped", [False, True])
def test_bytes_after_the_end_are_refused(tmp_path: Path, zipped: bool) -> None:
    longer = PLAIN + b"\0"
    message = refusal(tmp_path / "x", gzip.compress(longer) if zipped else longer)
    assert message == ("has more than 12 bytes of elements; expected 12 for shape (2, 3) of int16")


def test_bytes_after_the_gzip_stream_are_refused(tmp_path: Path) -> None:
    assert "damaged" in refusal(tmp_path / "x", gzip.compress(PLAIN) + b"junk")


@given(st.data())
def test_a_flipped_bit_in_a_gzipped_file_never_gives_another_array(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        array = np.arange(40, dtype=np.int32)
        write_idx(path, array)
        content = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            again = read_idx(path)
        except DataError:
            return
        np.testing.assert_array_equal(again, array)  # a bit of gzip's header that means nothing


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "the file is empty; expected an IDX file"),
        (b"<!DO", "not an IDX file: it starts with '3c 21 44 4f'; expected '00 00'"),
        (b"\x1f\x8b", "starts as gzip but is damaged"),
        (b"\x1f\x8bnot gzip after all", "starts as gzip but is damaged"),
        (gzip.compress(b"", mtime=0), "it starts with ''"),
        (gzip.compress(b"hello, world", mtime=0), "it starts with '68 65 6c 6c'"),
        (b"\0\0\x0a\x01\0\0\0\0", "expected '00 00', an element type (08, 09, 0b, 0c, 0d, 0e)"),
        (b"\0\0\x08\x02\0\0\0\1", "truncated: 4 bytes of lengths; expected 8 for the 2 axes"),
        (PLAIN[:-5], "truncated: 7 bytes of elements; expected 12 for shape (2, 3) of int16"),
        (b"\0\0\x08\x46" + b"\0\0\0\1" * 70 + b"\0", "NumPy holds no array of shape"),
        (b"\0\0\x08\x03" + b"\xff" * 8 + bytes(4), "NumPy holds no array of shape"),
    ],
)
def test_a_file_that_is_not_idx_is_refused_saying_what_came(
    tmp_path: Path, content: bytes, part: str
) -> None:
    assert part in refusal(tmp_path / "x", content)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_claims_a_tebibyte_allocates_nothing_of_it(
    tmp_path: Path, zipped: bool
) -> None:
    claim = struct.pack(">HBB2I", 0, 0x08, 2, 1 << 20, 1 << 20) + bytes(100)
    tracemalloc.start()
    try:
        message = refusal(tmp_path / "x", gzip.compress(claim) if zipped else claim)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "claims 1,024 GB; this machine has" in message
    assert peak < 1 << 24


@pytest.mark.parametrize("dtype", ["i8", "u2", "u4", "f2", "c8", "?", "O", "U3"])
def test_a_dtype_without_a_code_is_refused_and_nothing_is_written(
    tmp_path: Path, dtype: str
) -> None:
    with pytest.raises(DataError, match=r"IDX has no code for .*; expected one of uint8, int8"):
        write_idx(tmp_path / "x", np.zeros(3, dtype))
    assert not list(tmp_path.iterdir())


def test_an_axis_too_long_for_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shape \(4294967296, 0\): IDX axes are shorter"):
        write_idx(tmp_path / "x", np.empty((1 << 32, 0), np.uint8))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")
