"""Alembic's entry: runs the migrations over the connection that store/upgrade.py hands it."""

from alembic import context
from sqlmodel import SQLModel

from health_hub.store import schema  # noqa: F401  fills the metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
