"""A leg's recent samples as one estimate.

The window is long, so that one hiccup of a busy machine is not taken for the link's tail: a p99 of few samples is their
worst one. It is cut where the leg itself changed: once the newest `RECENT` samples have another median than those
before them by more than `SHIFT`, only they count: the estimate has moved in 8 samples either way. What is older than
`MAX_AGE_S` says nothing about now and is forgotten.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

ROUND_TRIPS = 256
RECENT = 8
SHIFT = 1.5  # as a ratio, and by SHIFT_MS at least: a leg of 0.3 ms that takes 0.6 has not changed for any policy
SHIFT_MS = 3.0
TRANSFERS = 5  # of throughput: rarer than round trips, dearer, and steadier
MAX_AGE_S = 60.0

# A transfer that is hardly longer than a round trip says "faster than we can tell", not "infinitely fast".
LEAST_TRANSFER_S = 0.000_2


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One small message there and back."""

    rtt_ms: float
    method: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """One sized message each way, with the time that each took beyond a round trip."""

    up_bytes: int
    up_s: float
    down_bytes: int
    down_s: float
    method: str


Sample: TypeAlias = RoundTrip | Transfer


@dataclass(frozen=True, slots=True)
class LegEstimate:
    """What the window says of the leg. Throughputs are None until they were measured."""

    source: str
    target: str
    rtt_p50_ms: float
    rtt_p99_ms: float
    up_bps: float | None
    down_bps: float | None
    samples: int
    newest_age_s: float
    method: str


class LegWindow:
    """The samples of one leg, newest last; bounded in count and in age."""

    def __init__(self, source: str, target: str) -> None:
        self._source, self._target = source, target
        self._round_trips: deque[tuple[float, RoundTrip]] = deque(maxlen=ROUND_TRIPS)
        self._transfers: deque[tuple[float, Transfer]] = deque(maxlen=TRANSFERS)

    def add(self, sample: Sample, now_s: float) -> None:
        """Take a sample in, as of its receipt."""
        if isinstance(sample, RoundTrip):
            self._round_trips.append((now_s, sample))
            self._cut_at_shift()
        else:
            self._transfers.append((now_s, sample))

    def estimate(self, now_s: float) -> LegEstimate | None:
        """None until there is a round trip that is young enough."""
        self._forget(now_s)
        if not self._round_trips:
            return None
        rtts_ms = [sample.rtt_ms for _, sample in self._round_trips]
        transfers = [sample for _, sample in self._transfers]
        newest_s, newest = self._round_trips[-1]
        return LegEstimate(
            source=self._source,
            target=self._target,
            rtt_p50_ms=quantile(rtts_ms, 0.5),
            rtt_p99_ms=quantile(rtts_ms, 0.99),
            up_bps=_median_bps([(each.up_bytes, each.up_s) for each in transfers]),
            down_bps=_median_bps([(each.down_bytes, each.down_s) for each in transfers]),
            samples=len(rtts_ms),
            newest_age_s=max(0.0, now_s - newest_s),
            method=newest.method,
        )

    def _cut_at_shift(self) -> None:
        rtts_ms = [sample.rtt_ms for _, sample in self._round_trips]
        before, recent = rtts_ms[:-RECENT], rtts_ms[-RECENT:]
        if len(before) < RECENT // 2:
            return
        low, high = sorted((quantile(before, 0.5), quantile(recent, 0.5)))
        if high > SHIFT * low and high - low > SHIFT_MS:
            self._round_trips = deque(list(self._round_trips)[-RECENT:], maxlen=ROUND_TRIPS)

    def _forget(self, now_s: float) -> None:
        while self._round_trips and now_s - self._round_trips[0][0] > MAX_AGE_S:
            self._round_trips.popleft()
        while self._transfers and now_s - self._transfers[0][0] > MAX_AGE_S:
            self._transfers.popleft()


def quantile(values: Iterable[float], share: float) -> float:
    """Nearest rank: the least value that at least `share` of `values` do not exceed. `values` is not empty."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1]


def _median_bps(transfers: Sequence[tuple[int, float]]) -> float | None:
    if not transfers:
        return None
    return quantile([8 * count / max(taken_s, LEAST_TRANSFER_S) for count, taken_s in transfers], 0.5)
