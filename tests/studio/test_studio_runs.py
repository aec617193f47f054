"""The runs over HTTP: to ask for them, to follow them, to say what they are to do."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.studio import studio_client, until
from support.studio_training import steps

from tinygrad_cnn.data import digits
from tinygrad_cnn.studio.store import Store, drawings, models, points, runs, snapshots
from tinygrad_cnn.studio.training import supervisor
from tinygrad_cnn.studio.training.requests import settings_of, train_request
from tinygrad_cnn.train import AUGMENTATIONS

TINY = {"model": "mlp", "hidden": [4], "batch_size": 2000, "epochs": 2}
LONG = {"model": "mlp", "hidden": [4], "batch_size": 100, "epochs": 200}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A studio with a model that trains nothing."""
    with studio_client(tmp_path) as client:
        yield client


@pytest.fixture
def working(tmp_path: Path) -> Iterator[TestClient]:
    """A studio with a model that trains one run at a time."""
    with studio_client(tmp_path, supervised=True, concurrent_runs=1) as client:
        yield client


def store_of(client: TestClient) -> Store:
    return client.app.state.services.store


def created(client: TestClient, **asked: Any) -> dict[str, Any]:
    response = client.post("/api/runs", json=asked or TINY)
    assert response.status_code == 201, response.text
    return response.json()


def run_now(client: TestClient, run: dict[str, Any]) -> dict[str, Any]:
    return client.get(f"/api/runs/{run['id']}").raise_for_status().json()


def act(client: TestClient, run: dict[str, Any], what: str, status: int = 200) -> dict[str, Any]:
    response = client.post(f"/api/runs/{run['id']}/{what}")
    assert response.status_code == status, response.text
    return response.json()


def begin(client: TestClient, run: dict[str, Any]) -> None:
    """Note that a run has begun, as its process does."""
    with store_of(client).session() as session:
        runs.set_state(session, run["id"], "running")


# --- asking ------------------------------------------------------------------------------------


def test_a_run_is_queued_with_all_that_was_chosen_for_it(client: TestClient) -> None:
    run = created(client, **TINY, name="My <b>run</b>", optimizer="sgd")
    assert run["name"] == "My <b>run</b>"
    assert (run["state"], run["wanted"], run["kind"]) == ("queued", "run", "train")
    assert (run["position"], run["epoch"], run["epochs"]) == (1, 0, 2)
    expected = train_request("mlp", "european-digits", hidden=[4], batch_size=2000, epochs=2,
                             optimizer="sgd")  # fmt: skip
    assert run["request"] == expected
    assert created(client)["position"] == 2
    assert [each["id"] for each in client.get("/api/runs").json()["runs"]] == [2, 1]


def test_a_vgg_may_have_batch_norm_and_dropout(client: TestClient) -> None:
    chosen = {"batch_norm": True, "dropout": 0.25}
    request = created(client, model="vgg", **chosen)["request"]
    assert settings_of(request, digits()).model.options == chosen
    for name in chosen:  # as earlier versions stored it
        del request[name]
    assert settings_of(request, digits()).model.options == {}


@pytest.mark.parametrize(
    ("body", "where", "says"),
    [
        ({"model": "resnet"}, "model", "expected one of 'lenet5', 'mlp', 'vgg'"),
        ({"data": "../../etc"}, "data", "expected one of 'european-digits', 'digits', 'mnist'"),
        ({"model": "vgg", "activation": "tanh"}, "activation", "vgg has no activation"),
        ({"model": "vgg", "hidden": [8]}, "hidden", "it has batch_norm, dropout"),
        ({"model": "vgg", "dropout": 1}, "dropout", "less than 1"),
        ({"model": "vgg", "batch_norm": [1]}, "batch_norm", "expected true or false"),
        ({"model": "mlp", "hidden": [0]}, "hidden.0", "expected at least 1"),
        ({"model": "mlp", "hidden": [100_000]}, "hidden.0", "expected at most 1024"),
        ({"model": "mlp", "hidden": ["wide"]}, "hidden.0", "expected a whole number"),
        ({"model": "mlp", "hidden": [4] * 9}, "hidden", "expected at most 4 entries"),
        ({"model": "mlp", "hidden": 4}, "hidden", "expected a list"),
        ({"optimizer": "newton"}, "optimizer", "optimizer is 'newton', expected one of"),
        ({"optimizer_options": {"x": 1}}, "optimizer_options", "adamw has no option 'x'"),
        ({"schedule": "x"}, "schedule", "schedule is 'x', expected one of"),
        ({"schedule_options": {"x": 1}}, "schedule_options", "onecycle has no option 'x'"),
        ({"augment": "x"}, "augment", "augment is 'x', expected one of 'none', 'shift', 'rotate'"),
        ({"weight_decay": -0.1}, "weight_decay", "expected at least 0"),
        ({"lr": 0}, "lr", "got 0, expected more than 0"),
        ({"lr": ""}, "lr", "expected a number"),
        ({"lr": float("1e999")}, None, ""),
        ({"epochs": 10**9}, "epochs", "expected at most 200"),
        ({"epochs": 2.5}, "epochs", "expected a whole number"),
        ({"seed": 2**63}, "seed", "expected at most"),
        ({"name": " "}, "name", "expected at least one visible character"),
        ({"name": "a\nb"}, "name", "a control character"),
        ({"name": "x" * 1000}, "name", "expected at most 120 characters"),
        ({"path": "/etc/passwd"}, "path", "there is no such field"),
        ([], "", "expected an object"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_field_and_the_reason(
    client: TestClient, body: Any, where: str | None, says: str
) -> None:
    response = client.post(
        "/api/runs", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert says in problem["detail"]
    assert "Input" not in response.text  # as Pydantic's own messages begin
    if where is not None:
        [refused] = problem["errors"]
        assert refused["where"] == f"body.{where}".rstrip(".")
        assert refused["reason"] in problem["detail"]
    assert client.get("/api/runs").json()["runs"] == []


def test_a_form_knows_each_range_and_default_that_the_server_has(client: TestClient) -> None:
    """Every bound is the largest or smallest accepted number; the first values are the defaults."""
    choices = client.get("/api/state").json()["choices"]
    assert set(choices["augmentations"]) == set(AUGMENTATIONS)
    for name in ("lr", "weight_decay", "batch_size", "epochs", "seed"):
        bounds = choices["numbers"][name]["bounds"]
        for bound, value in bounds.items():
            beyond = {"ge": value - 1, "gt": value, "le": value + 1, "lt": value}[bound]
            assert client.post("/api/runs", json={**TINY, name: beyond}).status_code == 422
            if bound in ("ge", "le"):
                assert created(client, **{**TINY, name: value})["request"][name] == value
    for optimizer, values in choices["defaults"]["european-digits"].items():
        request = created(client, optimizer=optimizer)["request"]
        assert {name: request[name] for name in values} == values
        assert {name: request[name] for name in choices["first"]} == choices["first"]
    recipe = next(iter(choices["defaults"]["european-digits"]))
    assert recipe == created(client)["request"]["optimizer"]


def test_data_that_are_not_there_are_refused(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path))
    response = client.post("/api/runs", json={**TINY, "data": "mnist"})
    assert response.status_code == 422
    assert "'mnist' are not on this machine" in response.json()["detail"]


def test_the_queue_does_not_grow_for_ever(client: TestClient) -> None:
    statuses = [client.post("/api/runs", json=TINY).status_code for _ in range(60)]
    assert statuses == [201] * 50 + [409] * 10


@pytest.mark.parametrize("what", ["", "/points"])
def test_a_run_that_is_not_there_is_not_found(client: TestClient, what: str) -> None:
    assert client.get(f"/api/runs/77{what}").status_code == 404
    assert client.get("/api/runs/0").status_code == 422
    assert client.get(f"/api/runs/{2**70}").status_code == 422


# --- fine-tuning -------------------------------------------------------------------------------


def draw(client: TestClient, count: int) -> None:
    with store_of(client).session() as session:
        for number in range(count):
            drawings.add(session, name="d", picture=b"", input=bytes(784), label=number % 10)


def test_teaching_takes_the_promoted_model_and_the_drawings_there_are(client: TestClient) -> None:
    draw(client, 6)
    response = client.post("/api/runs/fine-tune", json={})
    assert response.status_code == 201
    run = response.json()
    assert (run["kind"], run["epochs"], run["before"]) == ("fine-tune", 3, None)
    request = run["request"]
    assert (request["model_id"], request["lr"], request["replay"]) == (1, 0.0005, 2000)
    assert run["name"] == "known, taught"
    assert (request["drawings"], request["held_back"]) == (5, 1)


def test_teaching_nothing_is_refused(client: TestClient) -> None:
    response = client.post("/api/runs/fine-tune", json={})
    assert response.status_code == 409
    assert "no labeled drawing to fine-tune on" in response.json()["detail"]
    assert client.post("/api/runs/fine-tune", json={"model": 9}).status_code == 404
    assert client.post("/api/runs/fine-tune", json={"replay": -1}).status_code == 422


def test_teaching_without_a_model_is_refused(tmp_path: Path) -> None:
    with studio_client(tmp_path, trained=False) as client:
        draw(client, 2)
        response = client.post("/api/runs/fine-tune", json={})
        assert response.status_code == 409
        assert response.json()["type"].endswith("no-model")


# --- what it is to do --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "wanted", "accepted"),
    [
        ("queued", "run", {"cancel"}),
        ("running", "run", {"pause", "cancel"}),
        ("running", "pause", {"pause", "resume", "step", "cancel"}),
        ("paused", "pause", {"pause", "resume", "step", "cancel"}),
        ("running", "cancel", {"cancel"}),
        ("done", "run", {"delete"}),
        ("failed", "run", {"retry", "delete"}),
        ("cancelled", "cancel", {"delete"}),
    ],
)
def test_a_run_does_what_makes_sense_and_refuses_the_rest(
    client: TestClient, state: str, wanted: str, accepted: set[str]
) -> None:
    for what in ("pause", "resume", "step", "cancel", "retry", "delete"):
        run = created(client)
        with store_of(client).session() as session:
            row = runs.get(session, run["id"])
            row.state, row.wanted = state, wanted
        if what == "delete":
            response = client.delete(f"/api/runs/{run['id']}")
        else:
            response = client.post(f"/api/runs/{run['id']}/{what}")
        assert response.is_success == (what in accepted), (what, response.text)
        if not response.is_success:
            assert response.status_code == 409
            assert f"run {run['id']} " in response.json()["detail"]
            after = run_now(client, run)
            assert (after["state"], after["wanted"], after["steps"]) == (state, wanted, 0)


def test_what_is_wanted_stands_in_the_answer(client: TestClient) -> None:
    run = created(client)
    begin(client, run)
    assert act(client, run, "pause")["wanted"] == "pause"
    assert [act(client, run, "step")["steps"] for _ in range(2)] == [1, 2]
    resumed = act(client, run, "resume")
    assert (resumed["wanted"], resumed["steps"]) == ("run", 0)
    assert act(client, run, "cancel")["wanted"] == "cancel"


def test_a_queued_run_is_cancelled_at_once(client: TestClient) -> None:
    first, second = created(client), created(client)
    assert act(client, first, "cancel")["state"] == "cancelled"
    assert run_now(client, second)["position"] == 1


def test_deleting_a_run_leaves_its_model(client: TestClient) -> None:
    run = created(client)
    folder = client.app.state.services.settings.runs_dir / str(run["id"])
    folder.mkdir(parents=True)
    (folder / "settings.json").touch()
    with store_of(client).session() as session:
        models.get(session, 1).run_id = run["id"]
        runs.set_state(session, run["id"], "done", model_id=1)
        points.add_many(session, run["id"], [("point", 1, {})])
        snapshots.put(session, run["id"], 1, {})
    assert client.delete(f"/api/runs/{run['id']}").status_code == 204
    assert client.get(f"/api/runs/{run['id']}").status_code == 404
    assert not folder.exists()
    assert client.get("/api/models/1").json()["run_id"] is None
    assert created(client)["id"] > run["id"]  # a folder has one meaning for ever


# --- following ---------------------------------------------------------------------------------


def test_points_are_given_after_an_id_and_thinned_evenly(client: TestClient) -> None:
    run = created(client)
    with store_of(client).session() as session:
        points.add_many(session, run["id"], [("point", i, {"loss": 1.0}) for i in range(5000)])
        points.add_many(session, run["id"], [("epoch", 4999, {"epoch": 1})])
        snapshots.put(session, run["id"], 7, {"layer": "fc.0", "kernels": {}})
    address = f"/api/runs/{run['id']}/points"
    answer = client.get(address).json()
    assert answer["snapshot"] == {"run_id": 1, "step": 7, "layer": "fc.0", "kernels": {}}
    told = [point["step"] for point in answer["points"] if point["kind"] == "point"]
    assert 1000 < len(told) <= 2000
    assert told[-1] == 4999
    assert len({b - a for a, b in itertools.pairwise(told)}) == 1
    assert [p["kind"] for p in answer["points"] if p["kind"] != "point"] == ["epoch"]
    assert answer["points"][0]["payload"] == {"run_id": 1, "step": told[0], "loss": 1.0}
    last = answer["points"][-1]["id"]
    assert client.get(address, params={"after": last}).json()["points"] == []
    few = client.get(address, params={"after": last - 3}).json()["points"]
    assert [point["id"] for point in few] == [last - 2, last - 1, last]


def test_a_run_goes_its_way(working: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run = created(working, **LONG)
    waiting = created(working, **TINY, augment="none")
    until(lambda: run_now(working, run)["epoch"] > 0)
    act(working, run, "pause")
    until(lambda: run_now(working, run)["state"] == "paused")
    before = steps(store_of(working), run["id"])[-1]
    act(working, run, "step")
    act(working, run, "step")
    until(lambda: steps(store_of(working), run["id"])[-1] == before + 2)
    assert run_now(working, run)["state"] == "paused"
    held = run_now(working, waiting)
    assert (held["state"], held["position"], held["waits_for"]) == ("queued", 1, [run["id"]])
    act(working, run, "resume")
    until(lambda: steps(store_of(working), run["id"])[-1] > before + 2)

    # Its process is killed, and not started again for a while.
    monkeypatch.setattr(supervisor, "RETRY_SECONDS", 1000.0)
    monkeypatch.setattr(supervisor, "LONGEST_RETRY_SECONDS", 1000.0)
    os.kill(working.app.state.services.supervisor.workers[run["id"]], signal.SIGKILL)
    dead = until(lambda: (now := run_now(working, run))["retry_at"] and now)
    assert dead["state"] == "interrupted"
    assert run_now(working, waiting)["waits_for"] == [run["id"]]  # it keeps its place
    assert dead["error"] == "its process was killed (signal 9), perhaps for want of memory"
    assert act(working, run, "cancel")["state"] == "cancelled"
    done = until(lambda: (now := run_now(working, waiting))["state"] == "done" and now)
    assert done["model_id"] == 2
    assert working.get("/api/models/2").json()["run_id"] == waiting["id"]
