"""Services planned together: where greed is beaten, what is proven, and that the two solvers agree."""

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import PlacementSettings, Refusal, Snapshot
from orchestrator.model.specs import AntiAffinity, SiteSpec, Within
from orchestrator.placement import place
from orchestrator.placement.candidates import survey
from orchestrator.placement.checking import check_plan, lower_bound_usd_per_hour
from orchestrator.placement.joint.exact import solve_exactly
from orchestrator.placement.joint.lowering import array_prices, lower, outlines, shadow_prices
from orchestrator.placement.joint.problem import Problem, gather
from orchestrator.placement.ledger import ledger_of
from orchestrator.placement.placing import by_ends
from orchestrator.placement.search.bounds import lagrangian_bound
from orchestrator.placement.search.solve import Effort, solve
from tests.placement.worlds import (
    MIB,
    POLICY,
    SETTINGS,
    by_service,
    claim,
    counts,
    edge,
    refusal,
    relay_leg,
    service,
    snapshot,
)
from tests.strategies import settings_of_planner, snapshots

SOME = tried(max_examples=60, deadline=None)
SLACK = 1e-6


def _problem(world: Snapshot, settings: PlacementSettings) -> Problem:
    """All services as if of one priority."""
    services = sorted(world.services, key=lambda one: one.ref)
    sites = {site.name: site for site in sorted(world.sites, key=lambda site: site.name)}
    ledger = ledger_of(sites, services, world.claims, world.quotas)
    paths = by_ends(world)
    return gather(services, [survey(one, sites, paths, ledger, settings) for one in services], ledger)


def test_the_one_that_gains_more_gets_the_near_site() -> None:
    """Room for one. Both like edge-a; the second in the alphabet has ten times the calls."""
    small = edge("edge-a", memory_mib=64)
    legs = [relay_leg("edge-a", 2), relay_leg("edge-b", 20)]
    few, many = service(name="few", rate_rps=10), service(name="many", rate_rps=100)
    decided = by_service(place(snapshot([small, edge("edge-b")], legs, [few, many]), SETTINGS, 0))
    assert (counts(decided["many"]), counts(decided["few"])) == ({"edge-a": 1}, {"edge-b": 1})
    assert refusal(decided["few"], "edge-a").reason is Refusal.MEMORY


def test_two_zones_share_a_replica_where_two_cost_more() -> None:
    """Each has a near site of its own; a replica in the middle for both costs less than the waiting that it adds."""
    ways = {("east", "edge-a"): 2, ("east", "edge-m"): 8, ("west", "edge-b"): 2, ("west", "edge-m"): 8}
    paths = tuple(
        Path(ZoneName(zone), SiteName(site), PathKind.DIRECT, (relay_leg(site, ms),))
        for (zone, site), ms in ways.items()
    )
    sites = [edge(f"edge-{end}", price_usd_per_hour=1.0) for end in "abm"]
    world = replace(snapshot(sites, [], [service(rate_rps=5, zones=("east", "west"))]), paths=paths)
    (decided,) = place(world, SETTINGS, 0).services
    assert counts(decided) == {"edge-m": 1}
    nearer = next(refused for refused in decided.refused if (refused.site, refused.zone) == ("edge-a", "east"))
    assert nearer.reason is Refusal.OUTRANKED
    assert "with what other zones and services need" in nearer.detail
    busy = replace(world, services=(service(rate_rps=50, zones=("east", "west")),))
    assert counts(place(busy, SETTINGS, 0).services[0]) == {"edge-a": 1, "edge-b": 1}


def test_equals_drive_out_nobody() -> None:
    """What runs stays, though another would gain more by its place."""
    small = edge("edge-a", memory_mib=64)
    legs = [relay_leg("edge-a", 2), relay_leg("edge-b", 20)]
    few, many = service(name="few", rate_rps=1), service(name="many", rate_rps=1_000)
    world = snapshot([small, edge("edge-b")], legs, [few, many], [claim("edge-a", few)])
    decided = by_service(place(world, SETTINGS, 0))
    assert (counts(decided["few"]), counts(decided["many"])) == ({"edge-a": 1}, {"edge-b": 2})


def test_scarce_memory_has_a_price() -> None:
    small = edge("edge-a", memory_mib=64)
    legs = [relay_leg("edge-a", 2), relay_leg("edge-b", 20)]
    world = snapshot([small, edge("edge-b")], legs, [service(name="few", rate_rps=10), service(name="many")])
    prices = {price.constraint: price for price in place(world, SETTINGS, 0).prices}
    scarce = prices["memory", "edge-a", "edge-a-0"]
    assert scarce.usd_per_hour > 0
    assert scarce.unit == "MiB"
    # One more call per second of the smaller one waits 20 ms and the service's own time, at 10 USD an hour of waiting.
    assert 0.2 < prices["demand", "default/few", "callers"].usd_per_hour < 0.3


def test_a_call_that_nobody_can_take_is_in_the_bound() -> None:
    decided = place(snapshot([edge("edge-a")], [relay_leg("edge-a", 90)], [service(rate_rps=2)]), SETTINGS, 0)
    assert decided.services[0].costs.unserved == pytest.approx(2 * 3_600)
    assert decided.lower_bound_usd_per_hour == pytest.approx(2 * 3_600)


@SOME
@given(snapshots(), settings_of_planner)
def test_the_bound_is_near_and_never_above(world: Snapshot, settings: PlacementSettings) -> None:
    decision = place(world, settings, 0)
    assert decision.lower_bound_usd_per_hour <= decision.objective_usd_per_hour * (1 + SLACK) + SLACK
    gap = decision.gap
    event(f"{decision.bound}: {'nothing proven' if gap is None else 'met' if gap < 1e-4 else 'missed'}")


@SOME
@given(snapshots(), settings_of_planner)
def test_prices_prove_no_more_than_the_integer_programme(world: Snapshot, settings: PlacementSettings) -> None:
    """Both bound the same, so the prices of its relaxation prove at most what it costs to keep fewer rules."""
    problem = _problem(world, settings)
    exact, lowered = solve_exactly(problem), lower(problem)
    prices = array_prices(lowered, exact.prices)
    proven = lower_bound_usd_per_hour(lowered.programme, prices) + problem.stopped_elsewhere_usd
    decision = place(replace(world, services=tuple(_of_one_priority(world))), settings, 0)
    assert proven <= decision.objective_usd_per_hour * (1 + SLACK) + SLACK
    named = {price.constraint: price.usd_per_hour for price in shadow_prices(lowered, prices)}
    limits = {limit.constraint for limit in lowered.links}
    for price in exact.prices:
        if price.constraint in limits:
            assert named[price.constraint] == pytest.approx(price.usd_per_hour)


def _of_one_priority(world: Snapshot) -> list:  # type: ignore[type-arg]
    return [replace(one, policy=replace(one.policy, priority=0)) for one in world.services]


def _wider(path: Path) -> Path:
    legs = (
        replace(leg, up_bps=leg.up_bps and 3 * leg.up_bps, down_bps=leg.down_bps and 3 * leg.down_bps)
        for leg in path.legs
    )
    return replace(path, legs=tuple(legs))


def _richer(site: SiteSpec) -> SiteSpec:
    more = Resources(100 * MIB, 1_000)
    nodes = tuple(replace(node, capacity=node.capacity + more) for node in site.nodes)
    return replace(site, capacity=site.capacity + more * max(len(nodes), 1), nodes=nodes)


@SOME
@given(snapshots(most_services=2), settings_of_planner, st.booleans())
def test_more_of_a_resource_never_raises_the_bound(world: Snapshot, settings: PlacementSettings, wide: bool) -> None:
    """Of one variant: with more room a more precise and slower one may be taken. And of rules that always can be kept:
    with more room more of them are; and with none preferred, which may come into reach."""
    services = tuple(
        replace(
            one,
            freeze=None,
            rules=tuple(replace(rule, preference=0.0) for rule in one.rules),
            version=replace(one.version, variants=one.version.variants[:1]),
            policy=replace(one.policy, replicas_min=0, min_failure_domains=1, survive_site_losses=0, pins=()),
        )
        for one in _of_one_priority(world)
    )
    world = replace(world, services=services, claims=())
    more = (
        replace(world, paths=tuple(map(_wider, world.paths)))
        if wide
        else replace(world, sites=tuple(map(_richer, world.sites)))
    )
    before, after = place(world, settings, 0), place(more, settings, 0)
    assert after.lower_bound_usd_per_hour <= before.lower_bound_usd_per_hour * (1 + 1e-4) + 1e-4


@pytest.mark.slow
@tried(max_examples=25, deadline=None)
@given(snapshots(), settings_of_planner, st.integers(0, 3))
def test_the_search_finds_plans_of_what_was_lowered(world: Snapshot, settings: PlacementSettings, seed: int) -> None:
    """What a policy says of all replicas is not in the arrays; what is in them is kept, and bounded from below."""
    problem = _problem(world, settings)
    lowered = lower(problem)
    found = solve(lowered.programme, Effort(100, 2_000), seed)
    assert check_plan(lowered.programme, found.plan).violations == ()
    bound = lagrangian_bound(lowered.programme, found.relaxed.prices)
    again = array_prices(lowered, shadow_prices(lowered, bound.prices))
    assert lower_bound_usd_per_hour(lowered.programme, again) == pytest.approx(bound.usd_per_hour, rel=1e-6, abs=1e-6)
    served = {
        (m, zone): sum(s for (z, _), s in outline.shares.items() if z == zone)
        for m, outline in enumerate(outlines(lowered, found.plan))
        for zone, _ in outline.shares
    }
    assert all(share <= 1 + SLACK for share in served.values())


@pytest.mark.slow
@tried(max_examples=25, deadline=None)
@given(snapshots(), settings_of_planner)
def test_a_searched_plan_is_never_better_than_what_was_proven(world: Snapshot, settings: PlacementSettings) -> None:
    """Both ways of planning a fleet bound the other: they plan the same problem."""
    exact, searched = place(world, settings, 0), place(world, replace(settings, most_pairs_exactly=0), 0)
    same = searched.objective_usd_per_hour <= exact.objective_usd_per_hour + SLACK
    event(f"{exact.bound}: {'as good' if same else 'dearer'} by the search")
    missed = [sum(s.wanted - s.actual for d in plan.services for s in d.shortfalls) for plan in (exact, searched)]
    if missed[1] <= missed[0]:
        # A plan that misses more rules may cost less than a bound that keeps them.
        assert searched.objective_usd_per_hour >= exact.lower_bound_usd_per_hour * (1 - 1e-4) - SLACK
    assert exact.objective_usd_per_hour >= searched.lower_bound_usd_per_hour * (1 - SLACK) - SLACK


@pytest.mark.slow
def test_rules_that_the_search_cannot_say_are_kept_by_solving_a_service_by_itself() -> None:
    """Two replicas at most, three zones with a near site each: the search would use all three, half filled."""
    zones = ("east", "north", "west")
    ways = {(zone, f"edge-{zone}"): 2 for zone in zones} | {(zone, "edge-middle"): 8 for zone in zones}
    paths = tuple(
        Path(ZoneName(zone), SiteName(site), PathKind.DIRECT, (relay_leg(site, ms),))
        for (zone, site), ms in ways.items()
    )
    sites = [edge(f"edge-{name}") for name in (*zones, "middle")]
    wanted = service(replace(POLICY, replicas_max=2), rate_rps=50, zones=zones)
    world = replace(snapshot(sites, [], [wanted]), paths=paths)
    exact, searched = place(world, SETTINGS, 0), place(world, replace(SETTINGS, most_pairs_exactly=0), 0)
    assert searched.objective_usd_per_hour == pytest.approx(exact.objective_usd_per_hour)
    assert searched.services[0].unserved == ()
    assert counts(searched.services[0])["edge-middle"] == 1


@pytest.mark.slow
def test_of_two_that_are_kept_apart_the_one_with_less_to_lose_gives_way() -> None:
    legs = [relay_leg("edge-a", 2), relay_leg("edge-b", 20)]
    few = service(
        replace(POLICY, anti_affinity=(AntiAffinity(ServiceRef("default", "many"), Within.SITE),)), name="few"
    )
    few = replace(few, demands=tuple(replace(demand, rate_rps=1.0) for demand in few.demands))
    many = service(name="many", rate_rps=1_000)
    world = snapshot([edge("edge-a"), edge("edge-b")], legs, [few, many])
    for most_pairs_exactly in (0, 250):
        decided = by_service(place(world, replace(SETTINGS, most_pairs_exactly=most_pairs_exactly), 0))
        assert (counts(decided["few"]), counts(decided["many"])) == ({"edge-b": 1}, {"edge-a": 2})
