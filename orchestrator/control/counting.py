"""Counted calls in windows of time, as they are forecast from. In memory only: five minutes are soon counted again."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from orchestrator.placement.forecast import WINDOW_S, WINDOWS, forecast_rps

MOST_KEYS = 20_000  # a front counts only what operators wrote; this bounds what a broken one can make us hold
COVERED = 0.5  # of a window: less says nothing about it
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Counts:
    calls: dict[int, float] = field(default_factory=dict)  # by window, numbered from the clock's zero
    sources: set[str] = field(default_factory=set)


@dataclass(slots=True)
class CountedCalls(Generic[Key]):
    """`source` names who counts: a window in which none of a key's sources was heard is unknown, not empty."""

    most_keys: int = MOST_KEYS
    _keys: dict[Key, _Counts] = field(default_factory=dict)
    _covered_s: dict[str, dict[int, float]] = field(default_factory=dict)

    def heard(self, source: str, since_s: float, now_s: float) -> None:
        """`source` has said all that it counted from `since_s` to `now_s`."""
        covered = self._covered_s.setdefault(source, {})
        for window, share in _spread(since_s, now_s):
            covered[window] = covered.get(window, 0.0) + share * (now_s - since_s)
        _forget(covered, now_s)

    def count(self, key: Key, source: str, calls: float, since_s: float, now_s: float) -> None:
        """They came evenly, as far as anybody knows. Raises ValueError when there is no room for another key."""
        if key not in self._keys and len(self._keys) >= self.most_keys:
            raise ValueError(f"{self.most_keys} pairs of service and zone are counted already")
        counts = self._keys.setdefault(key, _Counts())
        counts.sources.add(source)
        for window, share in _spread(since_s, now_s):
            counts.calls[window] = counts.calls.get(window, 0.0) + share * calls

    def forecasts_rps(self, now_s: float) -> dict[Key, float]:
        """Of each key that was asked for in the last five minutes."""
        for key, counts in list(self._keys.items()):
            _forget(counts.calls, now_s)
            if not counts.calls:
                del self._keys[key]
        return {key: forecast_rps(self._windows(counts, now_s)) for key, counts in self._keys.items()}

    def _windows(self, counts: _Counts, now_s: float) -> list[float | None]:
        """Newest first. The first ends now: the running window, and of the one before it what is not too old."""
        running, into = divmod(now_s, WINDOW_S)
        last = int(running)
        sliding = counts.calls.get(last, 0.0) + counts.calls.get(last - 1, 0.0) * (1 - into / WINDOW_S)
        covered = [self._covered_s.get(source, {}) for source in counts.sources]
        known = any(last in each or last - 1 in each for each in covered)
        return [
            sliding if known else None,
            *(
                counts.calls.get(window, 0.0)
                if any(each.get(window, 0.0) >= COVERED * WINDOW_S for each in covered)
                else None
                for window in range(last - 1, last - WINDOWS, -1)
            ),
        ]


def _spread(since_s: float, now_s: float) -> Iterator[tuple[int, float]]:
    """The windows from `since_s` to `now_s`, each with its share of that time; what is too old is left out."""
    last = int(now_s // WINDOW_S)
    if now_s <= since_s:
        yield last, 1.0
        return
    for window in range(max(int(since_s // WINDOW_S), last - WINDOWS), last + 1):
        inside_s = min(now_s, (window + 1) * WINDOW_S) - max(since_s, window * WINDOW_S)
        if inside_s > 0:
            yield window, inside_s / (now_s - since_s)


def _forget(by_window: dict[int, float], now_s: float) -> None:
    oldest = int(now_s // WINDOW_S) - WINDOWS
    for window in [window for window in by_window if window <= oldest]:
        del by_window[window]
