"""How fast artifacts may come over the WAN: each with the limit of its own policy, and all counted against each.

A budget is of a site's link, whoever uses it: what one service fetches leaves less of the link to the next.
"""

import asyncio
from dataclasses import dataclass, field

BURST_S = 1.0  # of unused budget that is not lost


@dataclass(slots=True)
class Buckets:
    """One for each limit in use, in bits per second; pure. What is taken may be owed, so that nothing is too large."""

    _levels: dict[int, float] = field(default_factory=dict)  # bytes; below 0: so much is owed
    _at_s: float = 0.0

    def wait_s(self, bps: int, now_s: float) -> float:
        """How long until more may be taken under this limit; 0: now."""
        self._refill(now_s)
        return max(0.0, -self._levels.setdefault(bps, 0.0) * 8 / bps)

    def take(self, size_bytes: int, now_s: float) -> None:
        self._refill(now_s)
        for bps in self._levels:
            self._levels[bps] -= size_bytes

    def _refill(self, now_s: float) -> None:
        passed_s, self._at_s = max(0.0, now_s - self._at_s), now_s
        for bps, level in self._levels.items():
            self._levels[bps] = min(BURST_S * bps / 8, level + passed_s * bps / 8)


class Budget:
    """Of one node."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._turns: dict[int, asyncio.Lock] = {}

    async def take(self, size_bytes: int, bps: int) -> None:
        """Wait until these bytes may be asked for. `bps` 0: at once; they count all the same."""
        loop = asyncio.get_running_loop()
        if bps:
            async with self._turns.setdefault(bps, asyncio.Lock()):  # who came first is served first
                await asyncio.sleep(self._buckets.wait_s(bps, loop.time()))
                self._buckets.take(size_bytes, loop.time())
            return
        self._buckets.take(size_bytes, loop.time())
