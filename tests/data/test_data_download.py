"""Downloads, tried against a server of this machine."""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_cnn.data import DataError, cifar100, fashion_mnist, idx_folder, is_local, load, mnist
from tinygrad_cnn.data.cifar import CIFAR_SETS
from tinygrad_cnn.data.idx_sets import FILES, SETS

pooch = pytest.importorskip("pooch", reason="needs the extra data")

pytestmark = pytest.mark.usefixtures("no_data_folder")


@dataclass
class Server:
    url: str
    folder: Path
    asked: list[str]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda name: folder / name)
    return folder / "tinygrad_cnn" / "mnist"


@pytest.fixture
def server(idx_files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the tiny set as if it were MNIST, and note what is asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            asked.append(self.path)

    hashes = tuple(hashlib.sha256((idx_files / file).read_bytes()).hexdigest() for file in FILES)
    monkeypatch.setitem(SETS, "mnist", replace(SETS["mnist"], sha256=hashes))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(idx_files))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{http.server_port}/", idx_files, asked)
        finally:
            http.shutdown()
            thread.join()


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_set_is_downloaded_once_and_then_taken_from_the_cache(
    server: Server, cache: Path, slash: str
) -> None:
    url = server.url.rstrip("/") + slash
    first = mnist(url=url)
    assert server.asked == [f"/{file}" for file in FILES]
    assert kept(cache) == sorted(FILES)
    again = mnist(url=url)
    assert len(server.asked) == len(FILES)
    for split in (first, again):
        np.testing.assert_array_equal(split.train.images, idx_folder(server.folder).train.images)


def test_the_address_of_the_table_is_used_by_default(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETS, "mnist", replace(SETS["mnist"], url=server.url))
    assert len(load("mnist").train) == 20
    assert kept(cache) == sorted(FILES)


def test_a_url_that_is_given_comes_before_the_variable_and_a_folder_before_both(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path / "nowhere"))
    mnist(server.folder, url=server.url)
    assert not server.asked
    mnist(url=server.url)
    assert server.asked


def test_a_file_with_another_hash_is_refused_and_not_kept(server: Server, cache: Path) -> None:
    (server.folder / FILES[0]).write_bytes(b"something else")
    with pytest.raises(
        DataError, match=f"mnist: {server.url}{FILES[0]} could not be downloaded"
    ) as e:
        mnist(url=server.url)
    assert "does not match the known hash" in str(e.value)
    assert kept(cache) == []


def test_a_file_damaged_in_the_cache_is_downloaded_again(server: Server, cache: Path) -> None:
    mnist(url=server.url)
    (cache / FILES[1]).write_bytes(b"damaged")
    assert len(mnist(url=server.url).train) == 20
    assert server.asked[len(FILES) :] == [f"/{FILES[1]}"]


def test_a_file_that_the_server_lacks_is_refused_and_what_came_is_used_later(
    server: Server, cache: Path
) -> None:
    hidden = (server.folder / FILES[2]).rename(server.folder / "hidden")
    with pytest.raises(DataError, match=f"{FILES[2]} could not be downloaded.*404"):
        mnist(url=server.url)
    hidden.rename(server.folder / FILES[2])
    mnist(url=server.url)
    assert server.asked.count(f"/{FILES[0]}") == 1


def test_a_server_that_is_gone_is_named_with_the_way_out(cache: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as http:
        url = f"http://127.0.0.1:{http.server_port}/"
    message = rf"{re.escape(url)}{FILES[0]} could not be downloaded[\s\S]*set TINYGRAD_CNN_DATA to"
    with pytest.raises(DataError, match=message):
        fashion_mnist(url=url)
    assert kept(cache.with_name("fashion-mnist")) == []


def test_cifar_is_downloaded_as_its_binary_archive(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(server.folder / "cifar-100-binary.tar.gz", "w:gz") as archive:
        for file in ("train.bin", "test.bin"):
            (server.folder / file).write_bytes(bytes([3, 7]) + 3072 * b"\x05")
            archive.add(server.folder / file, f"cifar-100-binary/{file}")
    contents = (server.folder / "cifar-100-binary.tar.gz").read_bytes()
    known = replace(CIFAR_SETS["cifar100"], sha256=hashlib.sha256(contents).hexdigest())
    monkeypatch.setitem(CIFAR_SETS, "cifar100", known)
    for _ in range(2):
        split = cifar100(url=server.url)
        assert (split.train.labels.item(), split.train.images.max()) == (7, 5)
    assert server.asked == ["/cifar-100-binary.tar.gz"]
    assert is_local("cifar100")


def test_without_pooch_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        ModuleNotFoundError, match="downloading mnist needs the module 'pooch'"
    ) as e:
        mnist()
    assert 'pip install "tinygrad_cnn[data]"' in str(e.value)
