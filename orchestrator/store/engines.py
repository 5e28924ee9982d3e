"""Connections to the two databases, each set up so that an acknowledged commit is on the disk."""

import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.errors import InvalidRequest, StoreUnavailable
from orchestrator.store.unavailable import shown

_Preparation = Callable[[DBAPIConnection, ConnectionPoolEntry], None]

_BEGIN = "skerry_begin"  # execution option: how a SQLite transaction begins
_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_S = 60  # far above any statement here: a hung server ends in an error, not in a hung loop
_JOURNAL_LIMIT_BYTES = 64 << 20  # the -wal file shrinks back to this after a large transaction


def parse_url(text: str) -> URL:
    """A SQLite file or a PostgreSQL server. Raises InvalidRequest."""
    try:
        url = make_url(text)
    except ArgumentError as err:
        remedy = "give sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        raise InvalidRequest("store URL", text.partition("://")[0], remedy) from err
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise InvalidRequest("store URL", shown(url), "only sqlite:///PATH and postgresql://... are supported")
    if url.database in (None, "", ":memory:"):
        raise InvalidRequest("store URL", shown(url), "a store outlives its process: give a file, sqlite:///PATH")
    return url


def open_engine(url: URL, busy_timeout_s: float) -> Engine:
    """Connects nothing yet. `busy_timeout_s`: how long a write waits for another one."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, busy_timeout_s)
    return _postgres_engine(url, busy_timeout_s)


def snapshots(engine: Engine) -> Engine:
    """The same connections, for reads of several statements that must see one moment."""
    if engine.dialect.name == "sqlite":  # in WAL mode a plain transaction is a snapshot already
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def writers(engine: Engine) -> Engine:
    """The same connections, for transactions that will write.

    SQLite takes the write lock at once: one that first reads cannot wait for the lock later (SQLITE_BUSY_SNAPSHOT).
    """
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def _sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    folder = Path(url.database or "").absolute().parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        remedy = "choose a folder that this user can make and write, or set SKERRY_HOME elsewhere"
        raise StoreUnavailable(f"store {shown(url)}: cannot make {folder}: {err.strerror}: {remedy}") from err
    return _sqlite_file(url, busy_timeout_s, "WAL")


def single_file(path: Path) -> Engine:
    """A SQLite file with nothing beside it once it is closed, for backups."""
    return _sqlite_file(URL.create("sqlite", database=str(path)), 0.0, "DELETE")


def _sqlite_file(url: URL, busy_timeout_s: float, journal: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s, "check_same_thread": False})
    event.listen(engine, "connect", _sqlite_preparation(journal, busy_timeout_s))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _sqlite_preparation(journal: str, busy_timeout_s: float) -> _Preparation:
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # Python's sqlite3 would begin transactions by its own rules, late and never for reads: `_begin_sqlite` does it.
        connection.isolation_level = None
        cursor = connection.cursor()
        # In WAL mode synchronous=NORMAL would lose acknowledged commits with the power.
        for pragma in ("synchronous=FULL", "foreign_keys=ON", f"journal_size_limit={_JOURNAL_LIMIT_BYTES}"):
            cursor.execute(f"PRAGMA {pragma}")
        _set_journal(cursor, journal, busy_timeout_s)
        cursor.close()

    return prepare


def _set_journal(cursor: DBAPICursor, journal: str, busy_timeout_s: float) -> None:
    """Two processes that open a new file at once: SQLite answers one "locked" here without waiting as it is told to."""
    deadline_s = time.monotonic() + busy_timeout_s
    while True:
        try:
            cursor.execute(f"PRAGMA journal_mode={journal}")
            return
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
        time.sleep(random.uniform(0.001, 0.01))


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _postgres_engine(url: URL, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,  # a restarted server costs no failed call
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "tcp_user_timeout": 1000 * _CONNECT_TIMEOUT_S,  # a server that vanished without a word
            "application_name": "skerry",
        },
    )
    event.listen(engine, "connect", _postgres_preparation(busy_timeout_s))
    return engine


def _postgres_preparation(busy_timeout_s: float) -> _Preparation:
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        # A server may be set to acknowledge before it has written; stronger settings than "on" are left alone.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
            (f"{round(1000 * busy_timeout_s)}ms", f"{_STATEMENT_TIMEOUT_S}s"),
        )
        cursor.close()
        connection.commit()  # settings made in a transaction would go with the pool's rollback

    return prepare
