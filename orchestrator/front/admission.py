"""How fast a front takes nodes: when thousands dial at once, most are told when to come back, each at another time.

An attachment costs far more than the beats after it. Were all taken at once, each would wait for all the others, lose
its patience and dial again, and the front would work for nobody.
"""

PER_S = 300.0  # 10,000 in 34 s; measured on one slow core: 1 ms each, and as much again for a handshake of TLS
BURST = 300
MOST_WAIT_S = 120.0


class Admission:
    """A steady rate with a burst. Who is refused gets the next free place in time, so that few are refused twice."""

    def __init__(self, per_s: float = PER_S, burst: int = BURST) -> None:
        self._gap_s, self._burst_s = 1 / per_s, burst / per_s
        self._taken_until_s = 0.0  # what was taken is worked off by then
        self._booked_until_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """0: it is taken. Else when to dial again."""
        backlog_s = max(0.0, self._taken_until_s - now_s)
        if backlog_s + self._gap_s <= self._burst_s:
            self._taken_until_s = now_s + backlog_s + self._gap_s
            return 0.0
        # Not before the burst is worked off, else the first places are taken by whoever comes anew.
        self._booked_until_s = max(self._booked_until_s, now_s + backlog_s) + self._gap_s
        return min(self._booked_until_s - now_s, MOST_WAIT_S)
