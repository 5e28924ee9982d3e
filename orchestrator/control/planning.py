"""`skerry plan`: what would change if a file were applied now. Nothing is written, and the loop's own code decides."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from orchestrator.clock import Clock
from orchestrator.control.observations import Observations
from orchestrator.control.placing import PlacementLoop
from orchestrator.control.rollouts import ended_rollouts, versions_by_site
from orchestrator.control.world import World, world_of
from orchestrator.errors import Unavailable
from orchestrator.model.ids import SiteName
from orchestrator.model.plan import ObjectChange, Plan, Problem
from orchestrator.model.snapshot import Decision
from orchestrator.model.specs import ServiceSpec
from orchestrator.model.stored import Put, StoredObject
from orchestrator.model.view import PlacementView
from orchestrator.reconcile.planning import effect, gaps, running, settled, transfers
from orchestrator.reconcile.rollouts import announced, wave_rules
from orchestrator.reconcile.staging import staged
from orchestrator.reconcile.viewing import view
from orchestrator.reconcile.wants import wants
from orchestrator.store import check_write


def with_objects(world: World, objects: Sequence[StoredObject]) -> World:
    """As if these were written."""
    found = {key: stored for those in world.objects.values() for key, stored in those.items()}
    found |= {stored.key: stored for stored in objects}
    return world_of(found.values(), world.claims)


def as_written(put: Put, existing: StoredObject | None, wall_s: float) -> StoredObject:
    """What a write would leave. Raises OwnerConflict, RevisionStale where the store would refuse it now."""
    check_write(put, existing)
    if existing is None:
        return StoredObject(put.key, "", 0, 0, put.owner, put.labels or {}, put.spec or {}, {}, wall_s)
    return replace(existing, spec=put.spec or {}, labels=put.labels or {}, owner=put.owner)


async def plan(
    placing: PlacementLoop, observations: Observations, clock: Clock, world: World, objects: Sequence[ObjectChange]
) -> tuple[Plan, Callable[[], PlacementView]]:
    """From what runs to what would run in `world`, once everything has obeyed; the view is made if it is asked for.

    Raises Unavailable.
    """
    now_s, wall_s, current = clock.now_s(), clock.wall_s(), placing.current
    observed = observations.observed(now_s)
    if placing.too_early(world, observed, now_s):
        raise Unavailable("plan: the sites and fronts are still reporting what runs: ask again in a few seconds")
    proposal = await placing.propose(world, observed, now_s)
    taken, decision = proposal.taken, proposal.decision
    services, sites = taken.snapshot.services, {site.name: site for site in taken.snapshot.sites}
    versions = versions_by_site(decision, ended_rollouts(world), world.claims)
    wanted = staged(wants(decision, services, world.claims, sites), versions, world.claims, taken.versions, sites)
    reached = settled(
        wanted,
        world.claims,
        observed,
        sites,
        taken.lost_after_s,
        wall_s,
        taken.braked,
        taken.handed_over,
        taken.updates,
    )
    after = reached.claims
    limits_ms = {service.ref: service.policy.latency_p99_ms for service in services}
    before = current.decision if current else None
    ran, runs, name = running(world.claims), running(after), current.id if current else ""
    gaps_s = gaps(reached.in_place, after, taken.artifact_sizes, _down_bps(observations, now_s))
    found = effect(before, decision, ran, runs, limits_ms, name, gaps_s)
    holders = {node: front for node in observed.nodes if (front := observations.holder(node)) is not None}
    told = replace(
        found,
        changed=found.changed or any(one.action != "unchanged" for one in objects),
        objects=tuple(objects),
        transfers=transfers(world.claims, after, taken.artifact_sizes, holders),
        causes=(*found.causes, *_waves(before, decision, services)),
        problems=tuple(Problem(service, reason) for service, reason in sorted(taken.problems.items())),
    )
    return told, lambda: replace(view(before, decision, ran, runs, taken.snapshot, name), problems=told.problems)


def _down_bps(observations: Observations, now_s: float) -> dict[SiteName, float]:
    """What each site's own leg brings it."""
    return {
        SiteName(leg.source.removeprefix("site/")): leg.down_bps
        for leg in observations.legs(now_s)
        if leg.source.startswith("site/") and leg.down_bps
    }


def _waves(before: Decision | None, after: Decision, services: Sequence[ServiceSpec]) -> Iterator[str]:
    """A sentence for each service whose new version does not go everywhere at once."""
    ran = {one.service: one.version for one in before.services} if before else {}
    rules = {spec.ref: wave_rules(spec.policy) for spec in services}
    for one in after.services:
        changes = one.service in rules and ran.get(one.service, one.version) != one.version
        if changes and (said := announced(rules[one.service], one.version, len(one.chosen))):
            yield f"{one.service}: {said}"
