"""Brings a database to this release's schema, or says why it cannot."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from orchestrator.errors import StoreUnavailable
from orchestrator.store.engines import writers
from orchestrator.store.schema import HEAD, VERSION_TABLE, metadata
from orchestrator.store.unavailable import DAMAGED, shown

MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADE_LOCK = 0x736B65727279  # "skerry": PostgreSQL's advisory lock for whoever upgrades first


def check_file(engine: Engine) -> None:
    """Raises StoreUnavailable for a SQLite file with a half-written page. Nothing to do for PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StoreUnavailable(f"store {shown(engine.url)}: {str(found).splitlines()[-1]}: {DAMAGED}")


def upgrade(engine: Engine) -> None:
    """To HEAD, in one transaction; of two processes that open at once one waits for the other.

    Raises StoreUnavailable for a schema that this release does not know.
    """
    with engine.connect() as connection:
        if _schema_of(connection) == HEAD:
            return
    with writers(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
        found = _schema_of(connection)
        if found != HEAD:
            _migrate(connection, found)


def _schema_of(connection: Connection) -> str | None:
    """None: nothing of ours is in it yet."""
    tables = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text))
        return str(connection.execute(sa.select(version.c.version_num)).scalar_one())
    if taken := sorted(tables & metadata.tables.keys()):
        remedy = "give Skerry a database of its own in SKERRY_STORE"
        raise StoreUnavailable(f"store {shown(connection.engine.url)}: holds another's tables {taken}: {remedy}")
    return None


def _migrate(connection: Connection, found: str | None) -> None:
    # Here, not above: Alembic takes a tenth of a second to import, and most opens need no migration.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        remedy = "start the newer Skerry, or restore a backup that this one made into an empty store"
        raise StoreUnavailable(
            f"store {shown(connection.engine.url)}: has schema {found}, this Skerry knows up to {HEAD}: {remedy}"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
