"""Time as a seam: pure rooms are given `now_s`, shells are given a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_s(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970, for people and for what outlives the process."""
        ...


class SystemClock:
    def now_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()
