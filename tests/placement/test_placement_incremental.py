"""Who is planned anew after each kind of event, and who is not. A 1 ms variant takes 600 calls/s."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from orchestrator.model.claims import Claim
from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.legs import Leg
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.model.specs import AntiAffinity, PolicySpec, QuotaSpec, ServiceSpec, SiteRule, SiteSpec, Within
from orchestrator.placement import place
from orchestrator.placement.changes import Cause
from orchestrator.placement.incremental import OF_PART, Replanned, affected, replan, replanned
from tests.placement.worlds import (
    MIB,
    POLICY,
    SETTINGS,
    by_service,
    claim,
    counts,
    edge,
    relay_leg,
    service,
    shares,
    snapshot,
    what_is_kept,
)

SITES = [edge("edge-a"), edge("edge-b"), edge("edge-c"), edge("spare")]
LEGS = [relay_leg("edge-a", 10), relay_leg("edge-b", 15), relay_leg("edge-c", 20), relay_leg("spare", 25)]


def wants(name: str, site: str, rate_rps: float = 100, policy: PolicySpec = POLICY, **changed: object) -> ServiceSpec:
    """A service that prefers this site."""
    wanted = service(policy, name=name, preferred=[site], version=f"{name}-1", rate_rps=rate_rps)
    return replace(wanted, **changed)  # type: ignore[arg-type]


ONE, TWO, THREE = wants("one", "edge-a"), wants("two", "edge-b"), wants("three", "edge-c")
CLAIMS = [claim("edge-a", ONE), claim("edge-b", TWO), claim("edge-c", THREE)]
QUOTA = QuotaSpec("default", "all", Resources(3 * 64 * MIB, 3_000))


def fleet(
    sites: Sequence[SiteSpec] = SITES,
    legs: Sequence[Leg] = LEGS,
    services: Sequence[ServiceSpec] = (ONE, TWO, THREE),
    claims: Sequence[Claim] = CLAIMS,
    quotas: Sequence[QuotaSpec] = (QUOTA,),
) -> Snapshot:
    return replace(snapshot(sites, legs, services, claims), quotas=tuple(quotas))


def with_site(changed: SiteSpec) -> list[SiteSpec]:
    return [changed if site.name == changed.name else site for site in SITES]


def with_leg(changed: Leg) -> list[Leg]:
    return [changed if leg.source == changed.source else leg for leg in LEGS]


def decided_at(before: Snapshot) -> Decision:
    return place(before, SETTINGS, 0)


def after(before: Snapshot, now: Snapshot) -> Replanned:
    return replanned(before, decided_at(before), now, SETTINGS, 0)


def named(causes: Mapping[ServiceRef, Cause]) -> dict[str, Cause]:
    return {ref.name: cause for ref, cause in causes.items()}


SILENT = replace(SITES[1], nodes=(), capacity=Resources(), reachable=False)
TIGHT = QuotaSpec("default", "all", Resources(2 * 64 * MIB, 3_000))
FIRM = replace(POLICY, name="firm", min_gain=0.2)

EVENTS: dict[str, tuple[Snapshot, dict[str, Cause]]] = {
    "a site is gone": (fleet(sites=SITES[1:], claims=CLAIMS[1:]), {"one": Cause.SITE}),
    "a site is silent": (fleet(sites=with_site(SILENT)), {"two": Cause.SITE}),
    "a site has other facts": (fleet(sites=with_site(edge("edge-c", price_usd_per_hour=0.1))), {"three": Cause.SITE}),
    "a site has other labels": (fleet(sites=with_site(edge("edge-c", labels=(("a", "b"),)))), {}),
    "a site is smaller": (fleet(sites=with_site(edge("edge-b", memory_mib=10))), {"two": Cause.ROOM}),
    "a site is smaller and still bears it": (fleet(sites=with_site(edge("edge-b", memory_mib=100))), {}),
    "a link is narrow": (fleet(sites=with_site(edge("edge-b", link_in_bps=1e5))), {"two": Cause.SITE}),
    "a path is gone": (fleet(legs=LEGS[1:]), {"one": Cause.PATH}),
    "a path breaks the objective": (fleet(legs=with_leg(relay_leg("edge-c", 38))), {"three": Cause.PATH}),
    "a path is stale": (fleet(legs=with_leg(relay_leg("edge-c", 20, age_s=31.0))), {"three": Cause.PATH}),
    "a path is slower": (fleet(legs=with_leg(relay_leg("edge-c", 30))), {"three": Cause.SLOWER}),
    "a path is slower within the tolerance": (fleet(legs=with_leg(relay_leg("edge-c", 22))), {}),
    "a leg is narrower": (
        fleet(legs=with_leg(relay_leg("edge-c", 20, up_bps=3e5))),
        {"three": Cause.SLOWER},
    ),
    "a path that nobody takes is slower": (fleet(legs=with_leg(relay_leg("spare", 250))), {}),
    "1% more calls": (fleet(services=[wants("one", "edge-a", 101), TWO, THREE]), {}),
    "a third more calls": (fleet(services=[wants("one", "edge-a", 133), TWO, THREE]), {"one": Cause.DEMAND}),
    "a third fewer calls": (fleet(services=[wants("one", "edge-a", 66), TWO, THREE]), {"one": Cause.DEMAND}),
    "no calls": (fleet(services=[wants("one", "edge-a", 0), TWO, THREE]), {"one": Cause.DEMAND}),
    "another policy": (fleet(services=[ONE, replace(TWO, policy=FIRM), THREE]), {"two": Cause.SPEC}),
    "another version": (fleet(services=[ONE, replace(TWO, version=THREE.version), THREE]), {"two": Cause.SPEC}),
    "a freeze": (fleet(services=[ONE, replace(TWO, freeze="now"), THREE]), {"two": Cause.SPEC}),
    "its site is ruled out": (
        fleet(services=[ONE, replace(TWO, rules=(SiteRule(SiteName("edge-b"), "false", 10.0),)), THREE]),
        {"two": Cause.RULES},
    ),
    "it is no longer preferred": (fleet(services=[ONE, replace(TWO, rules=()), THREE]), {}),
    "a service joins": (fleet(services=[ONE, TWO, THREE, wants("four", "spare")]), {"four": Cause.NEW}),
    "a replica is gone": (fleet(claims=CLAIMS[1:]), {"one": Cause.CLAIMS}),
    "a replica drains": (
        fleet(claims=[*CLAIMS[:2], claim("edge-c", THREE, ClaimPhase.DRAINING)]),
        {"three": Cause.CLAIMS},
    ),
    "a replica starts beside it": (fleet(claims=[*CLAIMS, claim("edge-c", THREE, number=1)]), {}),
    "a quota is less": (fleet(quotas=[TIGHT]), {"two": Cause.ROOM}),  # the last by name
    "another namespace's quota": (fleet(quotas=[QUOTA, replace(TIGHT, namespace="other")]), {}),
    "a site joins": (fleet([*SITES, edge("far")], [*LEGS, relay_leg("far", 30)]), {}),
}


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_touches_whom_it_should(event: str) -> None:
    before, (now, causes) = fleet(), EVENTS[event]
    decided = decided_at(before)
    assert named(affected(before, decided, now, SETTINGS)) == causes
    found = after(before, now)
    assert named(found.causes) == causes
    assert not found.in_full
    then, since = by_service(decided), by_service(found.decision)
    assert all(what_is_kept(since[name]) == what_is_kept(then[name]) for name in since.keys() - causes.keys())
    assert all(since[name].kept == (name not in causes) for name in since)


def test_a_lost_sites_replicas_move_and_no_others() -> None:
    found = after(fleet(), fleet(sites=SITES[1:], claims=CLAIMS[1:]))
    assert {name: counts(decided) for name, decided in by_service(found.decision).items()} == {
        "one": {"edge-b": 1},
        "two": {"edge-b": 1},
        "three": {"edge-c": 1},
    }
    assert found.decision.bound == f"{OF_PART}branch and bound"
    assert found.decision.lower_bound_usd_per_hour <= found.decision.objective_usd_per_hour * (1 + 1e-6)


def test_small_changes_count_by_their_sum() -> None:
    """What it is compared with is what was planned for, not the last look."""
    before = fleet()
    decided = decided_at(before)
    for rate_rps in (110, 120):
        now = fleet(services=[wants("one", "edge-a", rate_rps), TWO, THREE])
        found = by_service(replan(before, decided, now, SETTINGS, 0))
        assert found["one"].kept
        assert counts(found["one"]) == {"edge-a": 1}
    now = fleet(services=[wants("one", "edge-a", 130), TWO, THREE])
    assert named(affected(before, decided, now, SETTINGS)) == {"one": Cause.DEMAND}


def test_more_calls_than_replicas_carry_touch_their_service_only() -> None:
    """A replica takes 600 calls/s at the planned utilisation, and 5% more before it matters."""
    before, more, much_more = (
        fleet(services=[wants("one", "edge-a", rate), TWO, THREE], quotas=()) for rate in (595, 625, 640)
    )
    assert after(before, more).causes == {}
    found = after(before, much_more)
    assert named(found.causes) == {"one": Cause.DEMAND}
    assert sum(counts(by_service(found.decision)["one"]).values()) == 2


def test_calls_that_would_not_survive_a_loss_touch_their_service() -> None:
    """Two sites carry half of the calls each. Each replica bears its 310 calls/s, and not 620."""
    safe = replace(POLICY, name="safe", survive_site_losses=1, max_share_per_domain=0.5)
    before, more = (
        fleet(services=[wants("one", "edge-a", rate, safe), TWO, THREE], claims=(), quotas=()) for rate in (500, 620)
    )
    found = after(before, more)
    assert named(found.causes) == {"one": Cause.LOSS}
    decided = by_service(found.decision)["one"]
    assert sum(counts(decided).values()) > 2
    assert decided.shortfalls == ()


def test_the_objective_is_that_of_a_plan_of_all_where_both_plan_the_same() -> None:
    now = fleet(services=[wants("one", "edge-a", 700), TWO, THREE])
    found, full = after(fleet(), now), place(now, SETTINGS, 0)
    assert by_service(found.decision)["one"] == by_service(full)["one"]
    assert found.decision.objective_usd_per_hour == pytest.approx(full.objective_usd_per_hour)


def test_a_joined_site_is_for_those_that_lack_something() -> None:
    """Each of the first sites has room for one replica, so nobody takes the fourth service's calls."""
    full = [edge(f"edge-{letter}", memory_mib=64) for letter in "abc"]
    services = [ONE, TWO, THREE, wants("four", "edge-a")]
    before = fleet(full, LEGS[:3], services, quotas=())
    now = fleet([*full, SITES[3]], LEGS, services, quotas=())
    found = after(before, now)
    assert named(found.causes) == {"four": Cause.GAIN}
    assert counts(by_service(found.decision)["four"]) == {"spare": 1}


def test_a_joined_site_is_for_those_whom_it_serves_for_clearly_less() -> None:
    near = [*LEGS, relay_leg("near", 1)]
    services = [ONE, TWO, replace(THREE, rules=())]
    found = after(fleet(services=services), fleet([*SITES, edge("near")], near, services))
    assert named(found.causes) == {"three": Cause.GAIN}
    assert counts(by_service(found.decision)["three"]) == {"near": 1}


def test_a_wider_quota_is_for_those_that_lack_something() -> None:
    found = after(fleet(quotas=[TIGHT], claims=()), fleet(claims=()))
    assert named(found.causes) == {"two": Cause.GAIN}
    assert all(sum(counts(decided).values()) == 1 for decided in found.decision.services)


def test_a_lower_priority_makes_way() -> None:
    """The first service needs two replicas where there is room for two, and another has one of them."""
    high = replace(POLICY, name="high", priority=1)
    services = [wants("one", "edge-a", policy=high), wants("low", "edge-a"), TWO, THREE]
    claims = [claim("edge-a", services[0]), claim("edge-a", services[1]), *CLAIMS[1:]]
    sites = with_site(edge("edge-a", memory_mib=128))
    before = fleet(sites, services=services, claims=claims, quotas=())
    now = fleet(sites, services=[wants("one", "edge-a", 700, high), *services[1:]], claims=claims, quotas=())
    found = after(before, now)
    assert named(found.causes) == {"one": Cause.DEMAND, "low": Cause.OUTBID}
    decided = by_service(found.decision)
    assert counts(decided["one"]) == {"edge-a": 2}
    assert counts(decided["low"]) == {"edge-b": 1}


def test_who_is_in_the_way_is_planned_too() -> None:
    """The link of edge-a bears 200 calls/s; only one of the two has nowhere else to go."""
    tied = replace(POLICY, name="tied", bans=frozenset({SiteName("edge-b"), SiteName("edge-c"), SiteName("spare")}))
    free = wants("free", "edge-a")
    claims = [claim("edge-a", ONE), claim("edge-a", free), *CLAIMS[1:]]
    sites = with_site(edge("edge-a", link_in_bps=200 * 400 * 8.0))
    before, now = (
        fleet(sites, services=[wants("one", "edge-a", rate, tied), free, TWO, THREE], claims=claims, quotas=())
        for rate in (100, 180)
    )
    found = after(before, now)
    assert named(found.causes) == {"one": Cause.DEMAND, "free": Cause.IN_THE_WAY}
    decided = by_service(found.decision)
    assert shares(decided["one"]) == {"edge-a": 1.0}
    assert shares(decided["free"])["edge-a"] == pytest.approx(0.2)
    assert not decided["free"].unserved
    assert not found.in_full


def test_a_rival_counts_only_where_both_would_be() -> None:
    """The first one's site is lost. It goes to edge-b, the best of those left, unless who is there keeps it apart."""
    apart = replace(POLICY, name="apart", anti_affinity=(AntiAffinity(ServiceRef("default", "one"), Within.SITE),))
    services = [ONE, replace(TWO, policy=apart), THREE]
    found = after(fleet(services=services), fleet(sites=SITES[1:], claims=CLAIMS[1:], services=services))
    assert named(found.causes) == {"one": Cause.SITE}
    assert counts(by_service(found.decision)["one"]) == {"edge-c": 1}


def test_where_most_are_touched_all_are_planned() -> None:
    now = fleet(services=[replace(one, policy=FIRM) for one in (ONE, TWO)] + [THREE])
    found = after(fleet(), now)
    assert found.in_full
    assert found.decision == place(now, SETTINGS, 0)


def test_a_service_that_is_gone_is_left_out_and_nobody_moves() -> None:
    before = fleet()
    found = after(before, fleet(services=[ONE, TWO]))
    assert found.causes == {}
    assert [what_is_kept(one) for one in found.decision.services] == [
        what_is_kept(one) for one in decided_at(before).services if one.service.name in ("one", "two")
    ]
    assert found.decision.bound == f"{OF_PART}none"
