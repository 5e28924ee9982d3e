"""How often a leg is probed: often while it is new or changes, rarely while it stays as it is.

A probe costs bytes that somebody pays for. Once a leg is known, a sample that agrees with those before it says little,
so that each doubles the wait up to the rest; one that does not agree is followed at the quick pace, and a leg that has
really changed is known anew within as many quick samples as the window takes to turn.
"""

from collections import deque

from workers.probe.legs import RECENT, SHIFT, SHIFT_MS, quantile

SPARING_FROM_S = 5.0  # of the heartbeat that the front asks for
MOST_S = 3_600.0
START = 30  # samples at the quick pace: a p99 wants many


class ProbePace:
    """`quick_s` between two probes, and up to `rest_s` at rest; 0: never at rest."""

    def __init__(self, quick_s: float, rest_s: float = 0.0) -> None:
        self._quick_s, self.rest_s = quick_s, rest_s
        self._recent_ms: deque[float] = deque(maxlen=RECENT)
        self._taken = 0
        self._due_s = quick_s

    @property
    def wait_s(self) -> float:
        """From this probe to the next."""
        return max(self._quick_s, min(self._due_s, self.rest_s))

    @property
    def rests(self) -> bool:
        return self.wait_s > self._quick_s

    def sampled(self, rtt_ms: float) -> None:
        self._taken += 1
        agrees = bool(self._recent_ms) and not _shifted(quantile(self._recent_ms, 0.5), rtt_ms)
        self._recent_ms.append(rtt_ms)
        self._due_s = min(2 * self._due_s, MOST_S) if agrees and self._taken >= START else self._quick_s


def rest_of(heartbeat_s: float) -> float:
    """A front that wants to hear of its nodes often wants to know their legs as well as it can; else two beats."""
    return 2 * heartbeat_s if heartbeat_s >= SPARING_FROM_S else 0.0


def _shifted(usual_ms: float, rtt_ms: float) -> bool:
    low_ms, high_ms = sorted((usual_ms, rtt_ms))
    return high_ms > SHIFT * low_ms and high_ms - low_ms > SHIFT_MS
