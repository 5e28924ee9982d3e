"""What a database's error means to an operator: one sentence with the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc
from sqlalchemy import URL

from orchestrator.errors import StoreUnavailable

# Primary result codes, https://www.sqlite.org/rescode.html
_SQLITE_REMEDIES = {
    5: "another process holds its write lock: stop that process (a second control plane or a shell on the file?)",
    8: "it cannot be written: make the file and its folder writable for this user, or set SKERRY_HOME elsewhere",
    10: "the disk failed to read or write it: check the disk and its free space",
    11: "it is damaged: move it and its -wal file away, then bring back a backup with `skerry restore`",
    13: "the disk is full: free some space",
    14: "it cannot be opened: check that its folder exists and is writable for this user, or set SKERRY_HOME elsewhere",
    26: "it is not a Skerry database: move it away, or point SKERRY_STORE at another file",
}
DAMAGED = _SQLITE_REMEDIES[11]

# SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES_REMEDIES = {
    "25006": "it is read-only, a standby perhaps: point SKERRY_STORE at the primary",
    "42501": "the role may not do this: grant it CREATE on the schema and ownership of the tables",
    "53100": "its disk is full: free some space",
    "53300": "it has no free connection: raise max_connections or stop other clients",
    "55P03": "another process holds the write lock: look for a long transaction in pg_stat_activity",
    "57014": "a statement ran into its time limit: look for a long transaction in pg_stat_activity",
}
_POSTGRES_REMEDY = "check that the server runs, and host, port, user, password and database in SKERRY_STORE"


def shown(url: URL) -> str:
    """The URL as people may see it: without its password."""
    return url.render_as_string(hide_password=True)


@contextmanager
def answered(url: URL) -> Iterator[None]:
    """Turns what the database or its driver raises inside into StoreUnavailable."""
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as err:
        raise StoreUnavailable(f"store {shown(url)}: {_first_line(err)}: {_remedy(err)}") from err


def _first_line(err: sqlalchemy.exc.SQLAlchemyError) -> str:
    """What the driver said; SQLAlchemy's own text adds the statement with its values, which may be secret."""
    cause = err.orig if isinstance(err, sqlalchemy.exc.DBAPIError) else err
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def _remedy(err: sqlalchemy.exc.SQLAlchemyError) -> str:
    if isinstance(err, sqlalchemy.exc.TimeoutError):
        return "all its connections are in use: fewer calls at a time"
    cause = err.orig if isinstance(err, sqlalchemy.exc.DBAPIError) else None
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):  # extended codes hold the primary one in their low byte
        return _SQLITE_REMEDIES.get(code & 0xFF, f"SQLite's result code {code} says more")
    return _POSTGRES_REMEDIES.get(getattr(cause, "sqlstate", None) or "", _POSTGRES_REMEDY)
