"""What reporters said that cannot be: refused, counted and shown, never handed to the planner."""

import logging
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

MOST_NAME = 256  # characters of any name that a report brings
MOST_KEPT = 100  # by what they are of; whoever makes up names must not fill the memory


@dataclass(frozen=True, slots=True)
class Refused:
    """As `skerry status` shows it: how often, and why the last time."""

    kind: str  # "leg" or "demand"
    name: str
    count: int
    reason: str
    at_s: float


@dataclass(slots=True)
class Refusals:
    _kept: dict[tuple[str, str], Refused] = field(default_factory=dict)

    def add(self, kind: str, name: str, reason: str, now_s: float) -> None:
        """Said once in the log, and then counted: a broken agent reports twice a second."""
        key = (kind, name[: 2 * MOST_NAME])
        before = self._kept.get(key)
        if before is None:
            log.warning("measurement refused", extra={"kind": kind, "of": key[1], "reason": reason})
            if len(self._kept) >= MOST_KEPT:
                del self._kept[min(self._kept, key=lambda key: self._kept[key].at_s)]
        self._kept[key] = Refused(*key, before.count + 1 if before else 1, reason, now_s)

    def all(self) -> list[Refused]:
        return [self._kept[key] for key in sorted(self._kept)]
