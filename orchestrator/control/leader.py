"""Leadership: one control plane decides at a time, under an epoch that fences every older one."""

import asyncio
import logging

from orchestrator.clock import Clock
from orchestrator.control.seams import Store
from orchestrator.errors import EpochStale
from orchestrator.model.stored import Lease

log = logging.getLogger(__name__)

LEASE = "leader"
RENEW_AT = 1 / 3  # of the time to live: two renewals may fail


class Leader:
    """Holds the lease, or finds out that another does."""

    def __init__(self, store: Store, holder: str, ttl_s: float, clock: Clock) -> None:
        self._store, self._holder, self._ttl_s, self._clock = store, holder, ttl_s, clock
        self._lease: Lease | None = None
        self._renewed_s = 0.0

    @property
    def lease(self) -> Lease | None:
        return self._lease

    async def hold(self) -> Lease | None:
        """The lease, taken or renewed when it is due; None while another holds it."""
        now_s = self._clock.now_s()
        if self._lease is not None and now_s - self._renewed_s < self._ttl_s * RENEW_AT:
            return self._lease
        before = self._lease
        try:
            self._lease = await asyncio.to_thread(self._store.acquire_lease, LEASE, self._holder, self._ttl_s)
        except EpochStale as err:
            self._lease = None
            if before is not None:
                log.warning("leadership lost", extra={"holder": self._holder, "reason": str(err)})
            return None
        self._renewed_s = now_s
        if before is None or before.epoch != self._lease.epoch:
            log.info("leadership taken", extra={"holder": self._holder, "epoch": self._lease.epoch})
        return self._lease

    async def held(self) -> Lease | None:
        """The lease as it was last taken, for loops that leave the renewal to another."""
        return self._lease

    async def release(self) -> None:
        """So that a successor need not wait for the lease to run out."""
        if self._lease is not None:
            await asyncio.to_thread(self._store.release_lease, self._lease)
            self._lease = None
