"""Nodes that operators take out of use: what the planner still counts on there, and what is handed over.

A cordoned node offers what it holds and no more. Of a draining one only that counts which nothing else can take: the
planner is first asked as if the node were not there, and where that would lose calls or break a rule, the replica
stays until something changes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef
from orchestrator.model.nodes import NodeOrders
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, ServiceDecision
from orchestrator.model.specs import NodeSpec
from orchestrator.reconcile.needs import NOTHING
from orchestrator.reconcile.observed import LIVE, SeenNode


def handed_over(
    claims: Iterable[Claim], orders: NodeOrders, staying: Collection[ServiceRef]
) -> dict[ServiceRef, frozenset[NodeName]]:
    """For each service that is to leave draining nodes, those on which it has replicas."""
    found: dict[ServiceRef, set[NodeName]] = {}
    for claim in claims:
        if _leaves(claim, orders, staying) and isinstance(claim.hold, ReplicaHold) and claim.node is not None:
            found.setdefault(claim.hold.service, set()).add(claim.node)
    return {service: frozenset(nodes) for service, nodes in found.items()}


def _leaves(claim: Claim, orders: NodeOrders, staying: Collection[ServiceRef]) -> bool:
    hold = claim.hold
    return (
        claim.node in orders.draining
        and claim.phase in LIVE
        and isinstance(hold, ReplicaHold)
        and hold.service not in staying
    )


def counted_claims(claims: Sequence[Claim], orders: NodeOrders, staying: Collection[ServiceRef]) -> tuple[Claim, ...]:
    """What the planner sees as running: a replica that leaves its node is to be placed anew."""
    return tuple(claim for claim in claims if not _leaves(claim, orders, staying))


def offered(nodes: Iterable[NodeSpec], orders: NodeOrders, counted: Iterable[Claim]) -> list[NodeSpec]:
    """As the planner sees them: one that takes nothing new offers what stays there (`counted`), at most all it has."""
    held: dict[NodeName, Resources] = {}
    for claim in counted:
        if claim.node in orders.cordoned and claim.node is not None:
            held[claim.node] = held.get(claim.node, Resources()) + claim.need
    return [
        replace(node, capacity=_least(node.capacity, held.get(node.name, Resources())), schedulable=False)
        if node.name in orders.cordoned
        else node
        for node in nodes
    ]


def _least(one: Resources, other: Resources) -> Resources:
    return Resources(min(one.memory_bytes, other.memory_bytes), min(one.compute_millis, other.compute_millis))


def staying(proposed: Decision, running: Decision | None, leaving: Collection[ServiceRef]) -> dict[ServiceRef, str]:
    """Of the services that are to leave, those that would lose something by it, and what. `proposed`: without them.

    Compared with what is in force: what is lacking already is no reason to stay.
    """
    old = {one.service: one for one in running.services} if running else {}
    new = {one.service: one for one in proposed.services}
    found = {service: _lost(old.get(service), new[service]) for service in leaving if service in new}
    return {service: why for service, why in found.items() if why}


def _lost(before: ServiceDecision | None, after: ServiceDecision) -> str:
    had = {one.zone: one.share for one in before.unserved} if before else {}
    for one in after.unserved:
        if one.share > had.get(one.zone, 0.0) + NOTHING:
            near = f"; nearest is {one.nearest.site}: {one.nearest.detail}" if one.nearest else ""
            return f"{one.share:.0%} of zone {one.zone}'s calls would be served by nobody{near}"
    if not after.chosen:
        return "no other site may hold it" + (f": {after.refused[0].detail}" if after.refused else "")
    kept = {one.rule for one in before.shortfalls} if before else {one.rule for one in after.shortfalls}
    return next((f"{one.rule}: {one.detail}" for one in after.shortfalls if one.rule not in kept), "")


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a draining node is. `stays`: by service why it cannot go."""

    node: NodeName
    replicas: int  # claims that are not gone yet, and replicas that it still reports
    waiting: int  # of them, those whose successors are not ready
    stays: Mapping[ServiceRef, str]

    @property
    def empty(self) -> bool:
        return self.replicas == 0

    @property
    def sentence(self) -> str:
        if self.empty:
            return "it holds no replica"
        if self.stays:
            told = "; ".join(f"{service}: {why}" for service, why in sorted(self.stays.items()))
            return (
                f"{self.replicas} left, and nothing else can take what stays: {told}: make room elsewhere or relax the "
                f"policy, or give it up with `skerry uncordon {self.node}`"
            )
        stopping = self.replicas - self.waiting
        parts = [f"{self.waiting} until their successors are ready"] if self.waiting else []
        parts += [f"{stopping} stopping"] if stopping else []
        return f"{self.replicas} left: {', '.join(parts)}"


def progress(
    node: NodeName, seen: SeenNode | None, claims: Iterable[Claim], stays: Mapping[ServiceRef, str]
) -> DrainProgress:
    """`claims`: all of the ledger, as it is once this tick is written."""
    mine = [claim for claim in claims if claim.node == node and claim.phase is not ClaimPhase.RELEASED]
    services = Counter(claim.hold.service for claim in mine if isinstance(claim.hold, ReplicaHold))
    reported = set(seen.replicas) if seen else set()
    return DrainProgress(
        node=node,
        replicas=len({claim.id for claim in mine} | reported),
        waiting=sum(claim.phase in LIVE for claim in mine),
        stays={service: why for service, why in stays.items() if service in services},
    )
