"""A creation that is sent again, with the same key, creates nothing and is answered the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.studio import studio_client, trained
from support.studio_browser import picture_of

RUN = {"model": "mlp", "data": "digits", "hidden": [4], "epochs": 1}
CREATIONS = {
    "drawings?label=3": {"content": picture_of(0), "headers": {"Content-Type": "image/png"}},
    "models?name=again": {"content": b"", "headers": {"Content-Type": "application/octet-stream"}},
    "runs": {"json": RUN},
    "runs/fine-tune": {"json": {}},
}


def test_a_repeated_key_creates_nothing_and_another_does(tmp_path: Path) -> None:
    with studio_client(tmp_path) as client:

        def create(path: str, key: str | None) -> tuple[int, object]:
            asked = dict(CREATIONS[path])
            if path.startswith("models"):
                asked["content"] = trained()[1]
            headers = {**asked.pop("headers", {}), **({"Idempotency-Key": key} if key else {})}
            response = client.post(f"/api/{path}", headers=headers, **asked)
            return response.status_code, response.json()

        for path in CREATIONS:
            key = f"key-of-{path.translate(str.maketrans('/?=', '---'))}"
            with ThreadPoolExecutor(4) as pool:  # at once, as after an answer that was lost
                answers = list(pool.map(create, [path] * 4, [key] * 4))
            status, first = answers[0]
            assert status == 201
            assert answers == [(status, first)] * 4
            ids = {create(path, other)[1]["id"] for other in ("another-key-" + path[:3], None)}
            assert len(ids | {first["id"]}) == 3


@pytest.mark.parametrize("key", ["short", "x" * 65, "with a space in it", "é" * 10])
def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    with studio_client(tmp_path) as client:
        refused = client.post("/api/runs", json=RUN, headers={"Idempotency-Key": key.encode()})
        assert refused.status_code == 422
