"""Atomic writes: the old file or the new, never a part, and nothing left behind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tinygrad_cnn.support.files import atomic_write, remove_leftovers


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_there_whole_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with atomic_write(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_error_leaves_the_target_as_it_was_and_no_temporary_file(
    tmp_path: Path, error: type[BaseException], before: bytes | None
) -> None:
    path = tmp_path / "x"
    if before is not None:
        path.write_bytes(before)

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert (path.read_bytes() if path.exists() else None) == before
    assert names(tmp_path) == ([] if before is None else ["x"])


def test_a_failing_rename_leaves_the_target_as_it_was_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError("no")

    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PermissionError), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_the_bytes_are_on_the_disk_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(number: int) -> None:
        found = os.fstat(number)
        done.append(("fsync", "folder" if stat.S_ISDIR(found.st_mode) else found.st_size))
        fsync(number)

    def note_replace(source: Path, target: Path) -> None:
        done.append(("replace", source.stat().st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    with atomic_write(tmp_path / "x") as file:
        file.write(b"12345")
    assert done == [("fsync", 5), ("replace", 5), ("fsync", "folder")]


def test_only_the_temporary_files_of_killed_processes_are_leftovers(tmp_path: Path) -> None:
    kept = [".lock", ".x.tmp", "x.0123456789abcdef.tmp", ".hidden"]
    for name in [*kept, ".x.npz.0123456789abcdef.tmp"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_a_new_file_has_the_usual_mode_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    usual, old, new = (tmp_path / name for name in ("usual", "old", "new"))
    usual.touch()
    old.touch()
    old.chmod(0o600)
    for path in (old, new):
        with atomic_write(path):
            pass
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert new.stat().st_mode == usual.stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_a_symbolic_link_stays_one_and_what_it_names_is_written(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_folder_or_a_file_in_no_folder_is_refused_before_the_block_runs(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is not a regular file"), atomic_write(tmp_path):
        pytest.fail("the block ran")
    missing = tmp_path / "no" / "x"
    with pytest.raises(FileNotFoundError, match="there is no folder"), atomic_write(missing):
        pytest.fail("the block ran")
