"""Plans of all for a fleet too large to be planned from nothing at every tick.

Ticks go on from the last one, and plan anew only what changed since; the next one is made beside them.
"""

import asyncio
import logging
from dataclasses import dataclass, replace

from orchestrator.clock import Clock
from orchestrator.control.codec import decision_from, to_json
from orchestrator.control.replaying import replay
from orchestrator.errors import OrchestratorError
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.placement.deciding import Decided

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """A plan of all, and what it was made of. `taken_s`: when the snapshot was; `took_s`: to plan."""

    snapshot: Snapshot
    decision: Decision
    taken_s: float
    took_s: float


class FullPlans:
    """Holds the last one. A restarted process has none, so that its first tick plans all.

    `most_pairs`: of a service and a site; a fleet of no more is planned from nothing at each tick.
    """

    def __init__(self, clock: Clock, most_pairs: int, every_s: float) -> None:
        self._clock, self._most_pairs, self._every_s = clock, most_pairs, every_s
        self._next_s = 0.0
        self._making: asyncio.Task[None] | None = None
        self.base: Base | None = None

    def base_for(self, snapshot: Snapshot) -> Base | None:
        """What a decision of `snapshot` is to go on from; None: plan all."""
        return self.base if self._is_large(snapshot) else None

    def made(self, inputs: DecisionInputs, decided: Decided, taken_s: float) -> None:
        """After each tick: keeps a plan of all of a large fleet, or has the next one made if it is time."""
        if not self._is_large(inputs.snapshot):
            self.base = None
        elif decided.in_full:
            self._keep(inputs.snapshot, decided.planned, taken_s)
        elif (self._making is None or self._making.done()) and self._clock.now_s() >= self._next_s:
            self._making = asyncio.create_task(self._make(replace(inputs, base=None, carried=())))

    def end(self) -> None:
        """A new epoch: what was planned before may be of another leader's world."""
        self.base = None
        if self._making is not None:
            self._making.cancel()
            self._making = None

    def _is_large(self, snapshot: Snapshot) -> bool:
        return len(snapshot.services) * len(snapshot.sites) > self._most_pairs

    def _keep(self, snapshot: Snapshot, planned: Decision, taken_s: float) -> None:
        now_s = self._clock.now_s()
        self.base, self._next_s = Base(snapshot, planned, taken_s, now_s - taken_s), now_s + self._every_s

    async def _make(self, inputs: DecisionInputs) -> None:
        """In a process of its own, which leaves this one's core to the ticks; a failure is told and tried again."""
        began_s = self._clock.now_s()
        self._next_s = began_s + self._every_s
        try:
            planned = await asyncio.to_thread(_planned, inputs, self._clock.wall_s(), self._every_s)
            self._keep(inputs.snapshot, planned, began_s)
            log.info("all planned anew", extra={"took_s": round(self._clock.now_s() - began_s, 1)})
        except OrchestratorError as err:
            reason = f"{err}: what runs goes on, and the next try is in {self._every_s:g} s"
            log.warning("plan of all failed", extra={"reason": reason})


def _planned(inputs: DecisionInputs, wall_s: float, limit_s: float) -> Decision:
    return decision_from(replay(to_json(inputs), wall_s, None, limit_s).decision_json)
