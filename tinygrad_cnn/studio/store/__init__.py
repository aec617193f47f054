"""The store: one SQLite database, shared by the server and the training process.

Open it with a `Store`. The modules `models`, `drawings`, `runs`, `points`, `snapshots` and `outbox`
are repositories: functions that take a session first.

>>> import tempfile
>>> from pathlib import Path
>>> with tempfile.TemporaryDirectory() as folder:
...     store = Store(Path(folder, "studio.db"))
...     store.migrate()
...     with store.session() as session:
...         drawing = drawings.add(session, name="a three", picture=b"", input=bytes(784), label=3)
...     with store.reading() as session:
...         found = drawings.get(session, drawing.id)
...     store.close()
>>> found.name, found.label
('a three', 3)
"""

from tinygrad_cnn.studio.store import drawings, models, outbox, points, runs, snapshots
from tinygrad_cnn.studio.store.database import Store
from tinygrad_cnn.studio.store.errors import (
    ConflictError,
    DamagedStoreError,
    NotFoundError,
    OtherVersionError,
)
from tinygrad_cnn.studio.store.keys import created
from tinygrad_cnn.studio.store.names import checked_name
from tinygrad_cnn.studio.store.tables import (
    Promotion,
    StoredDrawing,
    StoredModel,
    StoredPoint,
    StoredRun,
    StoredSnapshot,
)

__all__ = [
    "ConflictError",
    "DamagedStoreError",
    "NotFoundError",
    "OtherVersionError",
    "Promotion",
    "Store",
    "StoredDrawing",
    "StoredModel",
    "StoredPoint",
    "StoredRun",
    "StoredSnapshot",
    "checked_name",
    "created",
    "drawings",
    "models",
    "outbox",
    "points",
    "runs",
    "snapshots",
]
