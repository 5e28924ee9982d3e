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

    def take(self, size_bytes: int, bps: int, now_s: float) -> float:
        """How long to wait until they are paid for under this limit; 0: no limit."""
        passed_s, self._at_s = max(0.0, now_s - self._at_s), now_s
        for limit, level in self._levels.items():
            self._levels[limit] = min(BURST_S * limit / 8, level + passed_s * limit / 8) - size_bytes
        if not bps:
            return 0.0
        return max(0.0, -self._levels.setdefault(bps, -size_bytes) * 8 / bps)


class Budget:
    """Of one node."""

    def __init__(self) -> None:
        self._buckets = Buckets()

    async def take(self, size_bytes: int, bps: int) -> None:
        """Wait until these bytes may come. `bps` 0: at once; they count all the same."""
        await asyncio.sleep(self._buckets.take(size_bytes, bps, asyncio.get_running_loop().time()))
