"""Leases and the epochs that fence off whoever held one before."""

from dataclasses import dataclass

import sqlalchemy as sa

from orchestrator.errors import EpochStale
from orchestrator.model.stored import Lease
from orchestrator.store.schema import leases
from orchestrator.store.writing import Writing

LEADER = "leader"
_NOBODY = ""


@dataclass(frozen=True, slots=True)
class _Held:
    holder: str
    epoch: int
    expires_wall_s: float


def acquire(writing: Writing, name: str, holder: str, ttl_s: float) -> Lease:
    now_s = _now_s(writing)
    held = _held(writing, name)
    renewal = held is not None and held.holder == holder and now_s < held.expires_wall_s
    if held is not None and not renewal and now_s < held.expires_wall_s:
        raise EpochStale(
            f"lease {name}: {held.holder} holds it under epoch {held.epoch} "
            f"for another {held.expires_wall_s - now_s:.1f} s: wait until it lets go or is gone"
        )
    epoch = (held.epoch if held else 0) + (not renewal)
    _put(writing, name, _Held(holder, epoch, now_s + ttl_s), exists=held is not None)
    return Lease(name, holder, epoch, now_s + ttl_s)


def release(writing: Writing, lease: Lease) -> None:
    """Nothing happens to a lease that somebody else has taken since."""
    held = _held(writing, lease.name)
    if held is not None and (held.holder, held.epoch) == (lease.holder, lease.epoch):
        _put(writing, lease.name, _Held(_NOBODY, held.epoch, 0.0), exists=True)


def check_epoch(writing: Writing, epoch: int | None) -> None:
    """Raises EpochStale unless `epoch` is the leader's.

    A higher one is refused too: this store never gave it out, so it comes from before a restored backup.
    """
    if epoch is None:
        return
    held = _held(writing, LEADER)
    current = held.epoch if held else 0
    if held is None or epoch != current:
        state = f"the leader's epoch is {current}" if held else "nobody was ever leader of this store"
        raise EpochStale(f"commit under epoch {epoch}: {state}: stop deciding, and acquire the lease anew")


def _held(writing: Writing, name: str) -> _Held | None:
    columns = (leases.c.holder, leases.c.epoch, leases.c.expires_wall_s)
    row = writing.connection.execute(sa.select(*columns).where(leases.c.name == name)).one_or_none()
    return None if row is None else _Held(*row)


def _put(writing: Writing, name: str, held: _Held, exists: bool) -> None:
    statement = sa.update(leases).where(leases.c.name == name) if exists else sa.insert(leases).values(name=name)
    values = {"holder": held.holder, "epoch": held.epoch, "expires_wall_s": held.expires_wall_s}
    writing.connection.execute(statement.values(**values))


def _now_s(writing: Writing) -> float:
    """The clock of the one who grants: PostgreSQL's own, since its clients' may differ; on SQLite this machine's."""
    if writing.connection.dialect.name == "sqlite":
        return writing.now_wall_s
    now = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")
    return float(writing.connection.execute(now).scalar_one())
