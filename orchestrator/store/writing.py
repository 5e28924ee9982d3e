"""One write transaction, which has the log's row to itself until it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from orchestrator.store.engines import writers
from orchestrator.store.schema import LOG_ROW, log


@dataclass(slots=True)
class Writing:
    """The open transaction. `sequence` is the last one given out, to this or to an earlier transaction."""

    connection: Connection
    sequence: int
    now_wall_s: float  # of this process: for people, and for leases on SQLite

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence


@contextmanager
def writing(engine: Engine, wall_s: Callable[[], float]) -> Iterator[Writing]:
    """Writers come one after the other, so whoever sees a sequence sees every lower one too.

    SQLite locks the database at BEGIN IMMEDIATE and ignores FOR UPDATE; PostgreSQL locks the row. A database sequence
    would not do: it gives numbers in the order of asking, and a later number may commit first.
    """
    with writers(engine).begin() as connection:
        before = connection.execute(sa.select(log.c.sequence).where(log.c.id == LOG_ROW).with_for_update()).scalar_one()
        transaction = Writing(connection, before, wall_s())
        yield transaction
        if transaction.sequence != before:
            connection.execute(sa.update(log).where(log.c.id == LOG_ROW).values(sequence=transaction.sequence))
