"""What grows is cut back: the change log, the decisions with their inputs, tokens and revocations past their time."""

import asyncio
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.control.joining import TOKEN
from orchestrator.control.seams import Store
from orchestrator.control.world import REVOCATION
from orchestrator.model.stored import Batch, Delete, Lease, Owner, Retention, StoredObject

EVERY_S = 60.0
KEEP_CHANGES = 20_000  # a watcher may be away for hours on a quiet installation, minutes on a busy one
# A commit waits while a batch is pruned: some tens of milliseconds at this size.
PRUNE_AT_ONCE = 200
PRUNE_BATCHES = 50  # of one round; the next goes on
DAY_S = 86_400.0


@dataclass(slots=True)
class Housekeeping:
    """The leader does it, seldom."""

    store: Store
    clock: Clock
    retention: Retention
    _next_s: float = 0.0

    async def tick(self, _lease: Lease) -> None:
        if self.clock.now_s() < self._next_s:
            return
        self._next_s = self.clock.now_s() + EVERY_S
        await asyncio.to_thread(self.store.compact, KEEP_CHANGES)
        await self._prune()
        for kind in (TOKEN, REVOCATION):
            await self._forget(kind)

    async def _forget(self, kind: str) -> None:
        """What says itself until when it matters."""
        now_s = self.clock.wall_s()
        found, _ = await asyncio.to_thread(self.store.list_objects, kind)
        past = [one for one in found if _until(one) < now_s]
        if past:
            writes = tuple(Delete(one.key, Owner.CONTROL, one.revision) for one in past)
            await asyncio.to_thread(self.store.commit, Batch(writes))

    async def _prune(self) -> None:
        kept, oldest_wall_s = self.retention.decisions, self.clock.wall_s() - self.retention.days * DAY_S
        for _ in range(PRUNE_BATCHES):
            if await asyncio.to_thread(self.store.prune_decisions, kept, oldest_wall_s, PRUNE_AT_ONCE) < PRUNE_AT_ONCE:
                return


def _until(stored: StoredObject) -> float:
    until = stored.spec.get("until_wall_s")
    return until if isinstance(until, int | float) else 0.0
