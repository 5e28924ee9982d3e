"""Round trips as a sketch: small, mergeable without loss, each quantile within `ACCURACY` of a sample.

DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019). Bounds on what the sketch cannot know, for want of samples, are in
`bounds`. docs/decisions/0010-sketches-and-forecasts.md says why this one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ddsketch import DDSketch

ACCURACY = 0.01  # of a value: 0.1 ms of 10, which is less than what echoes vary by
LEAST_MS, MOST_MS = 0.001, 60_000.0  # beyond these nothing is a round trip; they bound the number of bins
MOST_SAMPLES = 50_000  # of one leg, merged: 200 probers at four a second; `bounds` reckons with 0.99 to this power


@dataclass(frozen=True, slots=True)
class Bins:
    """A sketch as a value, as it travels: `keys` rise, each with its count; the least and the worst sample exactly."""

    keys: tuple[int, ...]
    counts: tuple[int, ...]
    least_ms: float
    worst_ms: float


class RttSketch(DDSketch):
    """Of round trips in ms. The order of samples and of merges does not matter."""

    def __init__(self, rtts_ms: Iterable[float] = ()) -> None:
        super().__init__(ACCURACY)
        for rtt_ms in rtts_ms:
            self.add(rtt_ms)

    def add(self, val: float, weight: float = 1.0) -> None:
        super().add(min(max(val, LEAST_MS), MOST_MS), weight)

    @property
    def samples(self) -> int:
        return int(self.count)

    @property
    def worst_ms(self) -> float:
        return self._max

    def at_rank(self, rank: int) -> float:
        """The `rank`-th smallest sample, counted from 1. The first and the last are exact. Not of an empty sketch."""
        if rank <= 1:
            return self._min
        if rank >= self.samples:
            return self._max
        found = self._mapping.value(self._store.key_at_rank(rank - 0.5))
        return min(max(found, self._min), self._max)

    def quantile(self, share: float) -> float:
        """Nearest rank: the least sample that at least `share` of them do not exceed."""
        return self.at_rank(-int(-self.samples * share // 1))

    def bins(self) -> Bins:
        filled = [(key, round(count)) for key, count in enumerate(self._store.bins, self._store.offset) if count]
        return Bins(tuple(key for key, _ in filled), tuple(count for _, count in filled), self._min, self._max)

    def take(self, bins: Bins) -> None:
        """Merge what another sketch held. Raises ValueError where no sketch of round trips could have made them."""
        self._check(bins)
        for key, count in zip(bins.keys, bins.counts, strict=True):
            self._store.add(key, count)
        self._count += sum(bins.counts)
        self._min, self._max = min(self._min, bins.least_ms), max(self._max, bins.worst_ms)

    def _check(self, bins: Bins) -> None:
        """Before anything is taken: the store makes room for every key between the least and the greatest."""
        if len(bins.keys) != len(bins.counts) or not bins.keys:
            raise ValueError(f"{len(bins.keys)} keys and {len(bins.counts)} counts")
        if any(count < 1 for count in bins.counts) or self.samples + sum(bins.counts) > MOST_SAMPLES:
            raise ValueError(f"counts are 1 or more, and {MOST_SAMPLES} together with those that are here at most")
        if any(after <= before for before, after in zip(bins.keys, bins.keys[1:], strict=False)):
            raise ValueError("keys do not rise")
        if not LEAST_MS <= bins.least_ms <= bins.worst_ms <= MOST_MS:  # false for NaN, too
            raise ValueError(f"least {bins.least_ms} ms, worst {bins.worst_ms} ms")
        # Another machine's logarithm may put a sample that lies between two bins into the other one.
        for key, exact_ms in ((bins.keys[0], bins.least_ms), (bins.keys[-1], bins.worst_ms)):
            if abs(key - self._mapping.key(exact_ms)) > 1:
                raise ValueError(f"key {key} is not where {exact_ms} ms belongs")
