"""The application as a whole: its files, its start, its end, and its command."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from support.studio import BEARER, running_studio, studio_client
from typer.testing import CliRunner

from tinygrad_cnn import support
from tinygrad_cnn.cli import app as command
from tinygrad_cnn.data import digits
from tinygrad_cnn.studio import Limits, StudioSettings, files, server, settings
from tinygrad_cnn.studio.encoding import decode_input
from tinygrad_cnn.studio.files import MEDIA_TYPES
from tinygrad_cnn.train import OPTIMIZERS, SCHEDULES

STATIC = Path(files.__file__).parent / "static"
FOLDERS = STATIC, Path(support.__file__).parent / "static"
OUTSIDE = [
    "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "//etc/passwd",
    "/static//etc/passwd", "/static/js", "/static/js/", "/static", "/static/index.html",
    "/static/js/main.js/", "/static/js/main.js%00", "/static/JS/main.js", "/etc/passwd",
    "/%2fetc%2fpasswd", "/static/\\..\\app.py", "/studio.db", "/favicon.ico",
]  # fmt: skip


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("studio")) as client:
        yield client


# --- files ---------------------------------------------------------------------------------------


def test_every_file_of_the_front_end_is_given_and_typed(studio: TestClient) -> None:
    pages = {"index.html": "/", "docs.html": "/docs"}
    for file in (file for folder in FOLDERS for file in folder.rglob("*.*")):
        name = file.as_posix().rpartition("/static/")[2]
        answer = studio.get(pages.get(name, f"/static/{name}"))
        assert answer.status_code == 200, name
        assert name in pages or answer.content == file.read_bytes()
        assert answer.headers["Content-Type"] == MEDIA_TYPES[file.suffix]
        assert answer.headers["Cache-Control"] == "no-cache"


def test_no_style_sheet_imports_another() -> None:
    """A page has its sheets joined into one, in which an import would have no effect."""
    for file in (STATIC / "css").iterdir():
        assert "@import" not in file.read_text("utf-8"), file.name


def test_a_page_refers_to_files_that_are_kept_for_good(studio: TestClient) -> None:
    for page in ("/", "/docs"):
        text = studio.get(page).text
        names = re.findall(r'"(/static/[^"]+)"', text)
        assert len({name.split("/")[2] for name in names}) == 1
        assert text.count('rel="stylesheet"') == 1
        for name in names:
            answer = studio.get(name)
            assert answer.status_code == 200, name
            assert "immutable" in answer.headers["Cache-Control"]
    linked = re.findall(r'href="/(static/css/[^"]+)"', (STATIC / "index.html").read_text())
    style = studio.get("/static/css/of-index.css").content
    assert style == b"\n".join((STATIC.parent / name).read_bytes() for name in linked)


def test_what_is_large_is_compressed_for_who_takes_it(studio: TestClient) -> None:
    """Files and answers: but no event stream, no picture, and nothing that is tiny."""
    plain = {"Accept-Encoding": "identity"}
    for path in ("/", "/static/js/main.js", "/api/state", "/api/images?limit=20"):
        packed, whole = studio.get(path), studio.get(path, headers=plain)
        assert packed.content == whole.content
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in whole.headers
        assert int(packed.headers["Content-Length"]) < 0.7 * int(whole.headers["Content-Length"])
        for answer in (packed, whole):
            assert "Accept-Encoding" in answer.headers["Vary"]
    for path in ("/api/models/1/weights", "/api/drawings"):
        assert "Content-Encoding" not in studio.get(path).headers


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_other_address_gives_a_file(studio: TestClient, path: str) -> None:
    answer = studio.get(f"http://127.0.0.1:8017{path}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/docs#not-found"


def test_no_request_reaches_the_file_system_with_a_path_of_its_own(
    studio: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*arguments: object, **more: object) -> None:
        raise AssertionError(f"the file system is asked for {arguments}")

    with monkeypatch.context() as patched:
        for name in ("stat", "open", "lstat", "scandir"):
            patched.setattr(os, name, touched)
        patched.setattr("builtins.open", touched)
        statuses = {studio.get(f"http://127.0.0.1:8017{path}").status_code for path in OUTSIDE}
    assert statuses == {404}


def test_a_file_can_be_read_and_nothing_else(studio: TestClient) -> None:
    assert studio.head("/").status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = studio.request(method, "/static/js/main.js")
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD"


def test_an_unchanged_file_is_not_sent_again(studio: TestClient) -> None:
    for path in ("/", "/static/js/main.js"):
        tag = studio.get(path).headers["ETag"]
        for known in (tag, f'"other", {tag}'):
            again = studio.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["Cache-Control"] == "no-cache"
    changed = studio.get("/static/js/main.js", headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


def test_pages_ask_for_nothing_from_elsewhere(studio: TestClient) -> None:
    for file in (file for folder in FOLDERS for file in folder.rglob("*.*")):
        text = file.read_text()
        for address in ("https://", "//cdn", "@import url", "http://"):
            found = text.replace("http://www.w3.org/", "").find(address)
            assert found < 0, (file.name, text[max(0, found - 40) : found + 60])


def test_pages_hold_no_script_and_no_style_that_the_policy_forbids() -> None:
    for file in STATIC.glob("*.html"):
        text = file.read_text()
        assert "<style" not in text
        assert " style=" not in text
        assert " on" not in text.replace(" on ", "")
        assert text.count("<script") == text.count('<script type="module" src="/static/')


# --- state and images ----------------------------------------------------------------------------


def test_the_state_tells_what_a_page_needs_first(studio: TestClient) -> None:
    told = studio.get("/api/state").json()
    assert told["promoted"]["id"] == 1
    assert told["promoted"]["promoted"] is True
    assert told["training"] is None
    assert told["data"][:2] == ["european-digits", "digits"]
    choices = told["choices"]
    assert choices["models"]["lenet5"]["options"]["activation"] == "relu"
    assert choices["optimizers"].keys() == OPTIMIZERS.keys()
    for name, row in OPTIMIZERS.items():
        answer = choices["optimizers"][name]
        assert (answer["label"], answer["lr"]) == (row.label, row.defaults["lr"])
        assert answer["options"].keys() == row.options.keys()
    assert choices["schedules"].keys() == SCHEDULES.keys()
    assert choices["activations"]["leaky_relu"]["options"] == {"negative_slope": 0.01}


def test_the_images_are_those_of_the_set(studio: TestClient) -> None:
    told = studio.get("/api/images", params={"label": 7, "offset": 3, "limit": 5}).json()
    test = digits().test
    assert told["total"] == int((test.labels == 7).sum())
    assert len(told["images"]) == 5
    for image in told["images"]:
        assert image["label"] == test.labels[image["index"]] == 7
        assert (decode_input(image["input"]) == test.images[image["index"], 0]).all()
    train = studio.get("/api/images", params={"part": "train"}).json()
    assert train["total"] == 10_000
    assert studio.get("/api/images", params={"offset": 2000}).json()["images"] == []


@pytest.mark.parametrize("data", ["../digits", "/etc", "fashion-mnist", "", "digits.npz", "\x00"])
def test_no_other_images_can_be_asked_for(studio: TestClient, data: str) -> None:
    answer = studio.get("/api/images", params={"data": data})
    assert answer.status_code == 404


# --- the server ----------------------------------------------------------------------------------


def test_a_server_answers_at_once_and_ends_tidily(tmp_path: Path) -> None:
    with running_studio(tmp_path) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(
                f"GET /api/state HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
                f"Authorization: {BEARER['Authorization']}\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"server: uvicorn" not in answer
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
    assert not list((tmp_path / "data").glob("studio.db-*"))  # the log is put away


def test_two_studios_do_not_share_a_folder_or_a_port(tmp_path: Path) -> None:
    with running_studio(tmp_path) as running:
        port = running.url.split(":")[-1]
        for arguments, said in (
            (["--data-dir", str(running.data_dir), "--port", "0"], "is in use by another process"),
            (["--data-dir", str(tmp_path / "other"), "--port", port], "cannot listen at 127.0.0.1"),
        ):
            second = subprocess.run(
                [sys.executable, "-m", "tinygrad_cnn", "studio", "--no-browser", *arguments],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert second.returncode == 1
            assert second.stdout == ""
            assert said in second.stderr
            assert second.stderr.startswith("error: ")


def test_answers_do_not_wait_for_more_to_send(tmp_path: Path) -> None:
    with server._listening(StudioSettings(data_dir=tmp_path, port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://127.0.0.1:8017"),
        ({"host": "::1", "port": 9}, "http://[::1]:9"),
        ({"host": "::"}, "http://[::1]:8017"),
        ({"host": "Studio.example", "port": 80}, "http://studio.example"),
        ({"public_url": "https://studio.example/"}, "https://studio.example"),
        ({"public_url": "https://studio.example:8443"}, "https://studio.example:8443"),
    ],
)
def test_the_address_is_one_that_a_browser_takes(
    tmp_path: Path, options: dict[str, object], address: str
) -> None:
    settings = StudioSettings(data_dir=tmp_path, **options)
    assert server.address(settings, "t" * 16) == f"{address}/?token={'t' * 16}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--public-url", "studio.example"], "the public URL is 'studio.example', expected https:"),
        (["--public-url", "https://a.example/b"], "expected https://NAME without a path"),
        (["--port", "70000"], "port is 70000, expected 0 to 65535"),
        (["--port", "-1"], "'--port': '-1', expected an integer >= 0"),
        (["--token", "short"], "the token has 5 characters, expected 16 to 256 letters"),
        (["--host", " "], "host is ' ', expected a name or an address"),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(command, ["studio", "--no-browser", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "studio.db").write_bytes(b"no database" * 1000)
    arguments = ["studio", "--no-browser", "--port", "0", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "studio.db: " in result.stderr


def test_the_data_lie_where_the_platform_keeps_such(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings.default_data_dir()
    assert found.is_absolute()
    assert found.parts[-2:] == ("tinygrad-cnn", "studio")


def test_the_package_loads_without_what_only_the_studio_needs() -> None:
    script = """
import sys, tinygrad_cnn, tinygrad_cnn.cli, tinygrad_cnn.studio
heavy = {"fastapi", "starlette", "sqlalchemy", "alembic", "uvicorn", "pydantic", "PIL"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_where_the_extra_is_lacking_the_command_says_how_to_install_it() -> None:
    script = """
import sys
sys.modules["uvicorn"] = None  # as if it were not there
sys.argv = ["tinygrad-cnn", "studio"]
from tinygrad_cnn.cli import main
main()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == (
        "error: the studio needs the module 'uvicorn', which is not installed: "
        'pip install "tinygrad_cnn[studio]"\n'
    )


def test_a_supervised_studio_begins_to_train_and_stops_with_its_app(tmp_path: Path) -> None:
    limits = Limits(requests_per_second=1000.0)
    with studio_client(tmp_path, trained=False, supervised=True, limits=limits) as client:
        runs = client.get("/api/runs").json()["runs"]
        assert [run["state"] for run in runs] in (["queued"], ["running"])
        process = client.app.state.services.supervisor
    assert process.workers == {}
