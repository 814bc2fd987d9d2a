"""Alembic's entry: runs the migrations over the connection that store/upgrade.py hands it."""

from alembic import context

from health_hub.store import schema

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=schema.SQLModel.metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
