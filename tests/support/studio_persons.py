"""Persons who use a studio, and remember what it has acknowledged.

Each does one request after another. A request that was cut off may have been done or not: the
next time, the person looks which, and from then on it is to stay so.
"""

from __future__ import annotations

import io
import random
from abc import ABC, abstractmethod
from typing import Any

from PIL import Image

from support.studio_client import Answer, Client
from tinygrad_cnn.data import digits

EPOCHS = 6
TRAINING = {
    "model": "mlp", "data": "digits", "hidden": [4], "batch_size": 100, "epochs": EPOCHS,
    "lr": 0.01, "augment": "shift",
}  # fmt: skip
MOST_DRAWINGS = 60
PAGE = 200


class Person(ABC):
    """Somebody who uses a studio.

    Parameters
    ----------
    rng : random.Random

    Attributes
    ----------
    acknowledged : int
        How many changes were.
    doing : str
        What is under way.
    pause : float
        The most seconds between two requests.
    """

    pause = 0.06

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.acknowledged = 0
        self.doing = ""
        self._made = 0

    @abstractmethod
    def settle(self, client: Client) -> None:
        """Check that all is there, and note what has become of what was cut off."""

    @abstractmethod
    def act(self, client: Client) -> None:
        """Do one request."""

    def change(self, client: Client, what: str, method: str, path: str, body: Any = None) -> Answer:
        """Ask for a change; what it was stays in `doing` if it is cut off."""
        self.doing = what
        answer = client.ask(method, path, body)
        self.doing = ""
        self.acknowledged += answer.fine
        assert answer.status < 500, (what, answer)
        return answer

    def new_name(self) -> str:
        """Return a name that this person has not given yet."""
        self._made += 1
        return f"{type(self).__name__} {self._made}"


class Drawer(Person):
    """Draws, says what it is, corrects that, gives names, deletes.

    `kept` are the drawings as they were answered; `cut_off` is what else the drawing of a change
    that was cut off may be, or None where it may be gone; a drawing that may be new has id 0.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.kept: dict[int, dict[str, Any]] = {}
        self.cut_off: dict[int, dict[str, Any] | None] = {}

    def act(self, client: Client) -> None:
        chosen = self.rng.random()
        if len(self.kept) < 5 or (chosen < 0.4 and len(self.kept) < MOST_DRAWINGS):
            self._draw(client)
        elif chosen < 0.9:
            self._correct(client)
        else:
            self._delete(client)

    def settle(self, client: Client) -> None:
        self.doing = "look"
        there: dict[int, dict[str, Any]] = {}
        total = 1
        while len(there) < total:
            page = client.get(f"/api/drawings?limit={PAGE}&offset={len(there)}")
            total = page["total"]
            there |= {drawing["id"]: drawing for drawing in page["drawings"]}
        for id, other in self.cut_off.items():
            if id == 0:
                found = [drawing for new, drawing in there.items() if new not in self.kept]
                if found:
                    (drawing,) = found
                    assert {name: drawing[name] for name in other or {}} == other
                    self.kept[drawing["id"]] = drawing
            elif id not in there:
                assert other is None, f"drawing {id} is gone"
                del self.kept[id]
            elif other is not None:
                drawing = there[id]
                if {name: drawing[name] for name in other} == other:
                    held_back = drawing["held_back"]  # follows from the label
                    self.kept[id] = {**self.kept[id], **other, "held_back": held_back}
        self.cut_off.clear()
        self.doing = ""
        assert there == self.kept, "drawings: " + difference(there, self.kept)

    def _draw(self, client: Client) -> None:
        label = self.rng.choice([None, *range(10)])
        other = {"name": self.new_name(), "label": label}
        query = f"?name={other['name'].replace(' ', '+')}"
        query += f"&label={label}" if label is not None else ""
        self.cut_off = {0: other}
        answer = self.change(client, "draw", "POST", f"/api/drawings{query}", self._picture())
        if answer.fine:
            self.kept[answer.json["id"]] = answer.json
        self.cut_off.clear()

    def _correct(self, client: Client) -> None:
        id = self.rng.choice(sorted(self.kept))
        what, other = self.rng.choice(
            [("label", {"label": self.rng.randrange(10)}), ("name", {"name": self.new_name()})]
        )
        self.cut_off = {id: other}
        answer = self.change(client, what, "PATCH", f"/api/drawings/{id}", other)
        if answer.fine:
            self.kept[id] = answer.json
        self.cut_off.clear()

    def _delete(self, client: Client) -> None:
        id = self.rng.choice(sorted(self.kept))
        self.cut_off = {id: None}
        if self.change(client, "delete", "DELETE", f"/api/drawings/{id}").fine:
            del self.kept[id]
        self.cut_off.clear()

    def _picture(self) -> bytes:
        test = digits().test
        file = io.BytesIO()
        Image.fromarray(self.rng.choice(test.images)[0]).save(file, "PNG")
        return file.getvalue()


class Keeper(Person):
    """Gives models names, promotes them and takes that back.

    `names` are the models' names, `standing` those that were promoted and not rolled back, the
    one that answers last; each is what holds, and what may hold if a change was cut off.

    Parameters
    ----------
    rng : random.Random
    first : list of int
        The models that there are; the first one is promoted.
    """

    def __init__(self, rng: random.Random, first: list[int]) -> None:
        super().__init__(rng)
        self.ids = first
        self.names: dict[int, list[str]] = {}
        self.standing = [first[:1]]

    def act(self, client: Client) -> None:
        chosen = self.rng.random()
        id = self.rng.choice(self.ids)
        (standing,) = self.standing
        if chosen < 0.4:
            name = self.new_name()
            self.names[id].append(name)
            answer = self.change(client, "name", "PATCH", f"/api/models/{id}", {"name": name})
            self.names[id] = self.names[id][1:] if answer.fine else self.names[id][:1]
        elif chosen < 0.7:
            more = standing if standing[-1] == id else [*standing, id]
            promoting = {"insist": self.rng.random() < 0.9}
            self._promote(client, "promote", f"/api/models/{id}/promote", more, promoting)
        elif len(standing) > 1:
            self._promote(client, "roll back", "/api/models/roll-back", standing[:-1])

    def settle(self, client: Client) -> None:
        self.doing = "look"
        there = client.get("/api/models")
        names = {model["id"]: model["name"] for model in there["models"]}
        for id, told in self.names.items():
            assert names.get(id) in told, f"model {id} is {names.get(id)!r}, expected {told}"
        self.names = {id: [name] for id, name in names.items()}
        self.ids = sorted(names)
        last = [standing[-1] for standing in self.standing]
        assert there["promoted"] in last, f"{there['promoted']} is promoted, expected {last}"
        self.standing = [self.standing[last.index(there["promoted"])]]
        self.doing = ""

    def _promote(
        self, client: Client, what: str, path: str, after: list[int], body: Any = None
    ) -> None:
        self.standing.append(after)
        answer = self.change(client, what, "POST", path, body)
        self.standing = self.standing[1:] if answer.fine else self.standing[:1]
        if answer.fine:
            assert answer.json["id"] == after[-1]


class Asker(Person):
    """Asks for trainings, of which one or two are always to be done, and cancels some.

    `to_be_done` are those that were acknowledged and not cancelled, `cancelled` the others;
    `cut_off` is the one that may be cancelled, 0 if there may be a new one.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.to_be_done: set[int] = set()
        self.cancelled: set[int] = set()
        self.cut_off: int | None = None

    def act(self, client: Client) -> None:
        there = client.get("/api/runs")["runs"]
        waiting = [run["id"] for run in there if run["state"] == "queued"]
        if not waiting:
            self.ask_for_one(client)
        elif self.rng.random() < 0.005:
            self._cancel(client, self.rng.choice(waiting))

    def ask_for_one(self, client: Client) -> None:
        """Ask for a training: always the same, so that all are to come to the same end."""
        self.cut_off = 0
        asked = {**TRAINING, "name": self.new_name()}
        answer = self.change(client, "ask for a run", "POST", "/api/runs", asked)
        if answer.fine:
            self.to_be_done.add(answer.json["id"])
        self.cut_off = None

    def settle(self, client: Client) -> None:
        self.doing = "look"
        there = {run["id"]: run for run in client.get("/api/runs")["runs"]}
        known = self.to_be_done | self.cancelled
        assert known <= there.keys(), f"runs {known - there.keys()} are gone"
        new = there.keys() - known
        assert len(new) <= (self.cut_off == 0), f"runs {new} are there twice"
        self.to_be_done |= new
        if self.cut_off and there[self.cut_off]["wanted"] == "cancel":
            self._note_cancelled(self.cut_off)
        if self.cut_off and there[self.cut_off]["state"] == "cancelled":
            self._note_cancelled(self.cut_off)
        self.cut_off = None
        self.doing = ""
        for id in self.to_be_done:
            state = there[id]["state"]
            assert state not in ("cancelled", "failed"), (id, state, there[id]["error"])
        for id in self.cancelled:
            assert "cancel" in (there[id]["wanted"], there[id]["state"][:6]), there[id]

    def all_ended(self, client: Client) -> bool:
        """Return whether all trainings have come to an end; those cancelled, to that one."""
        there = {run["id"]: run["state"] for run in client.get("/api/runs")["runs"]}
        ended = all(state in ("done", "cancelled", "failed") for state in there.values())
        assert not ended or all(there[id] == "cancelled" for id in self.cancelled), there
        return ended

    def _cancel(self, client: Client, id: int) -> None:
        self.cut_off = id
        if self.change(client, "cancel", "POST", f"/api/runs/{id}/cancel").fine:
            self._note_cancelled(id)
        self.cut_off = None

    def _note_cancelled(self, id: int) -> None:
        self.to_be_done.discard(id)
        self.cancelled.add(id)


def difference(there: dict[int, Any], expected: dict[int, Any]) -> str:
    """Return what differs, in short."""
    return "; ".join(
        f"{id} is {told(there.get(id))}, expected {told(expected.get(id))}"
        for id in sorted(there.keys() | expected.keys())
        if there.get(id) != expected.get(id)
    )


def told(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return row and {name: value for name, value in row.items() if name != "input"}
