"""After any one event: the plan keeps every rule, and services that nothing touches stay as they were."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import event as saw
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.legs import Path
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, PlacementSettings, Snapshot
from orchestrator.model.specs import QuotaSpec, ServiceSpec, SiteSpec
from orchestrator.placement import place
from orchestrator.placement.holding import CARRIED_TOLERANCE
from orchestrator.placement.incremental import OF_PART, replan, replanned
from tests.placement.test_placement_properties import (
    SOME,
    check_carried,
    check_counts,
    check_links,
    check_placed,
    check_room,
)
from tests.placement.worlds import what_is_kept
from tests.strategies import policies, settings_of_planner, snapshots, versions

Event = Callable[[Snapshot, st.DrawFn], Snapshot]


def site_lost(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    site = draw(st.sampled_from(snapshot.sites))
    return replace(
        snapshot,
        sites=tuple(one for one in snapshot.sites if one is not site),
        paths=tuple(path for path in snapshot.paths if path.site != site.name and path.transit != site.name),
        claims=tuple(claim for claim in snapshot.claims if claim.site != site.name),
    )


def site_silent(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    site = draw(st.sampled_from(snapshot.sites))
    return _with_site(snapshot, replace(site, nodes=(), capacity=Resources(), reachable=False))


def site_smaller(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    site = draw(st.sampled_from(snapshot.sites))
    left = draw(st.sampled_from([Resources(20 << 20, 800), Resources(300 << 20, 1_100)]))
    nodes = tuple(replace(node, capacity=left) for node in site.nodes)
    capacity = sum((node.capacity for node in nodes), Resources()) if nodes else left
    return _with_site(snapshot, replace(site, nodes=nodes, capacity=capacity))


def site_dearer(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    site = draw(st.sampled_from(snapshot.sites))
    return _with_site(snapshot, replace(site, price_usd_per_hour=site.price_usd_per_hour * 2 + 0.1))


def demand_changed(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    def changed(service: ServiceSpec) -> ServiceSpec:
        factor = draw(st.sampled_from([0.0, 0.5, 0.99, 1.0, 1.0, 1.01, 1.04, 1.2, 3.0]))
        return replace(service, demands=tuple(replace(d, rate_rps=d.rate_rps * factor) for d in service.demands))

    return _with_service(snapshot, draw, changed)


def leg_changed(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    """A path's round trip, throughput and age."""
    slower, wider = draw(st.sampled_from([0.5, 1.0, 1.05, 1.5])), draw(st.sampled_from([0.5, 1.0, 1.0]))
    age_s = draw(st.sampled_from([0.0, 59.0, 200.0]))

    def changed(path: Path) -> Path:
        legs = (
            replace(
                leg,
                rtt_p50_ms=leg.rtt_p50_ms * slower,
                rtt_p95_ms=None,
                rtt_p99_ms=leg.rtt_p99_ms * slower,
                rtt_p99_low_ms=None,
                rtt_p99_high_ms=None,
                up_bps=leg.up_bps * wider if leg.up_bps else None,
                age_s=age_s,
            )
            for leg in path.legs
        )
        return replace(path, legs=tuple(legs))

    at = draw(st.integers(0, max(len(snapshot.paths) - 1, 0)))
    return replace(
        snapshot, paths=tuple(changed(path) if number == at else path for number, path in enumerate(snapshot.paths))
    )


def policy_changed(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    return _with_service(snapshot, draw, lambda service: replace(service, policy=draw(policies())))


def version_changed(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    return _with_service(
        snapshot, draw, lambda service: replace(service, version=draw(versions(f"{service.ref.name}-v3")))
    )


def requirement_fails(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    def changed(service: ServiceSpec) -> ServiceSpec:
        first, *rest = service.rules
        return replace(service, rules=(replace(first, failed_requirement="false"), *rest))

    return _with_service(snapshot, draw, changed)


def quota_changed(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    limit = draw(st.sampled_from([Resources(), Resources(100 << 20, 500), Resources(600 << 20, 4_000)]))
    return replace(snapshot, quotas=(QuotaSpec("default", "tight", limit),))


def claims_changed(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    phases = st.sampled_from([*ClaimPhase, None])
    drawn = [(claim, draw(phases)) for claim in snapshot.claims]
    return replace(snapshot, claims=tuple(replace(claim, phase=phase) for claim, phase in drawn if phase is not None))


def service_gone(snapshot: Snapshot, draw: st.DrawFn) -> Snapshot:
    service = draw(st.sampled_from(snapshot.services))
    return replace(snapshot, services=tuple(one for one in snapshot.services if one is not service))


EVENTS: tuple[Event, ...] = (
    site_lost,
    site_silent,
    site_smaller,
    site_dearer,
    demand_changed,
    leg_changed,
    policy_changed,
    version_changed,
    requirement_fails,
    quota_changed,
    claims_changed,
    service_gone,
)


def _with_site(snapshot: Snapshot, site: SiteSpec) -> Snapshot:
    return replace(snapshot, sites=tuple(site if one.name == site.name else one for one in snapshot.sites))


def _with_service(snapshot: Snapshot, draw: st.DrawFn, changed: Callable[[ServiceSpec], ServiceSpec]) -> Snapshot:
    service = draw(st.sampled_from(snapshot.services))
    return replace(snapshot, services=tuple(changed(one) if one is service else one for one in snapshot.services))


@st.composite
def happenings(draw: st.DrawFn) -> tuple[Snapshot, Snapshot]:
    """Before and after one event; told backwards as often: sites join, limits are raised, what ended begins."""
    before = draw(snapshots(most_services=4))
    happens = draw(st.sampled_from(EVENTS))
    after = happens(before, draw)
    backwards = draw(st.booleans())
    saw(f"{happens.__name__}{' undone' if backwards else ''}")
    return (after, before) if backwards else (before, after)


def shuffled(snapshot: Snapshot, random: Random) -> Snapshot:
    return Snapshot(
        sites=tuple(random.sample(snapshot.sites, len(snapshot.sites))),
        services=tuple(random.sample(snapshot.services, len(snapshot.services))),
        paths=tuple(random.sample(snapshot.paths, len(snapshot.paths))),
        claims=tuple(random.sample(snapshot.claims, len(snapshot.claims))),
        quotas=tuple(random.sample(snapshot.quotas, len(snapshot.quotas))),
    )


@SOME
@given(happenings(), settings_of_planner)
def test_what_is_planned_anew_keeps_every_rule_and_the_rest_stays(
    happened: tuple[Snapshot, Snapshot], settings: PlacementSettings
) -> None:
    before, now = happened
    decided = place(before, settings, 0)
    found = _checked(before, decided, now, settings)
    # And on from there, back to where it began.
    _checked(now, found, before, settings)


def _checked(before: Snapshot, decided: Decision, now: Snapshot, settings: PlacementSettings) -> Decision:
    found = replanned(before, decided, now, settings, 0)
    saw("in full" if found.in_full else f"anew: {len(found.causes)}")
    for cause in found.causes.values():
        saw(f"cause: {cause}")
    then = {one.service: one for one in decided.services}
    kept = {one.service for one in found.decision.services if not found.in_full and one.service not in found.causes}
    since = {one.service: one for one in found.decision.services}
    assert all(what_is_kept(since[service]) == what_is_kept(then[service]) for service in kept)
    check_placed(now, settings, found.decision, kept)
    check_room(now, found.decision)
    check_carried(now, settings, found.decision, dict.fromkeys(kept, 1 + CARRIED_TOLERANCE))
    check_links(now, found.decision)
    check_counts(now, found.decision)
    assert found.decision.bound.startswith(OF_PART) == bool(kept) or found.decision.bound == decided.bound
    return found.decision


@SOME
@given(snapshots(), settings_of_planner, st.randoms(use_true_random=False))
def test_where_nothing_happened_the_decision_stays(
    snapshot: Snapshot, settings: PlacementSettings, random: Random
) -> None:
    decided = place(snapshot, settings, 0)
    kept = replace(decided, services=tuple(replace(one, kept=True) for one in decided.services))
    assert replan(snapshot, decided, shuffled(snapshot, random), settings, 0) == kept


@SOME
@given(happenings(), settings_of_planner)
def test_where_all_services_are_others_it_is_a_plan_of_all(
    happened: tuple[Snapshot, Snapshot], settings: PlacementSettings
) -> None:
    before, now = happened
    others = tuple(replace(one, policy=replace(one.policy, horizon_s=one.policy.horizon_s + 1)) for one in now.services)
    other = replace(now, services=others)
    assert replan(before, place(before, settings, 0), other, settings, 0) == place(other, settings, 0)


@SOME
@given(happenings(), settings_of_planner, st.randoms(use_true_random=False))
def test_the_order_of_what_it_looks_at_does_not_matter(
    happened: tuple[Snapshot, Snapshot], settings: PlacementSettings, random: Random
) -> None:
    before, now = happened
    decided = place(before, settings, 0)
    mixed = replan(shuffled(before, random), decided, shuffled(now, random), settings, 0)
    assert mixed == replan(before, decided, now, settings, 0)


@SOME
@given(snapshots(), snapshots(), settings_of_planner)
def test_a_decision_of_another_world_is_only_of_less_use(
    before: Snapshot, now: Snapshot, settings: PlacementSettings
) -> None:
    """Whatever it is given, each service is decided once."""
    found = replan(before, place(before, settings, 0), now, settings, 0)
    assert [one.service for one in found.services] == sorted(service.ref for service in now.services)
    check_room(now, found)
