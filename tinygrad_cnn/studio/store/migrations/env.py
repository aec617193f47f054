"""The Alembic environment: migrates on the connection passed by `Store.migrate`."""

from __future__ import annotations

from alembic import context

from tinygrad_cnn.studio.store.tables import Base


def _migrate() -> None:
    # The caller's transaction covers everything, so that a migration is atomic.
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=Base.metadata
    )
    context.run_migrations()


if __name__ == "env_py":  # Alembic's name for it; else there is nothing to migrate
    _migrate()
