"""Replicas that failed on this node, and when each is tried again. Pure."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from workers.edge.assignment import Content

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 300.0
STEADY_S = 600.0  # having served for so long, an end counts as a first one


@dataclass(frozen=True, slots=True)
class Failure:
    """`restarts`: how often its process has ended in a row; 0: its file does not load, which no new try changes."""

    reason: str
    restarts: int
    retry_at_s: float


class Failures:
    """The last failure of each content; one that serves again is kept until it has served steadily."""

    def __init__(self) -> None:
        self._found: dict[Content, Failure] = {}

    def refused(self, content: Content, reason: str) -> None:
        """It does not load: not tried again until it is assigned anew."""
        self._found[content] = Failure(reason, 0, math.inf)

    def ended(self, content: Content, reason: str, served_s: float, now_s: float) -> None:
        """Its process ended after `served_s` of service: tried again after a wait that doubles."""
        before = self._found.get(content)
        restarts = before.restarts + 1 if before and served_s < STEADY_S else 1
        wait_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(restarts - 1, 20))
        again = f"; it is started again {wait_s:g} s later" if restarts == 1 else f"; end {restarts} in a row"
        self._found[content] = Failure(f"{reason}{again}", restarts, now_s + wait_s)

    def waiting(self, content: Content, now_s: float) -> Failure | None:
        """The failure that keeps it from being loaded now."""
        failure = self._found.get(content)
        return failure if failure and now_s < failure.retry_at_s else None

    def last(self, content: Content) -> Failure | None:
        return self._found.get(content)

    def keep(self, contents: Collection[Content]) -> None:
        self._found = {content: failure for content, failure in self._found.items() if content in contents}
