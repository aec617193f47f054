"""Who is answered: requests with the right name, from the studio's own pages, with the token."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from support.studio import BEARER, TOKEN, studio_client

from tinygrad_cnn.studio import Limits, StudioSettings
from tinygrad_cnn.studio.limits import Buckets
from tinygrad_cnn.studio.security import CONTENT_SECURITY_POLICY, HEADERS, Security
from tinygrad_cnn.studio.tokens import Credentials

HERE = "http://127.0.0.1:8017"
OUTSIDE = "https://studio.example.org"
COOKIE = "studio_token_8017"
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "https://127.0.0.1:8017"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": HERE},
]


def guarded(
    tmp_path: Path,
    host: str = "127.0.0.1",
    url: str = HERE,
    headers: dict[str, str] | None = BEARER,
    **options: Any,
) -> TestClient:
    """Return a client of nothing but the guard: what it lets through is answered "in"."""
    settings = StudioSettings(data_dir=tmp_path, host=host, **{"token": TOKEN, **options})
    guard = Security(PlainTextResponse("in"), settings)
    return TestClient(guard, base_url=url, headers=headers, follow_redirects=False)


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
    client = guarded(tmp_path, "0.0.0.0")
    for host, status in (("192.168.0.7:8017", 200), ("evil.example:8017", 421)):
        assert client.get("/", headers={"Host": host}).status_code == status
    named = guarded(tmp_path, "studio.example")
    answer = named.get("/", headers={"Host": "studio.example:8017"})
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
    guard = Security(own, StudioSettings(data_dir=tmp_path, token=TOKEN))
    client = TestClient(guard, base_url=HERE, headers=BEARER)
    assert client.get("/").headers["Content-Security-Policy"] == "sandbox"


def test_a_mistake_in_the_server_is_answered_with_the_same_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with studio_client(tmp_path) as client:
        monkeypatch.setattr(client.app.state.services.store, "reading", None)
        broken = TestClient(
            client.app, base_url=HERE, headers=BEARER, raise_server_exceptions=False
        )
        answer = broken.get("/api/state")
    assert (answer.status_code, answer.json()["type"]) == (500, "/docs#internal")
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


# --- behind a proxy ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["studio.example.org", "studio.example.org:443", "127.0.0.1:8017"])
def test_behind_a_tls_proxy_the_page_is_opened_and_writes(tmp_path: Path, host: str) -> None:
    """A proxy passes on the name that the browser has sent, or the one that it was given."""
    client = guarded(tmp_path, url=OUTSIDE, public_url=f"{OUTSIDE}/", headers={"Host": host})
    opened = client.get("/", params={"token": TOKEN}, headers={"Sec-Fetch-Site": "none"})
    assert (opened.status_code, opened.headers["Location"]) == (303, "/")
    name, _, rest = opened.headers["Set-Cookie"].partition("=")
    assert name == "__Host-studio_token_443"
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(rest.lower().split("; "))
    own = {"Origin": OUTSIDE, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/models/1", headers=own).text == "in"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "studio.example.org:8017"}, 421),
        ({"Host": "studio.example.org:80"}, 421),
        ({"Origin": "http://studio.example.org"}, 403),
        ({"Origin": "https://studio.example.org:8443"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "127.0.0.1:8017", "Origin": "http://127.0.0.1:8018"}, 403),
    ],
)
def test_behind_a_proxy_other_names_and_sites_are_still_refused(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    client = guarded(tmp_path, url=OUTSIDE, public_url=OUTSIDE)
    assert client.get("/api/models", headers=headers).status_code == status


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
        {"Cookie": f"{COOKIE}={TOKEN}"},  # a cookie is none that a weak token would tell
        {"Cookie": f"other={TOKEN}"},
        {"Cookie": ";;=;\x01"},
    ],
)
def test_without_the_token_nothing_is_given(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    answer = guarded(tmp_path, headers=None).get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["type"] == "/docs#no-token"
    assert TOKEN not in answer.text


def test_a_token_is_generated_and_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    first, again, other = (Credentials.of(tmp_path / name) for name in ("a", "a", "b"))
    assert first == again
    assert not {*first} & {*other}
    StudioSettings(data_dir=tmp_path, token=first.token)  # it is long enough
    chosen = Credentials.of(tmp_path / "a", TOKEN)
    assert chosen.token == TOKEN
    assert chosen.cookie not in {*first}  # a new token ends the old cookies
    client = guarded(tmp_path / "a", headers=None, token=None)
    assert client.get("/api/models").status_code == 401
    bearer = {"Authorization": f"Bearer {first.token}"}
    assert client.get("/api/models", headers=bearer).text == "in"
    assert (tmp_path / "a" / "studio.key").stat().st_mode & 0o077 == 0


def test_first_requests_that_come_at_once_find_one_key(tmp_path: Path) -> None:
    for attempt in range(20):
        together = Barrier(8)

        def of(folder: Path, together: Barrier = together) -> Credentials:
            together.wait()
            return Credentials.of(folder)

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(of, [tmp_path / str(attempt)] * 8))
        assert len(set(found)) == 1


def test_the_address_with_the_token_leaves_a_cookie_that_scripts_and_other_sites_lack(
    tmp_path: Path,
) -> None:
    client = guarded(tmp_path, headers=None)
    for path in ("/", "/docs"):
        client.cookies.clear()
        answer = client.get(path, params={"token": TOKEN})
        assert (answer.status_code, answer.headers["Location"]) == (303, path)
        assert TOKEN not in answer.headers["Set-Cookie"]
        parts = answer.headers["Set-Cookie"].lower().split("; ")
        assert {"httponly", "samesite=lax", "path=/"} <= set(parts)
        assert "secure" not in parts  # it is not sent over TLS
        assert client.get("/api/models").text == "in"  # the client kept the cookie


@pytest.mark.parametrize(
    "others",
    ["a=b; {}", "{}; a=b", 'x="\\"; {}', "a[b]=c; {}", "=; ;;{}", "\x01; {}", "a=\x7f;{}",
     "é=1; {}", COOKIE + "=old; {}", "x" * 4000 + "; {}"],
)  # fmt: skip
def test_cookies_of_other_programs_lock_nobody_out(tmp_path: Path, others: str) -> None:
    own = f"{COOKIE}={Credentials.of(tmp_path, TOKEN).cookie}"
    sent = others.format(own).encode("utf-8")
    answer = guarded(tmp_path, headers=None).get("/api/models", headers={"Cookie": sent})
    assert answer.text == "in"


def test_studios_at_two_ports_of_one_host_have_two_cookies(tmp_path: Path) -> None:
    clients = [
        guarded(tmp_path / str(port), url=f"http://127.0.0.1:{port}", port=port, headers=None)
        for port in (8017, 8018)
    ]
    for client in clients:
        assert client.get("/", params={"token": TOKEN}).status_code == 303
    both = "; ".join(f"{name}={value}" for each in clients for name, value in each.cookies.items())
    for client in clients:  # a browser sends the cookies of a host to all of its ports
        assert client.get("/api/models", headers={"Cookie": both}).text == "in"


@pytest.mark.parametrize("path", ["/?token=wrong", f"/api/models?token={TOKEN}"])
def test_a_token_in_another_address_opens_nothing(tmp_path: Path, path: str) -> None:
    assert guarded(tmp_path, headers=None).get(path).status_code == 401


def test_wrong_tokens_are_counted_for_each_client_and_stop_nobody_else(tmp_path: Path) -> None:
    settings = StudioSettings(data_dir=tmp_path, token=TOKEN, limits=Limits(guesses=3))
    guard = Security(PlainTextResponse("in"), settings)
    clock = [0.0]
    guard._guesses = Buckets(1 / settings.limits.seconds_per_guess, 3, lambda: clock[0])

    def asked(token: str, client: str = "192.168.0.1", **headers: str) -> Any:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        asking = TestClient(guard, base_url=HERE, headers={**bearer, **headers}, client=(client, 1))
        return asking.get("/api/models")

    for _ in range(5):  # a program that sends an old token again and again guesses nothing
        assert asked("an-old-token").status_code == 401
    assert [asked(f"guess-{i}").status_code for i in range(4)] == [401, 401, 429, 429]
    assert 1 <= int(asked("guess-9").headers["Retry-After"]) <= 5
    assert asked(TOKEN).status_code == 429  # it is not even compared
    assert asked(TOKEN, client="192.168.0.2").text == "in"
    cookie = f"{COOKIE}={Credentials.of(tmp_path, TOKEN).cookie}"
    assert asked("", Cookie=cookie).text == "in"  # the same client's open pages go on
    clock[0] += settings.limits.seconds_per_guess
    assert [asked(TOKEN).text for _ in range(50)] == ["in"] * 50  # the right one is not a guess


def test_a_browser_without_the_token_gets_a_page_and_a_program_a_problem(tmp_path: Path) -> None:
    client = guarded(tmp_path, headers={"Accept": "text/html,*/*"}, limits=Limits(guesses=1))
    client.app._guesses.now = lambda: 0.0
    for path, said in (
        ("/", ""),
        ("/?token=<script>", "This is not the studio&#x27;s token"),
        ("/?token=other", "There were too many wrong tokens; wait 5 s"),
    ):
        answer = client.get(path)
        assert answer.status_code in {401, 429}
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f'role="alert">{said}</p>' in answer.text
        assert "<script" not in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert policy.replace("form-action 'self'", "form-action 'none'") == CONTENT_SECURITY_POLICY
    for path in ("/static/css/tokens.css", "/static/css/token.css", "/static/favicon.svg"):
        assert client.get(path).text == "in"
    assert client.post("/").headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters", "x" * 257, "sixteen letters!!",
                                   "semicolon;semicolon", "é" * 20])  # fmt: skip
def test_a_token_is_long_and_fits_into_a_header(tmp_path: Path, token: str) -> None:
    with pytest.raises(ValueError, match="characters, expected 16 to 256 letters"):
        StudioSettings(data_dir=tmp_path, token=token)


@pytest.mark.parametrize(
    "url", ["studio.example", "ftp://a", "https://", "https://a/b", "https://a?b", "https://a#b",
            "https://a:x", "https://a:99999", "https://a@b", "https://a b", ""],
)  # fmt: skip
def test_a_public_url_is_an_address_and_nothing_else(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="expected https://NAME without a path"):
        StudioSettings(data_dir=tmp_path, public_url=url)


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="has no such permissions")
@pytest.mark.parametrize("earlier", [False, True])
def test_what_is_stored_is_read_by_its_owner_alone(tmp_path: Path, earlier: bool) -> None:
    data_dir = tmp_path / "data"
    if earlier:  # as a version before has left it
        with studio_client(tmp_path):
            pass
        for path in (data_dir, *data_dir.iterdir()):
            path.chmod(0o777 if path.is_dir() else 0o666)
    with studio_client(tmp_path) as client:
        assert client.patch("/api/models/1", json={"name": "x"}).status_code == 200
        found = {path.name: path.stat().st_mode & 0o777 for path in data_dir.iterdir()}
        assert {"studio.db", "studio.db-wal", "studio.db-shm", "studio.key"} <= found.keys()
        assert {name: mode for name, mode in found.items() if mode & 0o077} == {}
        assert data_dir.stat().st_mode & 0o077 == 0
