"""Writes to a SQLite store and notes each acknowledged commit in a file beside it; run under `journal.c`.

Arguments: folder, commits, synchronous ("" leaves what the store sets).
"""

import os
import random
import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.pool import Pool

from orchestrator.model.ids import DecisionId
from orchestrator.model.stored import Batch, DecisionRecord, Key, Owner, Put, StoredDecision
from orchestrator.store import open_store


def batch(number: int) -> Batch:
    """One of a rota of objects, a pair that must stay equal, and now and then a decision of several pages."""
    names = (f"rota-{number % 7}", "pair-a", "pair-b")
    writes = tuple(Put(Key("Site", "", name), Owner.COMMAND, None, {"n": number}) for name in names)
    return Batch(writes=writes, decision=decision(number) if number % 10 == 0 else None)


def decision(number: int) -> StoredDecision:
    """Of texts that nothing makes smaller."""
    record = DecisionRecord(DecisionId(f"d{number}"), 0, 0.0, 1, 0.0)
    return StoredDecision(record, *(random.Random(n).randbytes(9_000).hex() for n in (number, -number)))


def main(folder: Path, commits: int, synchronous: str) -> None:
    if synchronous:
        event.listen(Pool, "checkout", lambda dbapi, *_: dbapi.execute(f"PRAGMA synchronous={synchronous}"))
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    url = f"sqlite:///{folder / 'store.db'}"
    store = open_store(url)
    for number in range(1, commits + 1):
        store.commit(batch(number))
        os.write(acknowledged, b"%d\n" % number)
        if number == commits // 4:  # what follows is long enough for SQLite to start its -wal file over
            store.close()  # takes the -wal file away: the next open makes a new one
            store = open_store(url)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
