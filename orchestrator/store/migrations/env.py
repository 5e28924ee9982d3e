"""What Alembic runs for each upgrade. `orchestrator.store.upgrade` hands over its open transaction."""

from alembic import context

from orchestrator.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite cannot alter most of a table in place
)
context.run_migrations()
