"""`suite --events`: what one event moves, in a fleet that runs as it was planned.

A service is touched by an event if its own facts change: its policy, its demand, a site or leg that it used. What
others start or stop is unrelated: somebody's replica moved for another's sake.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from rich.table import Table

from benchmarks.placement.suite.carrying import carried_out, placed, running
from benchmarks.placement.suite.instances import SETTINGS
from orchestrator.model.claims import JobHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.model.specs import NodeSpec, ServiceSpec, SiteKind, SiteSpec
from orchestrator.placement import place
from orchestrator.placement.auditing import audit

# Decisions carried out one after the other before the first event: the start is what a fleet settles to.
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Event:
    """`touched`: services whose facts change; `site`: whoever moves there is touched too."""

    name: str
    after: Snapshot
    touched: frozenset[ServiceRef]
    site: SiteName | None = None


def settled(snapshot: Snapshot, seed: int) -> Snapshot:
    """A fleet out of its freezes, which runs as `place` wants it."""
    snapshot = replace(snapshot, services=tuple(replace(one, freeze=None) for one in snapshot.services))
    for _ in range(ROUNDS):
        snapshot = carried_out(snapshot, place(snapshot, SETTINGS, seed))
    return snapshot


def events(start: Snapshot, random: Generator) -> Iterator[Event]:
    yield Event("nothing", start, frozenset())
    held = running(start)
    busy = sorted({name for _, name, _ in held})
    edges = [site for site in start.sites if site.kind is SiteKind.EDGE and site.name in busy]
    lost = edges[int(random.integers(len(edges)))]
    yield Event(f"node loss at {lost.name}", _without_a_node(start, lost), _users(start, lost.name))
    grown = edges[int(random.integers(len(edges)))]
    more = NodeSpec(NodeName(f"{grown.name}-new"), grown.nodes[0].capacity)
    wider = replace(grown, capacity=grown.capacity + more.capacity, nodes=(*grown.nodes, more))
    yield Event(f"node join at {grown.name}", _with_site(start, wider), frozenset(), grown.name)
    yield _demand(start, random)
    slow = edges[int(random.integers(len(edges)))]
    yield Event(f"legs of {slow.name} 30% slower", _slower(start, slow.name, 1.3), _users(start, slow.name))
    named = sorted(ref for ref, _, _ in held)
    ref = named[int(random.integers(len(named)))]
    yield Event(f"{ref}: replicas.min + 2", _policy(start, ref), frozenset({ref}))


def _users(start: Snapshot, site: SiteName) -> frozenset[ServiceRef]:
    return frozenset(ref for ref, name, _ in running(start) if name == site)


def _with_site(start: Snapshot, site: SiteSpec) -> Snapshot:
    return replace(start, sites=tuple(site if one.name == site.name else one for one in start.sites))


def _without_a_node(start: Snapshot, site: SiteSpec) -> Snapshot:
    """Its last node, with the replicas on it; a site of one node is not reachable any more."""
    gone, left = site.nodes[-1], site.nodes[:-1]
    after = replace(site, nodes=left, capacity=site.capacity - gone.capacity, reachable=bool(left))
    claims = tuple(claim for claim in start.claims if (claim.site, claim.node) != (site.name, gone.name))
    return replace(_with_site(start, after), claims=claims)


def _demand(start: Snapshot, random: Generator) -> Event:
    """One demand in a hundred, at least one, asks a third more or less."""
    keys = [(service.ref, demand.zone) for service in start.services for demand in service.demands]
    picked = random.choice(len(keys), max(len(keys) // 100, 1), replace=False)
    factors = {keys[int(at)]: float(np.exp(random.normal(0, 0.3))) for at in picked}

    def changed(service: ServiceSpec) -> ServiceSpec:
        demands = (replace(d, rate_rps=d.rate_rps * factors.get((service.ref, d.zone), 1.0)) for d in service.demands)
        return replace(service, demands=tuple(demands))

    after = replace(start, services=tuple(changed(service) for service in start.services))
    return Event(f"{len(factors)} of {len(keys)} demands", after, frozenset(ref for ref, _ in factors))


def _slower(start: Snapshot, site: SiteName, factor: float) -> Snapshot:
    paths = tuple(
        replace(
            path,
            legs=tuple(
                replace(
                    leg,
                    rtt_p50_ms=leg.rtt_p50_ms * factor,
                    rtt_p95_ms=None,
                    rtt_p99_ms=leg.rtt_p99_ms * factor,
                    rtt_p99_low_ms=None,
                    rtt_p99_high_ms=None,
                )
                for leg in path.legs
            ),
        )
        if path.site == site
        else path
        for path in start.paths
    )
    return replace(start, paths=paths)


def _policy(start: Snapshot, ref: ServiceRef) -> Snapshot:
    def changed(service: ServiceSpec) -> ServiceSpec:
        if service.ref != ref:
            return service
        held = sum(count for (of, _, _), count in running(start).items() if of == ref)
        return replace(service, policy=replace(service.policy, replicas_min=held + 2))

    return replace(start, services=tuple(changed(service) for service in start.services))


def events_table(snapshot: Snapshot, seed: int, progress: Callable[[str], None]) -> tuple[Table, int]:
    """The table, and how many violations all decisions have."""
    progress("settling")
    start = settled(snapshot, seed)
    table, violations = Table(), 0
    for head in (
        "event",
        "time s",
        "starts",
        "stops",
        "unrelated",
        "cost $/h",
        "planned anew $/h",
        "more",
        "violations",
    ):
        table.add_column(head, justify="left" if head == "event" else "right")
    for event in events(start, np.random.Generator(np.random.PCG64(seed))):
        progress(event.name)
        start_s = time.perf_counter()
        decision = place(event.after, SETTINGS, seed)
        seconds = time.perf_counter() - start_s
        found = audit(event.after, SETTINGS, decision)
        violations += len(found.violations)
        starts, stops, unrelated = moves(event, decision)
        cost = found.usd_per_hour - sum(costs.changes for costs in found.costs.values())
        anew = cost_planned_anew(event.after, seed)
        figures = (f"{seconds:.2f}", str(starts), str(stops), str(unrelated), f"{cost:.2f}", f"{anew:.2f}")
        table.add_row(event.name, *figures, f"{cost / anew - 1:+.2%}", str(len(found.violations)))
    return table, violations


def moves(event: Event, decision: Decision) -> tuple[int, int, int]:
    """Starts, stops, and those of services that the event does not touch."""
    wanted, runs = placed(decision), running(event.after)
    started, stopped = wanted - runs, runs - wanted
    movers = {ref for ref, site, _ in started if site == event.site}
    related = event.touched | movers
    unrelated = sum(n for part in (started, stopped) for (ref, _, _), n in part.items() if ref not in related)
    return started.total(), stopped.total(), unrelated


def cost_planned_anew(snapshot: Snapshot, seed: int) -> float:
    """Without anything running, so without hysteresis; starts are not counted."""
    empty = replace(snapshot, claims=tuple(claim for claim in snapshot.claims if isinstance(claim.hold, JobHold)))
    found = audit(empty, SETTINGS, place(empty, SETTINGS, seed))
    return found.usd_per_hour - sum(costs.changes for costs in found.costs.values())
