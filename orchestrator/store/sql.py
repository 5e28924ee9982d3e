"""The store behind `orchestrator.control.seams.Store`, on SQLite or PostgreSQL."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from orchestrator.errors import Compacted
from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId
from orchestrator.model.stored import Batch, Change, DecisionRecord, Key, Lease, StoredDecision, StoredObject
from orchestrator.store import history, leases
from orchestrator.store.backups import back_up
from orchestrator.store.encoding import change_of, claim_of, object_of
from orchestrator.store.engines import open_engine, parse_url, snapshots
from orchestrator.store.ledger import put_claims
from orchestrator.store.objects import read_object, write_objects
from orchestrator.store.schema import LOG_ROW, changes, claims, log, objects
from orchestrator.store.unavailable import answered
from orchestrator.store.upgrade import check_file, upgrade
from orchestrator.store.writing import Writing, writing

BUSY_TIMEOUT_S = 5.0  # what a write waits for others: a thousand of them


def open_store(
    url: str, *, wall_s: Callable[[], float] = time.time, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> "SqlStore":
    """Check the database, bring its schema up to date and hand it out.

    Raises InvalidRequest for a URL that is none, StoreUnavailable with the remedy for a database that cannot be used.
    """
    engine = open_engine(parse_url(url), busy_timeout_s)
    try:
        with answered(engine.url):
            check_file(engine)
            upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine, wall_s)


class SqlStore:
    """Safe to call from many threads and many processes. Calls block; each raises StoreUnavailable.

    After StoreUnavailable from a commit its outcome is unknown: read again before you repeat it.
    """

    def __init__(self, engine: Engine, wall_s: Callable[[], float]) -> None:
        self._engine = engine
        self._wall_s = wall_s

    def close(self) -> None:
        self._engine.dispose()

    def get(self, key: Key) -> StoredObject:
        with self._reading() as connection:
            return read_object(connection, key)

    def list_objects(self, kind: str, namespace: str | None = None) -> tuple[list[StoredObject], int]:
        statement = sa.select(objects).order_by(objects.c.kind, objects.c.namespace, objects.c.name)
        if kind:
            statement = statement.where(objects.c.kind == kind)
        if namespace is not None:
            statement = statement.where(objects.c.namespace == namespace)
        with self._reading() as connection:
            sequence, _ = _log_ends(connection)
            return [object_of(row) for row in connection.execute(statement).mappings()], sequence

    def commit(self, batch: Batch) -> list[StoredObject]:
        packed = None
        if batch.decision is not None:
            with self._reading() as connection:  # packed before the lock is taken: a large snapshot takes its time
                packed = history.pack(connection, batch.decision)
        with self._writing() as transaction:
            leases.check_epoch(transaction, batch.epoch)
            written = write_objects(transaction, batch.writes)
            put_claims(transaction.connection, batch.claims, batch.capacities)
            if packed is not None:
                history.put_decision(transaction, packed)
            return written

    def changes(self, after_sequence: int, limit: int = 500) -> list[Change]:
        statement = sa.select(changes).where(changes.c.sequence > after_sequence).order_by(changes.c.sequence)
        with self._reading() as connection:
            sequence, floor = _log_ends(connection)
            if not floor <= after_sequence <= sequence:
                raise Compacted(
                    f"changes after {after_sequence}: the log reaches from {floor} to {sequence}: "
                    "list the objects again and watch from the sequence that comes with the list"
                )
            return [change_of(row) for row in connection.execute(statement.limit(limit)).mappings()]

    def compact(self, keep_changes: int) -> int:
        """Drop all but the newest changes; answers how many went. Whoever watches from further back lists again."""
        newest_gone = sa.select(changes.c.sequence).order_by(changes.c.sequence.desc()).offset(keep_changes).limit(1)
        with self._writing() as transaction:
            floor = transaction.connection.execute(newest_gone).scalar_one_or_none()
            if floor is None:
                return 0
            transaction.connection.execute(sa.update(log).where(log.c.id == LOG_ROW).values(floor=floor))
            return transaction.connection.execute(sa.delete(changes).where(changes.c.sequence <= floor)).rowcount

    def claims(self) -> list[Claim]:
        with self._reading() as connection:
            rows = connection.execute(sa.select(claims.c.body).order_by(claims.c.id)).mappings()
            return [claim_of(row) for row in rows]

    def acquire_lease(self, name: str, holder: str, ttl_s: float) -> Lease:
        with self._writing() as transaction:
            return leases.acquire(transaction, name, holder, ttl_s)

    def release_lease(self, lease: Lease) -> None:
        with self._writing() as transaction:
            leases.release(transaction, lease)

    def decision(self, id: DecisionId) -> StoredDecision:
        with self._reading() as connection:
            return history.read_decision(connection, id)

    def latest_decision(self) -> StoredDecision | None:
        with self._reading() as connection:
            newest = history.records(connection, 1)
            return history.read_decision(connection, newest[0].id) if newest else None

    def decisions(self, limit: int = 500) -> list[DecisionRecord]:
        """Of those that are kept, the newest first."""
        with self._reading() as connection:
            return history.records(connection, limit)

    def prune_decisions(self, keep: int, made_after_wall_s: float, limit: int = 200) -> int:
        """Drop decisions beyond the newest `keep` or made before, the oldest first; answers how many went.

        At most `limit` in one transaction; the latest stays in any case. Texts that no other decision needs go too.
        """
        with self._writing() as transaction:
            return history.prune(transaction.connection, keep, made_after_wall_s, limit)

    def backup(self, path: Path) -> None:
        """One consistent file, for `restore`. Raises InvalidRequest if the file exists."""
        back_up(self._engine, path)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with answered(self._engine.url), snapshots(self._engine).begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Writing]:
        with answered(self._engine.url), writing(self._engine, self._wall_s) as transaction:
            yield transaction


def _log_ends(connection: Connection) -> tuple[int, int]:
    """The last sequence given out, and the one up to which changes were compacted."""
    row = connection.execute(sa.select(log.c.sequence, log.c.floor).where(log.c.id == LOG_ROW)).one()
    return row.sequence, row.floor
