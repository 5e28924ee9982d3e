"""What a policy says of all replicas of a service, as something that its calls use up.

A replica carries at most its rate, so that calls of `r` per second take at least `r / rate` replicas: a limit on
replicas, on their price or on what a tenant holds is one on calls too. Arrays know no other; whole replicas may need
more, which the caps of `filling` keep.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.placement.costs import weight
from orchestrator.placement.joint.problem import Problem

MIB = 1 << 20
Constraint = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """`uses`: of each way, what one call per second takes of it."""

    constraint: Constraint
    most: float
    unit: str
    uses: Sequence[tuple[int, float]]


def replicas_max(service: str) -> Constraint:
    return "replicas.max", service


def replicas_min(service: str) -> Constraint:
    return "replicas.min", service


def cost_max(service: str) -> Constraint:
    return "cost.max_usd_per_hour", service


def domain_share(service: str, domain: str) -> Constraint:
    return "replicas.max_share_per_domain", service, domain


def quota(kind: str, name: str) -> Constraint:
    return f"quota.{kind}", name


def totals(problem: Problem) -> Iterator[Total]:
    """Not of a service in a freeze: what it keeps may be above its limits."""
    ways_of: dict[int, list[int]] = {}
    for index, way in enumerate(problem.ways):
        ways_of.setdefault(way.member, []).append(index)
    for member, ways in sorted(ways_of.items()):
        if problem.members[member].service.freeze is None:
            yield from _of_service(problem, member, ways)
    for purse in problem.purses:
        ways = [index for member in sorted(purse.members) for index in ways_of.get(member, ())]
        needs = [(i, problem.ways[i].candidate.variant.need, problem.ways[i].candidate.replica_rps) for i in ways]
        memory = [(i, need.memory_bytes / MIB / rps) for i, need, rps in needs]
        compute = [(i, need.compute_millis / 1000 / rps) for i, need, rps in needs]
        yield Total(quota("memory", purse.name), purse.left.memory_bytes / MIB, "MiB", memory)
        yield Total(quota("compute", purse.name), purse.left.compute_millis / 1000, "cores", compute)


def _of_service(problem: Problem, member: int, ways: Sequence[int]) -> Iterator[Total]:
    service = problem.members[member].service
    policy, name = service.policy, str(service.ref)
    sites = [(index, problem.ways[index].candidate) for index in ways]
    slots = [(index, 1 / candidate.replica_rps) for index, candidate in sites]
    yield Total(replicas_max(name), policy.replicas_max, "replicas", slots)
    if policy.max_usd_per_hour is not None:
        usd = [(index, candidate.replica_usd_per_hour / candidate.replica_rps) for index, candidate in sites]
        yield Total(cost_max(name), policy.max_usd_per_hour, "USD/h", usd)
    if policy.max_share_per_domain < 1:
        parts = {demand.zone: weight(demand, service) for demand in service.demands}
        of_domain: dict[str, list[tuple[int, float]]] = {}
        for index, candidate in sites:
            way = problem.ways[index]
            of_domain.setdefault(candidate.site.failure_domain, []).append((index, parts[way.zone] / way.rate_rps))
        for domain, uses in sorted(of_domain.items()):
            yield Total(domain_share(name, domain), policy.max_share_per_domain, "of the calls", uses)


def held(problem: Problem) -> Iterator[Total]:
    """The same limits as they are on whole replicas. `uses`: of each pair, what one replica takes."""
    for index, member in enumerate(problem.members):
        if member.service.freeze is None:
            pairs = [(i, pair.candidate) for i, pair in enumerate(problem.pairs) if pair.member == index]
            policy, name = member.service.policy, str(member.service.ref)
            yield Total(replicas_max(name), policy.replicas_max, "replicas", [(i, 1.0) for i, _ in pairs])
            if policy.max_usd_per_hour is not None:
                usd = [(i, candidate.replica_usd_per_hour) for i, candidate in pairs]
                yield Total(cost_max(name), policy.max_usd_per_hour, "USD/h", usd)
    for purse in problem.purses:
        needs = [
            (i, pair.candidate.variant.need) for i, pair in enumerate(problem.pairs) if pair.member in purse.members
        ]
        memory = [(i, need.memory_bytes / MIB) for i, need in needs]
        compute = [(i, need.compute_millis / 1000) for i, need in needs]
        yield Total(quota("memory", purse.name), purse.left.memory_bytes / MIB, "MiB", memory)
        yield Total(quota("compute", purse.name), purse.left.compute_millis / 1000, "cores", compute)


def limits_of_member(problem: Problem, member: int) -> frozenset[Constraint]:
    """On whole replicas."""
    name = str(problem.members[member].service.ref)
    purses = [purse.name for purse in problem.purses if member in purse.members]
    quotas = {quota(kind, purse) for purse in purses for kind in ("memory", "compute")}
    return frozenset({replicas_max(name), cost_max(name)} | quotas)
