"""A placement that goes back and forth: noticed, and held where it is until it would stay away for long enough.

Reversals are counted, not changes: a service that follows its callers round the world moves often and never flaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import ServiceDecision

# Of one service, what may go back within the window before it is held. A link that was slow once and one that was
# slow twice are told apart by the third return; an hour holds it for links that change every ten minutes.
MOST_REVERSALS = 3
WINDOW_S = 3_600.0
# For so long what is proposed must stay the same before a held service moves, or counts as calm; each hold in a row
# asks for twice as much. A link that changes every ten minutes, which the window just notices, never ends the first.
QUIET_S = 900.0
MOST_QUIET_S = 4 * 3_600.0
MOVED = 0.1  # of a zone's calls: less is no move

Place: TypeAlias = tuple[ZoneName | None, SiteName]  # a zone's calls at a site; None: the site's replicas


@dataclass(frozen=True, slots=True)
class Turn:
    """How a place last changed."""

    grew: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class Swings:
    """What one service's placement did lately. `holds`: how often it was held without a calm hour between."""

    turns: Mapping[Place, Turn] = field(default_factory=lambda: MappingProxyType({}))
    reversals_s: tuple[float, ...] = ()
    held: bool = False
    holds: int = 0

    @property
    def quiet_s(self) -> float:
        """How long a proposal must stand to end the hold."""
        return float(min(QUIET_S * 2 ** min(max(self.holds - 1, 0), 16), MOST_QUIET_S))


def moved(swings: Swings, before: ServiceDecision, after: ServiceDecision, now_s: float) -> Swings:
    """With one change that was made. However many places it turns back, it is one reversal."""
    old, new = _filled(before), _filled(after)
    turns = {place: turn for place, turn in swings.turns.items() if now_s - turn.at_s < WINDOW_S}
    back = changed = False
    for place in old.keys() | new.keys():
        change = new.get(place, 0.0) - old.get(place, 0.0)
        if abs(change) >= MOVED:
            changed = True
            back = back or (place in turns and turns[place].grew != (change > 0))
            turns[place] = Turn(change > 0, now_s)
    if not changed:
        return swings
    recent = tuple(at_s for at_s in swings.reversals_s if now_s - at_s < WINDOW_S)
    reversals_s = (*recent, now_s) if back else recent
    holds = swings.holds if recent or swings.held else 0
    if swings.held or (back and len(reversals_s) >= MOST_REVERSALS):
        return Swings(turns, reversals_s, True, holds + 1)
    return Swings(turns, reversals_s, False, holds)


def calmed(swings: Swings, stood_s: float) -> Swings:
    """`stood_s`: for how long the planner has wanted what is in force."""
    return replace(swings, held=False) if swings.held and stood_s >= swings.quiet_s else swings


def places(decided: ServiceDecision) -> frozenset[Place]:
    """Where a placement is, without the figures that change with every sample."""
    return frozenset(place for place, part in _filled(decided).items() if part >= MOVED)


def _filled(decided: ServiceDecision) -> dict[Place, float]:
    """The parts of each zone's calls, and a 1 for each site with replicas, however many."""
    filled: dict[Place, float] = {(None, c.site): 1.0 for c in decided.chosen}
    for one in decided.shares:
        filled[one.zone, one.site] = one.share
    return filled
