"""The cheapest single change under which an unserved demand is served. A 1 ms variant takes 600 calls/s."""

from dataclasses import replace

import pytest

from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.relaxation import Relaxation
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Snapshot
from orchestrator.model.specs import SILENT, PolicySpec, QuotaSpec, ServiceSpec, SiteRule, SiteSpec, Variant
from orchestrator.placement import place
from orchestrator.placement.relaxing import cheapest_relaxation
from tests.placement.relaxed import applied, unserved
from tests.placement.worlds import (
    FP32,
    MIB,
    POLICY,
    SETTINGS,
    ZONE,
    cloud,
    cloud_leg,
    edge,
    relay_leg,
    service,
    snapshot,
    variant,
)

DIGITS, CALLERS = ServiceRef("default", "digits"), ZoneName("callers")
A, NEAR = edge("edge-a"), [relay_leg("edge-a", 10)]


def policy(**changed: object) -> PolicySpec:
    return replace(POLICY, **changed)  # type: ignore[arg-type]


def world(site: SiteSpec = A, wanted: ServiceSpec | None = None, quota: Resources | None = None) -> Snapshot:
    """One site, 10 ms away."""
    legs = [cloud_leg(10)] if not site.nodes else NEAR
    found = snapshot([site], legs, [wanted or service()])
    return replace(found, quotas=(QuotaSpec("default", "plant", quota),)) if quota else found


def under(site: SiteSpec = A, rate_rps: float = 100.0, **changed: object) -> Snapshot:
    return world(site, service(policy(**changed), rate_rps=rate_rps))


def ruled(*expressions: str) -> Snapshot:
    first, *others = expressions
    return world(wanted=replace(service(), rules=(SiteRule(A.name, first, 0.0, tuple(others)),)))


def relaxation(world: Snapshot) -> Relaxation | None:
    return cheapest_relaxation(world, SETTINGS, 0, DIGITS, CALLERS)


def left(world: Snapshot) -> float:
    return unserved(place(world, SETTINGS, 0)).get((DIGITS, CALLERS), 0.0)


LAN_BPS = 1_200 * 8 * 500  # of 1,200 calls/s, both ways
# What changes, from where to where, and the greatest figure that was seen not to do.
FIGURES = {
    "latency": (
        snapshot([A], [relay_leg("edge-a", 47.4)], [service()]),
        ("latency.p99_ms", "PlacementPolicy default/policy", 40.0, 52.0, "ms"),
        51.8,
    ),
    "a smaller variant is quick enough": (
        snapshot([A], [relay_leg("edge-a", 40)], [service(variants=[variant(Variant.LITERT_FP32, p50_ms=4.0), FP32])]),
        ("latency.p99_ms", "PlacementPolicy default/policy", 40.0, 45.0, "ms"),
        44.4,
    ),
    "age of samples": (
        snapshot([A], [relay_leg("edge-a", 10, age_s=44.3)], [service()]),
        ("stability.max_sample_age_s", "PlacementPolicy default/policy", 30.0, 45.0, "s"),
        44.2,
    ),
    "replicas": (
        under(rate_rps=3_000, replicas_max=1),
        ("replicas.max", "PlacementPolicy default/policy", 1, 5.0, "replicas"),
        4.0,
    ),
    "cap on cost": (
        under(cloud(), rate_rps=3_000, max_usd_per_hour=0.25),
        ("cost.max_usd_per_hour", "PlacementPolicy default/policy", 0.25, 0.5, "USD/h"),
        0.49,
    ),
    "price of an unserved call": (
        under(cloud(), rate_rps=1_200, usd_per_unserved_call=1e-8, usd_per_hour_waited=0.0),
        ("cost.usd_per_unserved_call", "PlacementPolicy default/policy", 1e-8, 4.7e-8, "USD"),
        4.6e-8,
    ),
    "zone's cap": (
        under(rate_rps=1_200, wan_bps_per_zone=LAN_BPS / 2),
        ("bandwidth.wan_mbps_per_zone", "PlacementPolicy default/policy", 2.4, 4.8, "Mbit/s"),
        4.7,
    ),
    "link in": (
        under(replace(A, link_in_bps=LAN_BPS / 2), rate_rps=1_200),
        ("link_in_mbps", "Site edge-a", 2.4, 3.9, "Mbit/s"),
        3.8,
    ),
    "link out": (
        under(replace(A, link_out_bps=LAN_BPS / 10), rate_rps=1_200),
        ("link_out_mbps", "Site edge-a", 0.48, 0.96, "Mbit/s"),
        0.95,
    ),
    "front": (
        snapshot([A, cloud(front_bps=LAN_BPS / 2)], NEAR, [service(rate_rps=1_200)]),
        ("front_mbps", "Site cloud", 2.4, 4.8, "Mbit/s"),
        4.7,
    ),
    "share of a failure domain": (
        under(max_share_per_domain=0.6),
        ("replicas.max_share_per_domain", "PlacementPolicy default/policy", 0.6, 1.0, "of the calls"),
        0.99,
    ),
    "accuracy": (
        under(accuracy_min=0.98),
        ("accuracy.min", "PlacementPolicy default/policy", 0.98, 0.97, ""),
        0.971,
    ),
    "memory of a node": (
        world(edge("edge-a", memory_mib=80, nodes=2)),
        ("memory_mib", "node edge-a-0 of edge-a", 40.0, 64.0, "MiB"),
        63.0,
    ),
    "memory for several replicas": (
        world(edge("edge-a", memory_mib=100), service(rate_rps=1_300)),
        ("memory_mib", "node edge-a-0 of edge-a", 100.0, 192.0, "MiB"),
        191.0,
    ),
    "cores of a node": (
        world(edge("edge-a", cores=0.25)),
        ("cores", "node edge-a-0 of edge-a", 0.25, 1.0, "cores"),
        0.99,
    ),
    "a region's memory": (
        world(cloud(capacity=Resources(16 * MIB, 8_000))),
        ("quota.memory_mib", "Site cloud", 16.0, 64.0, "MiB"),
        63.0,
    ),
    "an edge site's own quota": (
        world(replace(A, capacity=Resources(1_000 * MIB, 600))),
        ("quota.cores", "Site edge-a", 0.6, 1.0, "cores"),
        0.99,
    ),
    "quota of memory": (
        world(quota=Resources(20 * MIB, 8_000)),
        ("memory_mib", "TenantQuota default/plant", 20.0, 64.0, "MiB"),
        63.0,
    ),
    "quota of cores": (
        world(wanted=service(rate_rps=1_300), quota=Resources(1_000 * MIB, 1_000)),
        ("cores", "TenantQuota default/plant", 1.0, 3.0, "cores"),
        2.9,
    ),
}


@pytest.mark.parametrize(("world", "expected", "too_little"), FIGURES.values(), ids=FIGURES)
def test_a_figure_is_changed_just_so_much(
    world: Snapshot, expected: tuple[str, str, float, float, str], too_little: float
) -> None:
    found = relaxation(world)
    assert found is not None
    *said, after, unit = expected
    assert [found.field, found.object, found.before, found.unit] == [*said, unit]
    assert found.after == pytest.approx(after)
    assert left(applied(world, DIGITS, found, too_little)) > 1e-6
    assert found.serves == pytest.approx(left(world))
    assert (found.left, left(applied(world, DIGITS, found))) == (0.0, 0.0)


def test_a_price_of_an_unserved_call_is_raised_to_what_a_call_costs() -> None:
    world = FIGURES["price of an unserved call"][0]
    found = relaxation(world)
    assert found is not None
    # The second replica's 0.1 USD/h for 2.16 million calls an hour; the first one `replicas.min` pays anyway.
    assert found.after == pytest.approx(0.1 / 2.16e6, rel=0.1)
    # They count no more than before: it is their price that changed.
    assert found.unserved_usd_per_hour == pytest.approx(-0.0216)


RULES = {
    "ban": (under(bans=frozenset({A.name, SiteName("edge-z")})), "affinity.bans", "edge-a, edge-z", "edge-z"),
    "the only ban": (under(bans=frozenset({A.name})), "affinity.bans", "edge-a", "none"),
    "burst to cloud": (under(cloud(), burst_to_cloud=False), "cost.burst_to_cloud", "false", "true"),
    "required": (ruled("site.kind == 'region'"), "required", "site.kind == 'region'", "none"),
    "jurisdiction": (
        under(cloud(jurisdiction="US"), jurisdictions=frozenset({"EU"})),
        "residency.jurisdictions",
        "EU",
        "EU, US",
    ),
    "never measured": (
        world(wanted=service(policy(accuracy_min=0.9), [variant(Variant.LITERT_FP32, accuracy=None)])),
        "accuracy.min",
        "0.9",
        "none",
    ),
}


@pytest.mark.parametrize(("world", "field", "before", "after"), RULES.values(), ids=RULES)
def test_a_rule_is_dropped(world: Snapshot, field: str, before: str, after: str) -> None:
    found = relaxation(world)
    assert found is not None
    assert (found.field, found.before, found.after) == (field, before, after)
    assert found.legal is (field == "residency.jurisdictions")
    assert ("if the law allows it" in found.sentence) is found.legal
    assert left(applied(world, DIGITS, found)) == 0.0


def test_two_requirements_that_both_fail_are_no_single_change() -> None:
    assert relaxation(ruled("site.kind == 'region'", "site.name == 'x'")) is None


def test_nobody_can_drop_that_a_site_is_silent() -> None:
    assert relaxation(ruled(SILENT)) is None


def test_what_two_limits_forbid_no_single_change_serves() -> None:
    assert relaxation(under(edge("edge-a", memory_mib=16), bans=frozenset({A.name}))) is None


def test_a_served_demand_needs_none() -> None:
    assert relaxation(world()) is None
    assert cheapest_relaxation(world(), SETTINGS, 0, ServiceRef("default", "none"), CALLERS) is None


def test_the_sentence_names_change_site_and_price() -> None:
    slow = snapshot([A], [relay_leg("edge-a", 47.4)], [service(policy(usd_per_hour_waited=0.1))])
    found = relaxation(slow)
    assert found is not None
    assert found.sentence == "latency.p99_ms 40 -> 52 ms would serve it at edge-a for 0.52 USD/h more"
    small = relaxation(world(edge("edge-a", memory_mib=40), service(variants=[variant(Variant.LITERT_FP32, 4_096)])))
    assert small is not None
    assert small.sentence.startswith(
        "+3.96 GiB of memory on node edge-a-0 of edge-a would serve it at edge-a for 14 USD"
    )


def test_the_cost_is_the_difference_of_what_two_plans_cost() -> None:
    world = under(cloud(), rate_rps=3_000, max_usd_per_hour=0.25)
    found = relaxation(world)
    assert found is not None
    (now,), (then,) = place(world, SETTINGS, 0).services, place(applied(world, DIGITS, found), SETTINGS, 0).services
    assert found.usd_per_hour == pytest.approx(
        then.costs.total - then.costs.unserved - now.costs.total + now.costs.unserved
    )
    assert found.billed_usd_per_hour == pytest.approx(3 * 0.1)
    assert found.unserved_usd_per_hour == pytest.approx(-now.costs.unserved)


def test_the_cheapest_is_told() -> None:
    """edge-b is free but too slow, edge-a is near, too small, and its core costs: with waiting at nothing, b is it."""
    small, far = edge("edge-a", memory_mib=16, price_usd_per_hour=0.3), edge("edge-b")
    legs = [*NEAR, relay_leg("edge-b", 47.4)]
    by_price = relaxation(snapshot([small, far], legs, [service(policy(usd_per_hour_waited=0.0))]))
    by_waiting = relaxation(snapshot([small, far], legs, [service(policy(usd_per_hour_waited=10.0))]))
    assert by_price is not None
    assert by_waiting is not None
    assert (by_price.field, by_waiting.field) == ("latency.p99_ms", "memory_mib")


def test_what_the_law_must_allow_is_the_last_resort() -> None:
    abroad, slow = edge("edge-a", jurisdiction="US"), edge("edge-b", price_usd_per_hour=5.0)
    regions = cloud(capacity=Resources())
    legs = [*NEAR, relay_leg("edge-b", 47.4)]
    found = relaxation(snapshot([abroad, slow, regions], legs, [service(policy(jurisdictions=frozenset({"EU"})))]))
    assert found is not None
    assert (found.field, found.legal) == ("latency.p99_ms", False)


def test_what_serves_only_a_part_says_how_much() -> None:
    """Memory for the rest would do, but there are no cores for it."""
    found = relaxation(world(edge("edge-a", memory_mib=64, cores=2), service(rate_rps=1_800)))
    assert found is not None
    assert (found.serves, found.left) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert "would serve 33% of the zone's calls more at edge-a" in found.sentence


def test_a_change_under_which_another_loses_calls_does_not_count() -> None:
    """One place for two services: what a lower one asks for is no remedy where the higher one lives."""
    first, second = service(policy(priority=1), name="first"), service(policy(replicas_max=1), rate_rps=900)
    world = snapshot([edge("edge-a", cores=2)], NEAR, [first, second])
    assert relaxation(world) is None
    raised = replace(second, policy=policy(replicas_max=1, priority=2))
    assert left(snapshot([edge("edge-a", cores=2)], NEAR, [first, raised])) > 0
    # With two replicas the second would be served, and the first not at all.
    assert relaxation(snapshot([edge("edge-a", cores=2)], NEAR, [first, raised])) is None


def test_a_policy_is_changed_for_all_that_share_it() -> None:
    """The other service under it, free to move too, would take edge-b's only place: the change serves nobody more."""
    far = edge("edge-b", cores=1)
    legs = [relay_leg("edge-a", 38), relay_leg("edge-b", 47.4)]
    alone = snapshot([far], legs, [service()])
    assert relaxation(alone) is not None
    shared = snapshot([far], legs, [service(), service(name="another")])
    assert relaxation(shared) is None


def test_the_order_of_a_snapshot_does_not_matter() -> None:
    sites = [edge("edge-a", memory_mib=16), edge("edge-b"), edge("edge-c", nodes=2, memory_mib=30)]
    legs = [*NEAR, relay_leg("edge-b", 47.4), relay_leg("edge-c", 20)]
    one, other = (snapshot(s, le, [service()]) for s, le in ((sites, legs), (sites[::-1], legs[::-1])))
    assert relaxation(one) == relaxation(other)


def test_without_trials_none_is_found() -> None:
    world = under(bans=frozenset({A.name}))
    assert cheapest_relaxation(world, SETTINGS, 0, DIGITS, CALLERS, trials=0) is None
    assert cheapest_relaxation(world, SETTINGS, 0, DIGITS, CALLERS, trials=1) is not None
    assert ZONE.name == CALLERS
