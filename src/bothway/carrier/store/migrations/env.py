"""Runs migrations on the connection that `schema.migrate` hands over, within its transaction."""

from __future__ import annotations

from alembic import context

from bothway.carrier.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
