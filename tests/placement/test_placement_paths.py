"""Paths are made of what was measured, and of nothing else."""

from dataclasses import replace

from orchestrator.model.ids import FrontName, SiteName, ZoneName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.specs import ZoneSpec
from orchestrator.placement.paths import compose
from tests.placement.worlds import CLOUD, FRONTS, ZONE, cloud, cloud_leg, edge, relay_leg

LAN = ZoneSpec(ZoneName("hall"), None, SiteName("edge-a"))


def test_a_zone_of_a_region_relays_to_edges_and_dials_regions() -> None:
    legs = [relay_leg("edge-a", 10), cloud_leg(1)]
    found = compose([ZONE], [edge("edge-a"), cloud()], legs, FRONTS)
    assert [(p.site, p.kind, p.legs, p.transit) for p in found] == [
        ("cloud", PathKind.DIRECT, (legs[1],), CLOUD),
        ("edge-a", PathKind.RELAY, (legs[0],), CLOUD),
    ]


def test_what_was_not_measured_is_no_path() -> None:
    assert compose([ZONE], [edge("edge-a"), cloud()], [], FRONTS) == ()
    elsewhere = [relay_leg("edge-a", 10, front="f9"), relay_leg("edge-z", 10)]
    assert compose([ZONE], [edge("edge-a"), cloud()], elsewhere, FRONTS | {FrontName("f9"): "other"}) == ()


def test_each_front_of_the_region_is_a_path() -> None:
    legs = [relay_leg("edge-a", 30, front="f1"), relay_leg("edge-a", 10, front="f2")]
    found = compose([ZONE], [edge("edge-a")], legs, FRONTS | {FrontName("f2"): "cloud"})
    assert [path.rtt_p99_ms for path in found] == [30, 10]


def test_a_lan_needs_no_measurement_and_takes_one_where_there_is_one() -> None:
    sites = [edge("edge-a"), edge("edge-b")]
    (unmeasured,) = compose([LAN], sites, [relay_leg("edge-a", 10)], FRONTS)
    assert (unmeasured.kind, unmeasured.site, unmeasured.rtt_p99_ms) == (PathKind.LAN, "edge-a", 0)
    (measured,) = compose([LAN], sites, [replace(relay_leg("edge-a", 3), target="site/edge-a")], FRONTS)
    assert measured.rtt_p99_ms == 3
    assert compose([LAN], [edge("edge-b")], [], FRONTS) == ()


def test_of_two_estimates_of_one_leg_the_newest_counts_in_any_order() -> None:
    legs = [relay_leg("edge-a", 30, age_s=1.0), relay_leg("edge-a", 10, age_s=60.0)]
    for order in (legs, legs[::-1]):
        (path,) = compose([ZONE], [edge("edge-a")], order, FRONTS)
        assert path.rtt_p99_ms == 30


def test_a_paths_interval_has_one_slow_leg_at_least_and_all_of_them_at_most() -> None:
    leg = relay_leg("edge-a", 10, rtt_p95_ms=9.0, rtt_p99_low_ms=9.5, rtt_p99_high_ms=14.0)  # p50 is 8
    long = replace(leg, rtt_p50_ms=40.0, rtt_p95_ms=60.0, rtt_p99_ms=80.0, rtt_p99_low_ms=70.0, rtt_p99_high_ms=120.0)
    path = Path(ZONE.name, SiteName("edge-a"), PathKind.RELAY, (leg, long))
    assert (path.rtt_p50_ms, path.rtt_p95_ms, path.rtt_p99_ms) == (48.0, 69.0, 90.0)
    assert (path.rtt_p99_low_ms, path.rtt_p99_high_ms) == (78.0, 134.0)


def test_what_an_older_prober_does_not_say_is_taken_from_what_it_says() -> None:
    path = Path(ZONE.name, SiteName("edge-a"), PathKind.RELAY, (relay_leg("edge-a", 10), relay_leg("edge-b", 20)))
    assert (path.rtt_p95_ms, path.rtt_p99_low_ms, path.rtt_p99_high_ms) == (30.0, 24.0, 30.0)
    nowhere = Path(ZONE.name, SiteName("edge-a"), PathKind.LAN, ())
    assert (nowhere.rtt_p95_ms, nowhere.rtt_p99_low_ms, nowhere.rtt_p99_high_ms) == (0.0, 0.0, 0.0)
