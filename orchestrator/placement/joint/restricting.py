"""One service of a problem by itself, in what the outlines of the others leave.

For the search's plans: it knows limits on all replicas of a service only as limits on calls, so that two replicas may
be spread over three sites, and nothing of services that are kept apart. A service by itself is small enough to be
solved with every rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf

from orchestrator.model.ids import SiteName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import PolicySpec, Within
from orchestrator.placement.joint.problem import Problem, Purse, Stand
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


def alone(problem: Problem, member: int, outlines: Sequence[Outline]) -> Problem:
    """With the best sites of each zone, and those of its own outline, of its pins, and where it runs."""
    sites = _sites(problem, member, outlines[member])
    sites -= _taken_by_rivals(problem, member, outlines)
    free = _free(problem, member, outlines)
    used_bps = _used_bps(problem, member, outlines)
    ways = [(index, way) for index, way in enumerate(problem.ways) if way.member == member]
    ways = [(index, way) for index, way in ways if way.candidate.site.name in sites]
    demands = [index for index, demand in enumerate(problem.demands) if demand.member == member]
    demand_of, way_of = {old: new for new, old in enumerate(demands)}, {old: new for new, (old, _) in enumerate(ways)}
    pairs = [pair for pair in problem.pairs if pair.member == member and pair.stand.site in sites]
    loads = {
        link: [(way_of[way], bits) for way, bits in its if way in way_of] for link, its in sorted(problem.loads.items())
    }
    return Problem(
        members=(problem.members[member],),
        pairs=tuple(replace(pair, member=0) for pair in pairs),
        demands=tuple(replace(problem.demands[index], member=0) for index in demands),
        ways=tuple(replace(way, member=0, demand=demand_of[way.demand]) for _, way in ways),
        free=free,
        loads={link: its for link, its in loads.items() if its},
        room_bps={link: max(problem.room_bps[link] - used_bps.get(link, 0.0), 0.0) for link in loads},
        purses=tuple(
            replace(purse, members=frozenset({0}), left=_left(problem, purse, member, outlines))
            for purse in problem.purses
            if member in purse.members
        ),
        apart=(),
    )


def _sites(problem: Problem, member: int, outline: Outline) -> set[SiteName]:
    tariff = problem.members[member].tariff
    of_zone: dict[str, list[tuple[float, SiteName]]] = {}
    sites = set(outline.replicas) | {pin.site for pin in problem.members[member].service.policy.pins}
    for way in problem.ways:
        if way.member == member:
            usd = way.usd + tariff.added_usd(way.candidate) / min(way.candidate.replica_rps, way.rate_rps)
            of_zone.setdefault(way.zone, []).append((usd, way.candidate.site.name))
            if way.candidate.running:
                sites.add(way.candidate.site.name)
    for ways in of_zone.values():
        sites |= {site for _, site in sorted(ways)[:MOST_SITES_PER_ZONE]}
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


def _used_bps(problem: Problem, member: int, outlines: Sequence[Outline]) -> dict[Link, float]:
    used: dict[Link, float] = {}
    for link, loads in problem.loads.items():
        for index, bits in loads:
            way = problem.ways[index]
            if way.member != member:
                share = outlines[way.member].shares.get((way.zone, way.candidate.site.name), 0.0)
                used[link] = used.get(link, 0.0) + share * way.rate_rps * bits
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
