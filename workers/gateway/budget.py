"""How many retries are left: a token bucket, so that retries never double the load of a fleet that is down."""

SHARE_OF_CALLS = 0.2
PER_S = 10.0
BURST = 256.0  # the calls that may be waiting on one node when it falls silent


class RetryBudget:
    """Every call earns a part of a retry, time earns a few."""

    def __init__(self, now_s: float) -> None:
        self._tokens = BURST
        self._at_s = now_s

    def offered(self, now_s: float) -> None:
        earned = SHARE_OF_CALLS + PER_S * (now_s - self._at_s)
        self._tokens = min(BURST, self._tokens + earned)
        self._at_s = now_s

    def take(self) -> bool:
        """Whether one more retry may be made."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
