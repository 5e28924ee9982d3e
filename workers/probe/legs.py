"""A leg's recent samples as one estimate.

The window is long, so that one hiccup of a busy machine is not taken for the link's tail: a p99 of few samples is their
worst one. It is cut where the leg itself changed: once the newest `RECENT` samples have another median than those
before them by more than `SHIFT`, only they count: the estimate has moved in 8 samples either way. What is older than
`MAX_AGE_S` says nothing about now and is forgotten; of a leg that is probed rarely because it rests, what makes as many
samples is kept for as long as that takes.

The newest samples are kept as they are, those before them in sketches of a slice of time each: what the window takes
does not grow with the rate of probing, and windows of the same leg merge.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from workers.probe.bounds import p99_bounds_ms
from workers.probe.sketch import Bins, RttSketch

RECENT = 8
SLICES = 6  # of the window's age: the step in which samples are forgotten
SHIFT = 1.5  # as a ratio, and by SHIFT_MS at least: a leg of 0.3 ms that takes 0.6 has not changed for any policy
SHIFT_MS = 3.0
TRANSFERS = 5  # of throughput: rarer than round trips, dearer, and steadier
MAX_AGE_S = 60.0
TRANSFERS_AGE_S = 24 * 3600.0  # at rest: a transfer is dear, and is repeated every few hours

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
class RoundTrips:
    """What a sketch says of round trips. `p99_low_ms` to `p99_high_ms` holds the link's p99 in 90 windows of 100."""

    p05_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p99_low_ms: float
    p99_high_ms: float
    samples: int


@dataclass(frozen=True, slots=True)
class LegEstimate:
    """What the window says of the leg. Throughputs are None until they were measured: median, and what 9 of 10 reach.

    `round_trips` is what the figures were read from, for whoever has more of the same leg.
    """

    source: str
    target: str
    rtt_p05_ms: float
    rtt_p50_ms: float
    rtt_p95_ms: float
    rtt_p99_ms: float
    rtt_p99_low_ms: float
    rtt_p99_high_ms: float
    up_bps: float | None
    down_bps: float | None
    up_p10_bps: float | None
    down_p10_bps: float | None
    samples: int
    newest_age_s: float
    method: str
    round_trips: Bins


def round_trips_of(sketch: RttSketch) -> RoundTrips:
    """`sketch` is not empty."""
    low_ms, high_ms = p99_bounds_ms(sketch)
    return RoundTrips(
        p05_ms=sketch.quantile(0.05),
        p50_ms=sketch.quantile(0.5),
        p95_ms=sketch.quantile(0.95),
        p99_ms=sketch.quantile(0.99),
        p99_low_ms=low_ms,
        p99_high_ms=high_ms,
        samples=sketch.samples,
    )


@dataclass(slots=True)
class _Slice:
    since_s: float  # of its oldest sample
    sketch: RttSketch = field(default_factory=RttSketch)


class LegWindow:
    """The samples of one leg, newest last; bounded in age, and by sketches in size."""

    def __init__(self, source: str, target: str) -> None:
        self._source, self._target = source, target
        self._recent: deque[tuple[float, RoundTrip]] = deque()
        self._slices: deque[_Slice] = deque()
        self._before = RttSketch()  # the slices together
        self._transfers: deque[tuple[float, Transfer]] = deque(maxlen=TRANSFERS)
        self._most_age_s = self._transfers_age_s = MAX_AGE_S

    @property
    def target(self) -> str:
        return self._target

    def rest(self, rest_s: float) -> None:
        """It is probed every `rest_s` while nothing changes; 0: once a second or so, as ever."""
        self._most_age_s = max(MAX_AGE_S, MAX_AGE_S * rest_s)
        self._transfers_age_s = TRANSFERS_AGE_S if rest_s else MAX_AGE_S

    def add(self, sample: Sample, now_s: float) -> None:
        """Take a sample in, as of its receipt."""
        self._forget(now_s)
        if isinstance(sample, RoundTrip):
            self._recent.append((now_s, sample))
            if len(self._recent) > RECENT:
                self._settle(*self._recent.popleft())
                self._cut_at_shift()
        else:
            self._transfers.append((now_s, sample))

    def estimate(self, now_s: float) -> LegEstimate | None:
        """None until there is a round trip that is young enough."""
        self._forget(now_s)
        if not self._recent:
            return None
        sketch = RttSketch(sample.rtt_ms for _, sample in self._recent)
        sketch.merge(self._before)
        trips = round_trips_of(sketch)
        transfers = [sample for _, sample in self._transfers]
        up_bps = [_bps(each.up_bytes, each.up_s) for each in transfers]
        down_bps = [_bps(each.down_bytes, each.down_s) for each in transfers]
        newest_s, newest = self._recent[-1]
        return LegEstimate(
            source=self._source,
            target=self._target,
            rtt_p05_ms=trips.p05_ms,
            rtt_p50_ms=trips.p50_ms,
            rtt_p95_ms=trips.p95_ms,
            rtt_p99_ms=trips.p99_ms,
            rtt_p99_low_ms=trips.p99_low_ms,
            rtt_p99_high_ms=trips.p99_high_ms,
            up_bps=_share_of(up_bps, 0.5),
            down_bps=_share_of(down_bps, 0.5),
            up_p10_bps=_share_of(up_bps, 0.1),
            down_p10_bps=_share_of(down_bps, 0.1),
            samples=trips.samples,
            newest_age_s=max(0.0, now_s - newest_s),
            method=newest.method,
            round_trips=sketch.bins(),
        )

    def _settle(self, at_s: float, sample: RoundTrip) -> None:
        if not self._slices or at_s - self._slices[-1].since_s >= self._most_age_s / SLICES:
            self._slices.append(_Slice(at_s))
        self._slices[-1].sketch.add(sample.rtt_ms)
        self._before.add(sample.rtt_ms)

    def _cut_at_shift(self) -> None:
        if self._before.samples < RECENT // 2:
            return
        recent_ms = quantile([sample.rtt_ms for _, sample in self._recent], 0.5)
        low, high = sorted((self._before.quantile(0.5), recent_ms))
        if high > SHIFT * low and high - low > SHIFT_MS:
            self._slices.clear()
            self._before = RttSketch()

    def _forget(self, now_s: float) -> None:
        """Slices whole, once their oldest sample is too old."""
        while self._recent and now_s - self._recent[0][0] > self._most_age_s:
            self._recent.popleft()
        while self._transfers and now_s - self._transfers[0][0] > self._transfers_age_s:
            self._transfers.popleft()
        if self._slices and now_s - self._slices[0].since_s > self._most_age_s:
            while self._slices and now_s - self._slices[0].since_s > self._most_age_s:
                self._slices.popleft()
            self._before = RttSketch()
            for each in self._slices:
                self._before.merge(each.sketch)


def quantile(values: Iterable[float], share: float) -> float:
    """Nearest rank: the least value that at least `share` of `values` do not exceed. `values` is not empty."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1]


def _bps(count_bytes: int, taken_s: float) -> float:
    return 8 * count_bytes / max(taken_s, LEAST_TRANSFER_S)


def _share_of(measured_bps: Sequence[float], share: float) -> float | None:
    return quantile(measured_bps, share) if measured_bps else None
