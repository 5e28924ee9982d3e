"""Reports of changes as the control plane takes them: who is held, how old legs are, and when callers called."""

import pytest

from orchestrator.control.observations import Observations
from orchestrator.model.ids import FrontName, NodeName, ServiceRef, SiteName
from orchestrator.model.phases import NodePhase
from orchestrator.placement.forecast import WINDOW_S
from orchestrator.reconcile.brake import RETURN_S
from protos.link.v1 import link_pb2

NOW_S = 1_000.0
F, G = FrontName("f"), FrontName("g")
DIGITS = ServiceRef("default", "digits")


def leg(rtt_ms: float = 10.0, age_ms: int = 500) -> link_pb2.LegEstimate:
    return link_pb2.LegEstimate(
        source="site/s",
        target="front/f",
        rtt_p50_ms=rtt_ms,
        rtt_p99_ms=rtt_ms,
        samples=9,
        newest_age_ms=age_ms,
        method="test",
    )


def node(
    name: str = "n", attached: bool = True, calls: int = 0, hold_ms: int = 0, **more: object
) -> link_pb2.NodeState:
    software = link_pb2.Software(capabilities=["deltas"])
    demand = [link_pb2.LanDemand(namespace="default", service="digits", calls=calls)] if calls else []
    report = link_pb2.NodeReport(held_revision=1, legs=[leg()], legs_hold_ms=hold_ms, demand=demand)
    hello = link_pb2.NodeHello(node=name, site="s", epoch=1, software=software)
    return link_pb2.NodeState(hello=hello, report=report, attached=attached, **more)  # type: ignore[arg-type]


def changes(*nodes: link_pb2.NodeState, forgotten: tuple[str, ...] = ()) -> link_pb2.FrontReport:
    return link_pb2.FrontReport(delta=True, nodes=nodes, forgotten=forgotten)


def seeing(*nodes: link_pb2.NodeState) -> Observations:
    seen = Observations()
    for front in ("f", "g"):
        seen.front_attached(link_pb2.FrontHello(front=front, region="local"), NOW_S)
    seen.front_reported(F, link_pb2.FrontReport(nodes=nodes), NOW_S)
    return seen


def held(seen: Observations, now_s: float = NOW_S) -> set[str]:
    return {name for name, each in seen.observed(now_s).nodes.items() if each.phase is NodePhase.ATTACHED}


def test_who_is_not_named_is_as_before_and_orders_are_looked_at_only_for_new_holders() -> None:
    seen = seeing(node("a"), node("b"))
    assert not seen.front_reported(F, changes(), NOW_S + 1)
    assert held(seen) == {"a", "b"}
    assert seen.front_reported(F, changes(node("c")), NOW_S + 2)
    assert not seen.front_reported(F, changes(node("c", hold_ms=7)), NOW_S + 3)
    assert seen.front_reported(F, changes(node("a", attached=False, silent_ms=30_000)), NOW_S + 4)
    assert held(seen) == {"b", "c"}
    assert seen.observed(NOW_S + 5).nodes[NodeName("a")].silent_s == pytest.approx(31.0)
    assert seen.front_reported(F, link_pb2.FrontReport(nodes=[node("b")]), NOW_S + 6), "a whole one says that c is gone"
    assert held(seen) == {"b"}


def test_a_node_that_moved_is_its_new_fronts_whatever_the_old_one_says_later() -> None:
    seen = seeing(node("a"))
    assert seen.front_reported(G, changes(node("a")), NOW_S + 1)
    assert seen.holder(NodeName("a")) == G
    seen.front_reported(F, changes(node("a", attached=False)), NOW_S + 2)
    seen.front_reported(F, link_pb2.FrontReport(), NOW_S + 3)
    assert seen.holder(NodeName("a")) == G


def test_who_was_silent_for_a_day_is_forgotten_by_its_own_front_only() -> None:
    seen = seeing(node("a", attached=False), node("b"))
    seen.front_reported(G, changes(forgotten=("a",)), NOW_S)
    assert set(seen.observed(NOW_S).nodes) == {"a", "b"}
    seen.front_reported(F, changes(forgotten=("a", "b")), NOW_S)
    assert set(seen.observed(NOW_S).nodes) == {"b"}


def test_legs_that_hold_are_no_older_than_promised_until_their_node_falls_silent() -> None:
    seen = seeing(node(hold_ms=20_000))
    assert [round(seen.legs(NOW_S + after_s)[0].age_s, 1) for after_s in (1, 10, 3_600)] == [1.5, 10.5, 20.5]
    late = node(hold_ms=0)
    late.report.legs[0].newest_age_ms = 50_000
    seen.front_reported(F, changes(late), NOW_S + 3_600)
    assert seen.legs(NOW_S + 3_700)[0].age_s == pytest.approx(150.0)


def test_legs_of_a_node_that_boots_are_as_old_as_they_were_promised_to_be_and_age_on() -> None:
    seen = seeing(node(hold_ms=20_000))
    booted = node()
    booted.hello.epoch = 2
    booted.report.ClearField("legs")
    seen.front_reported(F, changes(booted), NOW_S + 3_600)
    assert [round(seen.legs(NOW_S + 3_600 + after_s)[0].age_s, 1) for after_s in (0, 5)] == [20.5, 25.5]


def test_what_is_kept_of_a_node_says_when_a_front_is_not_there_to_witness() -> None:
    seen = seeing(node())
    assert seen.observed(NOW_S).nodes[NodeName("n")].witnessed
    session = seen.front_attached(link_pb2.FrontHello(front="g", region="local"), NOW_S)
    seen.front_detached(G, session, NOW_S + 1)
    unsure = seen.observed(NOW_S + 2).nodes[NodeName("n")]
    assert (unsure.witnessed, unsure.phase, unsure.silent_s) == (False, NodePhase.ATTACHED, 0.0)
    seen.front_attached(link_pb2.FrontHello(front="g", region="local"), NOW_S + 3)
    assert seen.observed(NOW_S + 4).nodes[NodeName("n")].witnessed


def test_a_phase_that_changes_does_not_make_old_legs_young() -> None:
    seen = seeing(node())
    changed = node()
    changed.report.replicas.add(replica="r", phase=link_pb2.REPLICA_PHASE_READY)
    seen.front_reported(F, changes(changed), NOW_S + 30)
    assert seen.legs(NOW_S + 30)[0].age_s == pytest.approx(30.5)


def test_what_a_front_held_while_nobody_listened_is_as_old_as_it_says() -> None:
    assert seeing(node(report_age_ms=40_000)).legs(NOW_S)[0].age_s == pytest.approx(40.5)


def test_calls_that_were_counted_while_alone_count_when_they_came() -> None:
    """An hour's worth at its end would be a rush of which nobody saw anything."""
    seen = seeing(node(calls=100))
    back = node(calls=3_700)
    for age_s in range(3_000, 0, -100):
        kept = link_pb2.NodeReport(demand=[link_pb2.LanDemand(namespace="default", service="digits", calls=3_700)])
        back.report.kept.add(age_ms=1000 * age_s, report=kept)
    seen.front_reported(F, changes(back), NOW_S + 3_600)
    rates = seen.demand.by_site_rps(NOW_S + 3_600)
    assert rates.get((DIGITS, SiteName("s")), 0.0) == 0.0
    lump = seeing(node(calls=100))
    lump.front_reported(F, changes(node(calls=3_700)), NOW_S + 3_600)
    assert lump.demand.by_site_rps(NOW_S + 3_600)[DIGITS, SiteName("s")] > 0.9


def test_what_was_kept_is_not_counted_twice_nor_kept_on() -> None:
    seen = seeing(node(calls=100))
    back = node(calls=100)
    kept = link_pb2.NodeReport(demand=[link_pb2.LanDemand(namespace="default", service="digits", calls=90)])
    back.report.kept.add(age_ms=50_000, report=kept)  # before the last report that was heard
    seen.front_reported(F, changes(back), NOW_S + 10)
    seen.front_reported(F, changes(node(calls=100, hold_ms=1)), NOW_S + 20)
    assert seen.demand.by_site_rps(NOW_S + 20).get((DIGITS, SiteName("s")), 0.0) == 0.0


def test_silence_about_calls_of_a_node_that_would_say_means_that_there_were_none() -> None:
    seen, now_s = seeing(node(calls=1)), NOW_S
    for calls in range(10, 600, 10):
        now_s += 1.0
        seen.front_reported(F, changes(node(calls=calls)), now_s)
    busy = seen.demand.by_site_rps(now_s)[DIGITS, SiteName("s")]
    assert busy == pytest.approx(10.0, rel=0.3)
    rates = [seen.demand.by_site_rps(now_s + after_s).get((DIGITS, SiteName("s")), 0.0) for after_s in (30, 120, 400)]
    assert rates[0] <= busy
    assert rates[-1] == 0.0 < WINDOW_S


def test_a_node_that_a_killed_front_held_is_silent_since_then_and_not_since_it_last_had_news() -> None:
    """With reports of changes an idle node was last named an hour ago; that is no silence."""
    seen = seeing(node("a"), node("b"))
    seen.front_reported(F, changes(), NOW_S + 3_600)
    session = seen.front_attached(link_pb2.FrontHello(front="f", region="local"), NOW_S + 3_610)
    seen.front_reported(F, link_pb2.FrontReport(nodes=[node("b")]), NOW_S + 3_610)
    nodes = seen.observed(NOW_S + 3_611).nodes
    assert nodes[NodeName("a")].silent_s == pytest.approx(11.0)
    assert nodes[NodeName("b")].silent_s == 0
    seen.front_detached(F, session, NOW_S + 3_620)
    nodes = seen.observed(NOW_S + 3_630).nodes
    assert nodes[NodeName("a")].silent_s == pytest.approx(30.0), "it was silent before the front went"
    assert nodes[NodeName("b")].silent_s == pytest.approx(10.0)


def test_a_node_that_came_back_says_for_a_while_how_long_it_was_away() -> None:
    seen = seeing(node("a"), node("b"))
    seen.front_reported(F, changes(node("a", attached=False, silent_ms=30_000)), NOW_S)
    seen.front_reported(F, changes(node("a")), NOW_S + 100)
    nodes = seen.observed(NOW_S + 110).nodes
    assert (nodes[NodeName("a")].silent_s, nodes[NodeName("a")].away_s) == (0.0, pytest.approx(140.0))
    assert nodes[NodeName("b")].away_s == 0
    assert seen.observed(NOW_S + 100 + RETURN_S + 1).nodes[NodeName("a")].away_s == 0
