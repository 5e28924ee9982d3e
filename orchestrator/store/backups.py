"""A backup is one SQLite file of one moment, whichever database it was taken from, and goes back into either.

The change log stays behind. A restored store has another history than the one its watchers saw, so they must list
again, and its sequences and epochs jump ahead of every number that was given out after the backup was made.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from orchestrator.errors import InvalidRequest, StoreUnavailable
from orchestrator.store.engines import open_engine, parse_url, single_file, snapshots
from orchestrator.store.schema import HEAD, LOG_ROW, changes, claims, decisions, leases, log, objects, parts
from orchestrator.store.unavailable import answered, shown
from orchestrator.store.upgrade import check_file, upgrade
from orchestrator.store.writing import Writing, writing

_KEPT = (objects, claims, decisions, parts, leases)
_JUMP = 1_000_000  # more writes, and more leaders, than between a backup and its restore
_ROWS_AT_A_TIME = 100  # a part of a large installation has some hundred KB
_BUSY_TIMEOUT_S = 5.0

_manifest = sa.Table(
    "backup",
    sa.MetaData(),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)


def back_up(source: Engine, path: Path) -> None:
    """Write the file, whole or not at all. Raises InvalidRequest if it exists, StoreUnavailable if it cannot be."""
    if path.exists():
        raise InvalidRequest("backup file", str(path), "exists already: choose another name, or remove it first")
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # it holds everything that the store holds
        _write(source, partial)
        _sync(partial)
        partial.rename(path)
        _sync(path.parent)
    except OSError as err:
        remedy = "check that the folder exists, is writable and has room"
        raise StoreUnavailable(f"backup file {path}: {err.strerror}: {remedy}") from err
    finally:
        partial.unlink(missing_ok=True)


def restore(url: str, path: Path, *, force: bool = False) -> None:
    """Put a backup into an empty store, or with `force` in place of what is there: all of it or nothing.

    Raises InvalidRequest for a file that is damaged or no backup, and for a target that is not empty.
    """
    target_url = parse_url(url)
    with tempfile.TemporaryDirectory(prefix="skerry-restore-") as folder, _checked(path, Path(folder)) as backup:
        target = open_engine(target_url, _BUSY_TIMEOUT_S)
        try:
            with answered(target.url):
                check_file(target)
                upgrade(target)
                with writing(target, lambda: 0.0) as transaction:
                    _check_empty(transaction.connection, force)
                    _replace_all(backup, transaction)
        finally:
            target.dispose()


def _write(source: Engine, partial: Path) -> None:
    target = single_file(partial)
    try:
        with answered(target.url):
            upgrade(target)
        with answered(source.url), snapshots(source).begin() as rows, answered(target.url), target.begin() as file:
            for table in _KEPT:
                _copy(rows, file, table)
            sequence = rows.execute(sa.select(log.c.sequence)).scalar_one()
            file.execute(sa.update(log).values(sequence=sequence, floor=sequence))
            _manifest.create(file)
            file.execute(sa.insert(_manifest).values(schema=HEAD, digest=_digest(file)))
    finally:
        target.dispose()


@contextmanager
def _checked(path: Path, folder: Path) -> Iterator[Connection]:
    """The backup's rows, once its digest is right. Works on a copy, which is upgraded if an older Skerry made it."""
    if not path.is_file():
        raise InvalidRequest("backup file", str(path), "there is no such file: check the path")
    copy = single_file(Path(shutil.copyfile(path, folder / "backup")))
    try:
        try:
            _check_digest(copy, path)
            upgrade(copy)
        except (sa.exc.SQLAlchemyError, StoreUnavailable, ValueError) as err:
            raise _damaged(path) from err
        with copy.begin() as connection:
            yield connection
    finally:
        copy.dispose()


def _check_digest(copy: Engine, path: Path) -> None:
    check_file(copy)
    with copy.begin() as connection:
        row = connection.execute(sa.select(_manifest)).one()
        if row.digest != _digest(connection):
            raise _damaged(path)
    if row.schema > HEAD:
        remedy = f"a newer Skerry made it (schema {row.schema}, this one knows up to {HEAD}): restore it with that one"
        raise InvalidRequest("backup file", str(path), remedy)


def _damaged(path: Path) -> InvalidRequest:
    return InvalidRequest("backup file", str(path), "is damaged, cut short, or no backup of Skerry: use another one")


def _digest(connection: Connection) -> str:
    """Of every row of every table but the manifest, whatever the schema: also an older release's."""
    digest = hashlib.sha256()
    inspector = sa.inspect(connection)
    for name in sorted(set(inspector.get_table_names()) - {_manifest.name}):
        columns = sorted(column["name"] for column in inspector.get_columns(name))
        table = sa.table(name, *(sa.column(column) for column in columns))
        digest.update(json.dumps([name, columns]).encode())
        for row in connection.execute(sa.select(table).order_by(*table.c).execution_options(yield_per=_ROWS_AT_A_TIME)):
            digest.update(json.dumps(list(row), default=bytes.hex).encode())
    return digest.hexdigest()


def _check_empty(target: Connection, force: bool) -> None:
    found = [table.name for table in (*_KEPT, changes) if target.execute(sa.select(sa.exists(table.select()))).scalar()]
    if found and not force:
        remedy = f"it holds {', '.join(found)} already: restore into an empty store, or force it to replace them"
        raise InvalidRequest("target store", shown(target.engine.url), remedy)


def _replace_all(backup: Connection, transaction: Writing) -> None:
    target = transaction.connection
    epochs = {row.name: row.epoch for row in target.execute(sa.select(leases.c.name, leases.c.epoch))}
    for table in (*_KEPT, changes):
        target.execute(sa.delete(table))
    for table in _KEPT:
        _copy(backup, target, table)
    for name, epoch in epochs.items():
        restored = target.execute(sa.select(leases.c.epoch).where(leases.c.name == name)).scalar_one_or_none()
        if restored is None:
            target.execute(sa.insert(leases).values(name=name, holder="", epoch=epoch, expires_wall_s=0.0))
        elif restored < epoch:
            target.execute(sa.update(leases).where(leases.c.name == name).values(epoch=epoch))
    target.execute(sa.update(leases).values(holder="", epoch=leases.c.epoch + _JUMP, expires_wall_s=0.0))
    restored_sequence = backup.execute(sa.select(log.c.sequence).where(log.c.id == LOG_ROW)).scalar_one()
    transaction.sequence = max(transaction.sequence, restored_sequence) + _JUMP
    target.execute(sa.update(log).values(floor=transaction.sequence))


def _copy(source: Connection, target: Connection, table: Table) -> None:
    rows = source.execute(sa.select(table).execution_options(yield_per=_ROWS_AT_A_TIME)).mappings()
    for some in rows.partitions():
        target.execute(sa.insert(table), [dict(row) for row in some])


def _sync(path: Path) -> None:
    """A file's bytes, or a folder's entries, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
