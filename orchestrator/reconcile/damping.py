"""Which of the changes that a planner proposes are made now: each service's in its own time.

What is asked for is done at once; what loses calls, once it stood for a moment; what only costs less, once it would
have been better for a minute; and what goes back and forth is held.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from orchestrator.model.ids import ServiceRef
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.snapshot import Decision, ServiceDecision
from orchestrator.reconcile.causes import plan_key
from orchestrator.reconcile.flapping import Place, Swings, calmed, moved, places
from orchestrator.reconcile.needs import Need, need_of
from orchestrator.reconcile.unloaded import unloaded

# Long enough that one slow probe moves nothing, short enough that callers of a slow site do not wait.
SETTLE_S = 1.5
# A minute costs a sixtieth of an hour's gain. The window of a leg's samples is as long: what drove the change is not in
# the figures any more by then, unless it lasts.
GAIN_SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Watch:
    """One service, as the loop remembers it."""

    asked: Hashable = None  # what operators want of it
    need: Need = Need.NONE
    since_s: Mapping[Need, float] = field(default_factory=lambda: MappingProxyType({}))  # each need or a greater one
    proposed: frozenset[Place] = frozenset()
    proposed_since_s: float = 0.0
    swings: Swings = field(default_factory=Swings)


Watches: TypeAlias = Mapping[ServiceRef, Watch]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A decision to carry out now, and what it was made of."""

    inputs: DecisionInputs
    decision: Decision


def watched(
    watches: Watches,
    running: Decision,
    proposed: Decision,
    asked: Mapping[ServiceRef, Hashable],
    urgent: Iterable[ServiceRef],
    now_s: float,
) -> dict[ServiceRef, Watch]:
    """With what is proposed now. `asked`: by service; one that is not in it cannot be judged and is left alone.

    `urgent`: of these a site with replicas is gone, or another version or variant is wanted.
    """
    urgent = frozenset(urgent)
    old = {s.service: s for s in running.services}
    found: dict[ServiceRef, Watch] = {}
    for one in proposed.services:
        before = watches.get(one.service, Watch())
        if one.service in asked:
            wanted = asked[one.service]
            found[one.service] = _watched(before, old.get(one.service), one, wanted, one.service in urgent, now_s)
        else:
            found[one.service] = replace(before, need=Need.NONE, since_s={})
    return found


def _watched(
    watch: Watch,
    running: ServiceDecision | None,
    proposed: ServiceDecision,
    asked: Hashable,
    urgent: bool,
    now_s: float,
) -> Watch:
    # Whoever edits a policy has looked: nothing is held against that.
    edited = watch.asked is not None and asked != watch.asked
    swings = Swings() if edited else watch.swings
    if running is None:
        return Watch(asked, Need.ASKED, {}, places(proposed), now_s, swings)
    need = need_of(running, proposed)
    if need is not Need.NONE and (urgent or edited or watch.need is Need.ASKED):
        need = Need.ASKED
    since_s = {each: watch.since_s.get(each, now_s) for each in Need if Need.NONE < each <= need}
    now, since = places(proposed), watch.proposed_since_s if watch.proposed == places(proposed) else now_s
    if now == places(running):
        swings = calmed(swings, now_s - since)
    return Watch(asked, need, since_s, now, since, swings)


def due(watches: Watches, now_s: float) -> frozenset[ServiceRef]:
    """Services that change now."""
    asked = any(watch.need is Need.ASKED for watch in watches.values())
    return frozenset(service for service, watch in watches.items() if _due(watch, asked, now_s))


def _due(watch: Watch, asked: bool, now_s: float) -> bool:
    match watch.need:
        case Need.NONE:
            return False
        case Need.ASKED:
            return True
        case Need.CALLS:
            # Whoever makes room for what was asked for goes with it.
            return asked or now_s - watch.since_s[Need.CALLS] >= SETTLE_S
        case need:
            if watch.swings.held:
                return now_s - watch.proposed_since_s >= watch.swings.quiet_s
            return now_s - watch.since_s[need] >= (SETTLE_S if need is Need.SHARES else GAIN_SETTLE_S)


def made(watches: Watches, before: Decision, after: Decision, now_s: float) -> dict[ServiceRef, Watch]:
    """Once `after` is in force: what moved is remembered."""
    old = {s.service: s for s in before.services}
    found = dict(watches)
    for one in after.services:
        watch, had = watches.get(one.service), old.get(one.service)
        if watch is not None and had is not None and need_of(had, one) is not Need.NONE:
            swings = moved(watch.swings, had, one, now_s)
            # What stood while it was not in force yet is no calm.
            since_s = now_s if places(had) != places(one) else watch.proposed_since_s
            found[one.service] = replace(watch, need=Need.NONE, since_s={}, proposed_since_s=since_s, swings=swings)
    return found


def admit(
    watches: Watches,
    inputs: DecisionInputs,
    proposed: Decision,
    running: Decision,
    decide: Callable[[DecisionInputs], Decision],
    now_s: float,
) -> tuple[Watches, Admitted | None]:
    """What of the proposal is made now, if anything; services that must wait go on as they run, and are planned around.

    `watches`: as of now; `inputs`: of the proposal.
    """
    now = due(watches, now_s)
    gaining = frozenset(s for s in now if watches[s].need is Need.GAIN)
    if gaining:
        base = unloaded(inputs.base, running) if inputs.base else None
        alone = decide(replace(inputs, snapshot=unloaded(inputs.snapshot, running), base=base))
        seeming = frozenset(s for s in gaining if _moves_for_own_queue(s, running, proposed, alone))
        now -= seeming
        watches = dict(watches) | {s: replace(watches[s], since_s={}, proposed_since_s=now_s) for s in seeming}
    gone = {s.service for s in running.services} - {s.service for s in proposed.services}
    if not now and not gone:
        return watches, None
    waiting = frozenset(s for s, watch in watches.items() if watch.need is not Need.NONE) - now
    if waiting:
        inputs = _without(inputs, running, waiting)
        proposed = decide(inputs)
    return watches, None if plan_key(proposed) == plan_key(running) else Admitted(inputs, proposed)


def _moves_for_own_queue(service: ServiceRef, running: Decision, proposed: Decision, alone: Decision) -> bool:
    """Whether it would not move there, if our own calls did not queue on the links that they take."""
    was, now, then = (
        next((places(s) for s in one.services if s.service == service), None) for one in (running, proposed, alone)
    )
    return was != now != then


def _without(inputs: DecisionInputs, running: Decision, waiting: Collection[ServiceRef]) -> DecisionInputs:
    """The question as if nobody asked about these services: what they run holds what it holds."""
    services = tuple(s for s in inputs.snapshot.services if s.ref not in waiting)
    carried = tuple(s for s in running.services if s.service in waiting)
    return replace(inputs, snapshot=replace(inputs.snapshot, services=services), carried=(*inputs.carried, *carried))


def told(watch: Watch) -> str:
    """Why what is proposed is not in force; "" where it is."""
    if watch.swings.held and watch.need < Need.CALLS:
        return hold_told(watch)
    match watch.need:
        case Need.NONE:
            return ""
        case Need.GAIN:
            return (
                f"it would cost less, and is made once it has for {GAIN_SETTLE_S:g} s, our own calls' queueing left out"
            )
        case _:
            return f"it is made once it was proposed for {SETTLE_S:g} s without a break"


def hold_told(watch: Watch) -> str:
    swings = watch.swings
    return (
        "the placement went back and forth and is held where it is, until it breaks a limit or the planner has wanted "
        f"the same for {swings.quiet_s / 60:.0f} min: "
        "raise stability.min_gain, pin or ban a site, or mend the link; an edit of the policy ends the hold"
    )


def remembered(decisions: Sequence[tuple[float, Decision]]) -> dict[ServiceRef, Watch]:
    """What a restarted loop knows of the placements before it: each with the moment it was made, the oldest first."""
    watches: dict[ServiceRef, Watch] = {}
    for (_, before), (at_s, after) in pairwise(decisions):
        watches = {one.service: watches.get(one.service, Watch()) for one in after.services}
        watches = made(watches, before, after, at_s)
    return watches
