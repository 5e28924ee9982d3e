"""What the services of one priority may do together, and what they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.model.ids import NodeName, SiteName, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import DemandSpec, ServiceSpec, Within
from orchestrator.placement.candidates import Candidate, Field
from orchestrator.placement.ledger import Ledger, rivals
from orchestrator.placement.links import Link
from orchestrator.placement.objective import Tariff, counted_rps, tariff_of
from orchestrator.placement.outline import Outline

TRACE_RPS = 1e-6


class Stand(NamedTuple):
    """Where a replica stands: a node of an edge site, or a region's pool."""

    site: SiteName
    node: NodeName | None


class Pair(NamedTuple):
    """A service at a stand. `running` replicas stay for nothing; `most` are borne in all."""

    member: int
    candidate: Candidate
    stand: Stand
    running: int
    most: int


class Way(NamedTuple):
    """A zone's calls of a service to a site."""

    member: int
    demand: int  # index into `Problem.demands`
    candidate: Candidate
    zone: ZoneName
    rate_rps: float
    usd: float  # per call and second


@dataclass(frozen=True, slots=True)
class Demand:
    """A zone that nobody calls loads nothing: it has a trace of a rate, and its calls count `times` as much for it."""

    member: int
    zone: ZoneName
    rate_rps: float
    times: float
    unserved_usd: float  # per call and second


@dataclass(frozen=True, slots=True)
class Member:
    service: ServiceSpec
    seen: Field
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Purse:
    """What a quota leaves to all replicas of these members together."""

    name: str
    members: frozenset[int]
    left: Resources


@dataclass(frozen=True, slots=True)
class Problem:
    """All in an order that does not depend on the snapshot's."""

    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]  # by stand, then member
    demands: tuple[Demand, ...]
    ways: tuple[Way, ...]
    free: Mapping[Stand, Resources]  # beyond all that runs
    loads: Mapping[Link, Sequence[tuple[int, float]]]  # way, bits of one call
    room_bps: Mapping[Link, float]
    purses: tuple[Purse, ...]
    apart: tuple[tuple[int, int, Within], ...]  # members that are kept apart, each two once

    @property
    def stopped_elsewhere_usd(self) -> float:
        """What runs where it cannot stay is stopped in every plan."""
        total = 0.0
        for index, member in enumerate(self.members):
            known = sum(pair.running for pair in self.pairs if pair.member == index)
            total += (member.tariff.live - known) * member.tariff.stop_usd
        return total


def gather(services: Sequence[ServiceSpec], seen: Sequence[Field], ledger: Ledger) -> Problem:
    """From what each service saw. `ledger` is as it is before any of them is planned."""
    members = tuple(Member(s, f, tariff_of(s, f, ledger)) for s, f in zip(services, seen, strict=True))
    free: dict[Stand, Resources] = {}
    pairs = [pair for index, member in enumerate(members) for pair in _pairs(index, member, ledger, free)]
    pairs.sort(key=lambda pair: (pair.stand.site, pair.stand.node or "", pair.member))
    demands = [
        _demand(index, member, demand) for index, member in enumerate(members) for demand in _ordered(member.service)
    ]
    ways: list[Way] = []
    loads: dict[Link, list[tuple[int, float]]] = {}
    room_bps: dict[Link, float] = {}
    for number, demand in enumerate(demands):
        member = members[demand.member]
        for site in sorted(member.seen.candidates):
            candidate = member.seen.candidates[site]
            if (arc := candidate.arcs.get(demand.zone)) is None:
                continue
            usd = member.tariff.call_usd(candidate, demand.zone) * demand.times
            for room in ledger.links.rooms(arc.path, arc.demand, member.service.policy.wan_bps_per_zone):
                loads.setdefault(room.link, []).append((len(ways), room.call_bits))
                room_bps[room.link] = min(room_bps.get(room.link, room.bps), max(room.bps, 0.0))
            ways.append(Way(demand.member, number, candidate, demand.zone, demand.rate_rps, usd))
    return Problem(
        members=members,
        pairs=tuple(pairs),
        demands=tuple(demands),
        ways=tuple(ways),
        free=free,
        loads=loads,
        room_bps=room_bps,
        purses=tuple(_purses(members, ledger)),
        apart=tuple(_apart(members, ledger)),
    )


def _demand(index: int, member: Member, demand: DemandSpec) -> Demand:
    rate_rps = max(demand.rate_rps, TRACE_RPS)
    times = counted_rps(demand) / rate_rps
    return Demand(index, demand.zone, rate_rps, times, member.tariff.unserved_usd(demand.zone) * times)


def _purses(members: Sequence[Member], ledger: Ledger) -> Iterator[Purse]:
    """A quota counts what others of the class run against each of them; together they may move it.

    What a service in a freeze runs stays, also above its quota.
    """
    of_space: dict[str, list[int]] = {}
    for index, member in enumerate(members):
        of_space.setdefault(member.service.ref.namespace, []).append(index)
    for _, indices in sorted(of_space.items()):
        first, *others = (members[index].service for index in indices)
        theirs = _live(others, ledger)
        frozen = _live([members[index].service for index in indices if members[index].service.freeze], ledger)
        for quota, left in ledger.quota_left(first):
            together = left + theirs
            memory_bytes = max(together.memory_bytes, frozen.memory_bytes)
            compute_millis = max(together.compute_millis, frozen.compute_millis)
            name = f"{quota.namespace}/{quota.name}"
            yield Purse(name, frozenset(indices), Resources(memory_bytes, compute_millis))


def _live(services: Sequence[ServiceSpec], ledger: Ledger) -> Resources:
    return sum((claim.need for service in services for claim in ledger.live(service.ref)), Resources())


def _apart(members: Sequence[Member], ledger: Ledger) -> Iterator[tuple[int, int, Within]]:
    index_of = {member.service.ref: index for index, member in enumerate(members)}
    for index, member in enumerate(members):
        for rule in rivals(member.service, ledger.services):
            if (other := index_of.get(rule.service, -1)) > index:
                yield index, other, rule.within


def _ordered(service: ServiceSpec) -> list[DemandSpec]:
    return sorted(service.demands, key=lambda demand: demand.zone)


def _pairs(index: int, member: Member, ledger: Ledger, free: dict[Stand, Resources]) -> list[Pair]:
    found = []
    for site in sorted(member.seen.candidates):
        candidate = member.seen.candidates[site]
        need, running = candidate.variant.need, ledger.running_at(member.service, site, candidate.variant)
        for node, left in ledger.stands(member.service, candidate.site, candidate.variant).items():
            stand, most, runs = Stand(site, node), min(need.times_in(left), candidate.fit), running.get(node, 0)
            if most:
                # Whoever looks: its own replicas are free to it and taken for the others.
                free[stand] = left - need * runs if runs else left
                found.append(Pair(index, candidate, stand, min(runs, most), most))
    return found


def outline_of(
    problem: Problem, member: int, counts: Mapping[int, int], shares: Mapping[tuple[ZoneName, SiteName], float]
) -> Outline:
    """From the number of replicas of each of the member's pairs."""
    replicas: dict[SiteName, int] = {}
    added: dict[SiteName, list[tuple[NodeName | None, Resources]]] = {}
    total = Resources()
    for index, count in counts.items():
        pair = problem.pairs[index]
        site, new = pair.stand.site, max(count - pair.running, 0)
        replicas[site] = replicas.get(site, 0) + count
        total += pair.candidate.variant.need * count
        added.setdefault(site, []).extend([(pair.stand.node, pair.candidate.variant.need)] * new)
    return Outline({site: count for site, count in replicas.items() if count}, shares, total, added)
