"""One service of a problem by itself, in what the outlines of the others leave.

For the search's plans: it knows limits on all replicas of a service only as limits on calls, so that two replicas may
be spread over three sites, and nothing of services that are kept apart. A service by itself is small enough to be
solved with every rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from math import inf

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import PolicySpec, Within
from orchestrator.placement.joint.problem import Pair, Problem, Purse, Stand
from orchestrator.placement.links import Link
from orchestrator.placement.outline import Outline

# Of each zone the cheapest sites; the ones left out would have to be chosen against so many cheaper ones.
MOST_SITES_PER_ZONE = 10


def breaks_rules(problem: Problem, member: int, outlines: Sequence[Outline]) -> bool:
    """Whether a policy's rules about all replicas, or about its rivals, ask for another plan than this."""
    outline = outlines[member]
    if outline.replicas.keys() & _taken_by_rivals(problem, member, outlines):
        return True
    policy, seen = problem.members[member].service.policy, problem.members[member].seen
    total = sum(outline.replicas.values())
    if not policy.replicas_min <= total <= policy.replicas_max or policy.survive_site_losses:
        return True
    usd = sum(n * seen.candidates[site].replica_usd_per_hour for site, n in outline.replicas.items())
    if policy.max_usd_per_hour is not None and usd > policy.max_usd_per_hour:
        return True
    domains = {seen.candidates[site].site.failure_domain for site in outline.replicas}
    return len(domains) < policy.min_failure_domains or any(_unmet(policy, outline))


def contested_usd(problem: Problem, member: int, outlines: Sequence[Outline]) -> float:
    """What its calls to sites count that a rival wants too; infinite where there are none."""
    taken = outlines[member].replicas.keys() & _taken_by_rivals(problem, member, outlines)
    worth = {
        demand.zone: demand.rate_rps * demand.unserved_usd for demand in problem.demands if demand.member == member
    }
    shares = outlines[member].shares.items()
    return sum(share * worth[zone] for (zone, site), share in shares if site in taken) if taken else inf


def _unmet(policy: PolicySpec, outline: Outline) -> Iterator[bool]:
    for pin in policy.pins:
        yield outline.replicas.get(pin.site, 0) < pin.replicas


@dataclass(frozen=True, slots=True)
class Parts:
    """Of a problem, by member, and links by way: sought once for all members that are solved by themselves."""

    problem: Problem
    pairs: Sequence[Sequence[Pair]]
    demands: Sequence[Sequence[int]]  # by index into the problem, as ways are
    ways: Sequence[Sequence[int]]
    way_at: Mapping[tuple[int, ZoneName, SiteName], int]
    loads: Mapping[int, Sequence[tuple[Link, float]]]  # bits of one call


def parts_of(problem: Problem) -> Parts:
    pairs: list[list[Pair]] = [[] for _ in problem.members]
    demands: list[list[int]] = [[] for _ in problem.members]
    ways: list[list[int]] = [[] for _ in problem.members]
    way_at: dict[tuple[int, ZoneName, SiteName], int] = {}
    loads: dict[int, list[tuple[Link, float]]] = {}
    for pair in problem.pairs:
        pairs[pair.member].append(pair)
    for index, demand in enumerate(problem.demands):
        demands[demand.member].append(index)
    for index, way in enumerate(problem.ways):
        ways[way.member].append(index)
        way_at[way.member, way.zone, way.candidate.site.name] = index
    for link, its in sorted(problem.loads.items()):
        for index, bits in its:
            loads.setdefault(index, []).append((link, bits))
    return Parts(problem, pairs, demands, ways, way_at, loads)


def alone(parts: Parts, member: int, outlines: Sequence[Outline]) -> Problem:
    """With the best sites of each zone, and those of its own outline, of its pins, and where it runs."""
    problem = parts.problem
    sites = _sites(parts, member, outlines[member])
    sites -= _taken_by_rivals(problem, member, outlines)
    ways = [index for index in parts.ways[member] if problem.ways[index].candidate.site.name in sites]
    demand_of = {old: new for new, old in enumerate(parts.demands[member])}
    loads: dict[Link, list[tuple[int, float]]] = {}
    for number, index in enumerate(ways):
        for link, bits in parts.loads.get(index, ()):
            loads.setdefault(link, []).append((number, bits))
    used_bps = _used_bps(parts, member, outlines)
    return Problem(
        members=(problem.members[member],),
        pairs=tuple(pair._replace(member=0) for pair in parts.pairs[member] if pair.stand.site in sites),
        demands=tuple(replace(problem.demands[index], member=0) for index in demand_of),
        ways=tuple(problem.ways[i]._replace(member=0, demand=demand_of[problem.ways[i].demand]) for i in ways),
        free=_free(problem, member, outlines),
        loads=loads,
        room_bps={link: max(problem.room_bps[link] - used_bps.get(link, 0.0), 0.0) for link in loads},
        purses=tuple(
            replace(purse, members=frozenset({0}), left=_left(problem, purse, member, outlines))
            for purse in problem.purses
            if member in purse.members
        ),
        apart=(),
    )


def _sites(parts: Parts, member: int, outline: Outline) -> set[SiteName]:
    tariff = parts.problem.members[member].tariff
    of_zone: dict[str, list[tuple[float, SiteName]]] = {}
    sites = set(outline.replicas) | {pin.site for pin in parts.problem.members[member].service.policy.pins}
    for way in (parts.problem.ways[index] for index in parts.ways[member]):
        usd = way.usd + tariff.added_usd(way.candidate) / min(way.candidate.replica_rps, way.rate_rps)
        of_zone.setdefault(way.zone, []).append((usd, way.candidate.site.name))
        if way.candidate.running:
            sites.add(way.candidate.site.name)
    for ways in of_zone.values():
        sites |= {site for _, site in nsmallest(MOST_SITES_PER_ZONE, ways)}
    return sites


def _taken_by_rivals(problem: Problem, member: int, outlines: Sequence[Outline]) -> set[SiteName]:
    seen = problem.members[member].seen
    taken: set[SiteName] = set()
    for one, other, within in problem.apart:
        if member in (one, other):
            theirs = outlines[other if one == member else one].replicas.keys()
            taken |= theirs
            if within is Within.FAILURE_DOMAIN:
                rival = problem.members[other if one == member else one].seen
                domains = {rival.candidates[site].site.failure_domain for site in theirs}
                taken |= {name for name, c in seen.candidates.items() if c.site.failure_domain in domains}
    return taken


def _free(problem: Problem, member: int, outlines: Sequence[Outline]) -> Mapping[Stand, Resources]:
    free = dict(problem.free)
    for index, outline in enumerate(outlines):
        if index != member:
            for site, added in outline.added.items():
                for node, need in added:
                    free[Stand(site, node)] -= need
    return free


def _used_bps(parts: Parts, member: int, outlines: Sequence[Outline]) -> dict[Link, float]:
    given = {
        parts.way_at[other, zone, site]: share
        for other, outline in enumerate(outlines)
        if other != member
        for (zone, site), share in outline.shares.items()
    }
    used: dict[Link, float] = {}
    for index, share in sorted(given.items()):  # in one order: sums of floats depend on it
        for link, bits in parts.loads.get(index, ()):
            used[link] = used.get(link, 0.0) + share * parts.problem.ways[index].rate_rps * bits
    return used


def _needs(problem: Problem, members: frozenset[int], outlines: Sequence[Outline]) -> Resources:
    needs = (
        problem.members[other].seen.candidates[site].variant.need * count
        for other in members
        for site, count in outlines[other].replicas.items()
    )
    return sum(needs, Resources())


def _left(problem: Problem, purse: Purse, member: int, outlines: Sequence[Outline]) -> Resources:
    return purse.left - _needs(problem, purse.members - {member}, outlines)
