"""What Alembic runs to migrate, on the connection that `Store.migrate` hands it."""

from __future__ import annotations

from alembic import context

from tinygrad_cnn.studio.store.tables import Base


def _migrate() -> None:
    # The caller's transaction is around it all, so that a migration happens as a whole.
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=Base.metadata
    )
    context.run_migrations()


if __name__ == "env_py":  # so Alembic calls it: whoever else imports it has nothing to migrate
    _migrate()
