"""A view says of a decision what it says itself, and nothing twice."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from pydantic import TypeAdapter

from orchestrator.control.codec import to_json
from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import PathKind
from orchestrator.model.plan import Running
from orchestrator.model.snapshot import Decision, Refusal, Snapshot
from orchestrator.model.specs import SiteKind, ZoneSpec
from orchestrator.model.view import PlacementView, ServiceView
from orchestrator.placement import place
from orchestrator.reconcile.planning import chosen, running
from orchestrator.reconcile.viewing import MOST_REFUSED, view, view_in_force
from tests.placement.worlds import POLICY, SETTINGS, claim, cloud, cloud_leg, decide, edge, relay_leg, service, snapshot
from tests.strategies import snapshots


def seen(world: Snapshot, decision: Decision, before: Decision | None = None) -> PlacementView:
    return view(before, decision, running(world.claims), chosen(decision), world, "d-1")


@given(snapshots())
def test_all_that_runs_flows_and_is_refused_is_there_once(world: Snapshot) -> None:
    decision = place(world, SETTINGS, 0)
    found = seen(world, decision)
    ran, runs = running(world.claims), chosen(decision)
    for decided in decision.services:
        one = next(each for each in found.services if each.service == decided.service)
        for counts, sides in ((ran, ("stays", "stops")), (runs, ("stays", "starts"))):
            told = Counter(
                {Running(r.site, r.version, r.variant): sum(getattr(r, side) for side in sides) for r in one.replicas}
            )
            assert +told == +counts.get(decided.service, Counter())
        assert {(f.zone, f.site): f.share for f in one.flows} == {
            (s.zone, s.site): s.share for s in decided.shares if s.share > 0
        }
        assert all(f.relay for f in one.flows if path_kind(world, f.zone, f.site) is PathKind.RELAY)
        refused = {r.site for r in decided.refused} - {r.site for r in one.replicas if r.stays + r.starts}
        assert len({r.site for r in one.refused}) == len(one.refused)
        assert {r.site for r in one.refused} <= refused
        assert len(one.refused) + sum(more.sites for more in one.refused_more) == len(refused)
        assert {z.name for z in found.zones} >= {u.zone for u in one.unserved} | {f.zone for f in one.flows}
    assert (found.objective_usd_per_hour, found.gap) == (decision.objective_usd_per_hour, decision.gap)
    assert TypeAdapter(PlacementView).validate_json(to_json(found)) == found
    turned = replace(world, sites=world.sites[::-1], paths=world.paths[::-1], claims=world.claims[::-1])
    assert seen(turned, decision) == found


def path_kind(world: Snapshot, zone: ZoneName, site: SiteName) -> PathKind:
    return next(p.kind for p in world.paths if (p.zone, p.site) == (zone, site))


def one_service(found: PlacementView) -> ServiceView:
    (one,) = found.services
    return one


def test_a_move_is_told_with_the_flow_that_ends_and_the_region_that_both_pass() -> None:
    sites, legs = [edge("a"), edge("b")], [relay_leg("a", 8), relay_leg("b", 12)]
    wanted = service()
    before = place(snapshot(sites, legs, [wanted]), SETTINGS, 0)
    world = snapshot(sites, [relay_leg("a", 120), relay_leg("b", 12)], [wanted], [claim("a", wanted)])
    one = one_service(seen(world, place(world, SETTINGS, 0), before))
    assert [(r.site, r.stays, r.starts, r.stops) for r in one.replicas] == [("a", 0, 0, 1), ("b", 0, 1, 0)]
    assert [(r.site, r.reason) for r in one.refused] == [("a", Refusal.TOO_SLOW)], "why it is left"
    ends, begins = one.flows
    assert (ends.site, ends.relay, ends.share_before, ends.share, ends.p99_ms) == ("a", "cloud", 1.0, 0.0, None)
    assert (begins.site, begins.relay, begins.share_before, begins.rate_rps) == ("b", "cloud", 0.0, 100.0)


def test_callers_on_a_lan_have_a_home_and_others_a_region() -> None:
    lan = ZoneSpec(ZoneName("hall"), None, SiteName("a"))
    callers = ZoneSpec(ZoneName("callers"), SiteName("cloud"), None)
    wanted = service(zones=("hall", "callers"))
    world = snapshot([edge("a"), cloud()], [relay_leg("a", 8), cloud_leg(3)], [wanted], zones=(lan, callers))
    found = seen(world, place(world, SETTINGS, 0))
    assert [(z.name, z.site, z.region) for z in found.zones] == [("callers", None, "cloud"), ("hall", "a", None)]
    assert [(s.name, s.kind) for s in found.sites] == [("a", SiteKind.EDGE), ("cloud", SiteKind.REGION)]
    assert all(flow.relay is None for flow in one_service(found).flows if flow.zone == "hall")


def test_what_fits_is_nearer_than_what_is_too_slow_and_the_farthest_are_only_counted() -> None:
    slow = [f"slow-{number:02d}" for number in range(40)]
    sites = [cloud(), edge("a"), edge("b"), edge("c", jurisdiction="US"), *(edge(name) for name in slow)]
    legs = [relay_leg("a", 8), relay_leg("b", 9), relay_leg("c", 9)]
    legs += [relay_leg(name, 300 - at) for at, name in enumerate(slow)]
    wanted = service(replace(POLICY, jurisdictions=frozenset({"EU"})))
    decided = decide(sites, legs, wanted)
    found = view_in_force(decided, snapshot(sites, legs, [wanted], [claim("a", wanted)]), "d-7")
    one = one_service(found)
    assert [(r.site, r.reason) for r in one.refused[:2]] == [("b", Refusal.OUTRANKED), ("slow-39", Refusal.TOO_SLOW)]
    assert len(one.refused) == MOST_REFUSED
    assert {(more.reason, more.sites) for more in one.refused_more} == {
        (Refusal.TOO_SLOW, 17),
        (Refusal.RESIDENCY, 1),
        (Refusal.NO_PATH, 1),
    }
    assert [(r.site, r.stays, r.starts) for r in one.replicas] == [("a", 1, 0)]
    assert (found.decision, found.gap, found.usd_per_hour) == ("d-7", None, decided.usd_per_hour)


def test_calls_that_nobody_takes_are_told_with_their_rate() -> None:
    wanted = service(replace(POLICY, latency_p99_ms=1.0))
    world = snapshot([edge("a")], [relay_leg("a", 60)], [wanted])
    one = one_service(seen(world, place(world, SETTINGS, 0)))
    (lost,) = one.unserved
    assert (lost.zone, lost.share, lost.rate_rps, lost.nearest and lost.nearest.site) == ("callers", 1.0, 100.0, "a")
    assert one.replicas == one.flows == ()
