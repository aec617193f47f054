"""How the database became what it is, for Alembic: one file in ``versions`` for each change.

The next begins with what this writes, and with the change of ``tables.py`` that it is about:

>>> from alembic import command
>>> from alembic.config import Config
>>> config = Config()
>>> config.set_main_option("script_location", __name__)
>>> command.revision(config, "what changes", rev_id="0002")  # writes a file  # doctest: +SKIP
"""
