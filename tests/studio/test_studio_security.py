"""Who is answered: requests with the right name, from the studio's own pages, with the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from support.studio import studio_client

from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio.security import CONTENT_SECURITY_POLICY, COOKIE, Security

HERE = "http://127.0.0.1:8017"
TOKEN = "a-token-of-some-length"
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "https://127.0.0.1:8017"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": HERE},
]


def guarded(tmp_path: Path, host: str = "127.0.0.1", token: str | None = None) -> TestClient:
    """Return a client of nothing but the guard: what it lets through is answered "in"."""
    settings = StudioSettings(data_dir=tmp_path, host=host, token=token)
    return TestClient(
        Security(PlainTextResponse("in"), settings), base_url=HERE, follow_redirects=False
    )


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("studio")) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8017", "localhost:8017", "LOCALHOST:8017", "[::1]:8017", "127.9.9.9:8017"]
)
def test_this_machines_names_are_answered(tmp_path: Path, host: str) -> None:
    assert guarded(tmp_path).get("/", headers={"Host": host}).text == "in"


@pytest.mark.parametrize(
    "host",
    ["evil.example:8017", "evil.example", "localhost.evil.example:8017", "127.0.0.1", "", ":8017",
     "127.0.0.1:80", "127.0.0.1.nip.io:8017", "192.168.0.7:8017", "localhost:8017:8017",
     "user@localhost:8017", "[::1]", "[::1:8017", "localhost:8017/x"],
)  # fmt: skip
def test_a_rebound_name_is_refused(tmp_path: Path, host: str) -> None:
    answer = guarded(tmp_path).get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["type"] == "/docs#host"


def test_an_open_server_is_called_by_address_or_its_own_name_but_no_other(tmp_path: Path) -> None:
    client = guarded(tmp_path, "0.0.0.0", TOKEN)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for host, status in (("192.168.0.7:8017", 200), ("evil.example:8017", 421)):
        assert client.get("/", headers={"Host": host, **bearer}).status_code == status
    named = guarded(tmp_path, "studio.example", TOKEN)
    answer = named.get("/", headers={"Host": "studio.example:8017", **bearer})
    assert answer.status_code == 200


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_other_sites_are_refused(tmp_path: Path, method: str, headers: dict[str, str]) -> None:
    answer = guarded(tmp_path).request(method, "/api/models/1", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"] == "/docs#foreign"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": HERE}, {"Origin": HERE, "Sec-Fetch-Site": "same-origin"},
     {"Sec-Fetch-Site": "none"}],
)  # fmt: skip
def test_own_pages_and_programs_are_answered(tmp_path: Path, headers: dict[str, str]) -> None:
    assert guarded(tmp_path).post("/api/models/1", headers=headers).text == "in"


def test_a_link_on_another_site_may_open_the_page_and_nothing_else(tmp_path: Path) -> None:
    client = guarded(tmp_path)
    opened = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    assert client.get("/", headers=opened).text == "in"
    assert client.get("/api/models/1/weights", headers=opened).status_code == 403
    assert client.post("/", headers=opened).status_code == 403
    assert client.get("/", headers={**opened, "Sec-Fetch-Dest": "iframe"}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/api/state", "/openapi.json", "/no"])
def test_every_answer_forbids_what_a_page_need_not_do(studio: TestClient, path: str) -> None:
    headers = studio.get(path).headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_no_policy_lets_a_script_in_that_is_written_into_the_page() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; script-src 'self';")


def test_a_route_may_have_a_policy_of_its_own(tmp_path: Path) -> None:
    own = PlainTextResponse("in", headers={"Content-Security-Policy": "sandbox"})
    client = TestClient(Security(own, StudioSettings(data_dir=tmp_path)), base_url=HERE)
    assert client.get("/").headers["Content-Security-Policy"] == "sandbox"


# --- the token -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/api/models", "/openapi.json"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": f"{COOKIE}=x"},
        {"Cookie": f"other={TOKEN}"},
        {"Cookie": ";;=;\x01"},
    ],
)
def test_without_the_token_nothing_is_given(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    answer = guarded(tmp_path, token=TOKEN).get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_the_token_is_taken_from_either_header(tmp_path: Path) -> None:
    client = guarded(tmp_path, token=TOKEN)
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"Cookie": f"a=b; {COOKIE}={TOKEN}"}):
        assert client.get("/api/models", headers=headers).text == "in"


def test_the_address_with_the_token_sets_a_cookie_that_scripts_and_other_sites_lack(
    tmp_path: Path,
) -> None:
    client = guarded(tmp_path, token=TOKEN)
    answer = client.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").text == "in"  # the client kept the cookie


@pytest.mark.parametrize("path", ["/?token=wrong", f"/api/models?token={TOKEN}"])
def test_a_token_in_another_address_opens_nothing(tmp_path: Path, path: str) -> None:
    assert guarded(tmp_path, token=TOKEN).get(path).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "studio.example"])
def test_a_server_for_others_needs_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="which other machines can reach: set a token"):
        StudioSettings(data_dir=tmp_path, host=host)
    assert StudioSettings(data_dir=tmp_path, host=host, token=TOKEN).host == host


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters", "x" * 257, "sixteen letters!!",
                                   "semicolon;semicolon", "é" * 20])  # fmt: skip
def test_a_token_is_long_and_fits_into_a_header(tmp_path: Path, token: str) -> None:
    with pytest.raises(ValueError, match="characters, expected 16 to 256 letters"):
        StudioSettings(data_dir=tmp_path, token=token)
