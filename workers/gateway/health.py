"""Which routes failed a moment ago: a pure value with ejection windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

FIRST_WINDOW_S = 0.5
LONGEST_WINDOW_S = 8.0
FORGOTTEN_AFTER_S = 60.0  # of silence after its window; a failure later than that starts anew


class RouteKey(NamedTuple):
    """A replica as it is now: a new incarnation starts with a clean name."""

    replica: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class Mark:
    failures: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """Marks of the routes that failed since they last answered. A route without a mark is good."""

    marks: Mapping[RouteKey, Mark] = field(default_factory=dict)

    def ejected(self, key: RouteKey, now_s: float) -> bool:
        mark = self.marks.get(key)
        return mark is not None and now_s < mark.until_s

    def failed(self, key: RouteKey, now_s: float) -> "Health":
        """Eject for twice as long as the last time.

        A failure inside the window changes nothing: the calls under way when a replica dies fail together, and are one
        piece of news.
        """
        if self.ejected(key, now_s):
            return self
        kept = {k: mark for k, mark in self.marks.items() if now_s < mark.until_s + FORGOTTEN_AFTER_S}
        failures = kept[key].failures + 1 if key in kept else 1
        window_s = min(FIRST_WINDOW_S * 2 ** min(failures - 1, 16), LONGEST_WINDOW_S)
        return Health({**kept, key: Mark(failures, now_s + window_s)})

    def answered(self, key: RouteKey) -> "Health":
        if key not in self.marks:
            return self
        return Health({k: mark for k, mark in self.marks.items() if k != key})
