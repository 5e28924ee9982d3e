"""What grows is cut back: the change log, and the decisions with their inputs."""

import asyncio
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.control.seams import Store
from orchestrator.model.stored import Lease

EVERY_S = 60.0
KEEP_CHANGES = 20_000  # a watcher may be away for hours on a quiet installation, minutes on a busy one
KEEP_DECISIONS = 2_000


@dataclass(slots=True)
class Housekeeping:
    """The leader does it, seldom."""

    store: Store
    clock: Clock
    _next_s: float = 0.0

    async def tick(self, _lease: Lease) -> None:
        if self.clock.now_s() < self._next_s:
            return
        self._next_s = self.clock.now_s() + EVERY_S
        await asyncio.to_thread(self.store.compact, KEEP_CHANGES)
        await asyncio.to_thread(self.store.prune_decisions, KEEP_DECISIONS)
