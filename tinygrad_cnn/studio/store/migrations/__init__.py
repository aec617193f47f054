"""Alembic migrations of the database: one file in ``versions`` per change.

To add one, change ``tables.py``, and start from the file that this writes:

>>> from alembic import command
>>> from alembic.config import Config
>>> config = Config()
>>> config.set_main_option("script_location", __name__)
>>> command.revision(config, "what changes", rev_id="0002")  # writes a file  # doctest: +SKIP
"""
