"""What a plan says is what the loop's steps come to."""

from collections import Counter
from dataclasses import replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, FrontName, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.plan import Act, Attainment, Plan, Running
from orchestrator.model.snapshot import Decision, Interval, PlacementSettings, Snapshot
from orchestrator.model.specs import Variant
from orchestrator.placement import place
from orchestrator.placement.deciding import decide
from orchestrator.reconcile.observed import LIVE, Observed, SeenNode, SeenReplica
from orchestrator.reconcile.planning import attainment, chosen, effect, running, settled, transfers
from orchestrator.reconcile.replicas import DRAIN_S, diff
from orchestrator.reconcile.wants import wants
from tests.placement.worlds import SETTINGS, claim, cloud, cloud_leg, edge, relay_leg, service, snapshot
from tests.strategies import snapshots

REF = ServiceRef("default", "digits")
sites = st.sampled_from([SiteName(name) for name in "abc"])
kinds = st.builds(
    Running,
    sites,
    st.sampled_from([VersionRef("default", "v1"), VersionRef("default", "v2")]),
    st.sampled_from([Variant.LITERT_FP32, Variant.LITERT_INT8]),
)
replicas = st.dictionaries(kinds, st.integers(1, 4), max_size=5).map(Counter)
NOTHING_DECIDED = Decision((), 0.0, 0.0, "")


@given(replicas, replicas)
def test_steps_lead_from_what_ran_to_what_runs_and_no_further(ran: Counter[Running], runs: Counter[Running]) -> None:
    steps = effect(NOTHING_DECIDED, NOTHING_DECIDED, {REF: ran}, {REF: runs}, {}, "d").steps
    gone, come = Counter[Running](), Counter[Running]()
    for step in steps:
        assert step.replicas > 0
        assert step.before != step.after
        if step.before is not None:
            gone[step.before] += step.replicas
        if step.after is not None:
            come[step.after] += step.replicas
    assert (gone, come) == (ran - runs, runs - ran)
    assert not ({Act.START, Act.STOP} <= {step.act for step in steps}), "a stop and a start of one service are a move"
    assert all((s.act is Act.UPDATE) == (s.before.site == s.after.site) for s in steps if s.before and s.after)


def seen_world(world: Snapshot) -> Observed:
    """Every node attached, every live claim ready."""
    live = [c for c in world.claims if c.phase in LIVE and isinstance(c.hold, ReplicaHold)]
    return Observed(
        {
            node.name: SeenNode(
                node.name,
                site.name,
                NodePhase.ATTACHED,
                0.0,
                node.capacity,
                "",
                0,
                {c.id: SeenReplica(c.id, "", ReplicaPhase.READY) for c in live if c.node == node.name},
            )
            for site in world.sites
            for node in site.nodes
        },
        {},
    )


def step_by_step(world: Snapshot, decision: Decision, observed: Observed) -> list[Claim]:
    """As the loop does it, with nodes that obey a tick later and a region that never says that it is ready."""
    held = {c.id: c for c in world.claims}
    ids, now_s = (f"n{n}" for n in count()), 100.0
    by_name = {site.name: site for site in world.sites}
    for _ in range(20):
        now_s += DRAIN_S / 2
        changed = diff(
            wants(decision, world.services, list(held.values()), by_name),
            list(held.values()),
            observed,
            by_name,
            decision=DecisionId("d"),
            epoch=1,
            now_s=now_s,
            ids=ids,
            lost_after_s={},
        )
        held |= {c.id: c for c in changed}
        held = {id: c for id, c in held.items() if c.phase is not ClaimPhase.RELEASED}
        nodes = {
            name: replace(
                node,
                replicas={
                    c.id: SeenReplica(c.id, "", ReplicaPhase.READY)
                    for c in held.values()
                    if c.node == name and c.phase in LIVE
                },
            )
            for name, node in observed.nodes.items()
        }
        observed = Observed(nodes, {})
    return [c for c in held.values() if c.phase in LIVE]


@given(snapshots())
def test_a_plan_says_what_the_loops_own_steps_come_to(world: Snapshot) -> None:
    world = replace(world, claims=tuple(c for c in world.claims if c.phase is not ClaimPhase.RELEASED))
    decision, observed = place(world, PlacementSettings(), 0), seen_world(world)
    by_name = {site.name: site for site in world.sites}
    wanted = wants(decision, world.services, world.claims, by_name)
    planned = running(settled(wanted, world.claims, observed, by_name, {}, 100.0).claims)
    came = running(step_by_step(world, decision, observed))
    edges = {site.name for site in world.sites if site.nodes}
    for one in decision.services:
        if {c.site for c in one.chosen} <= edges and one.chosen:  # a region's are not played here
            assert planned.get(one.service) == came.get(one.service)


def replanned(world: Snapshot, under: Snapshot) -> tuple[Plan, list[Claim]]:
    before, after = place(world, SETTINGS, 0), place(under, SETTINGS, 0)
    by_name, observed = {s.name: s for s in under.sites}, seen_world(under)
    wanted = wants(after, under.services, under.claims, by_name)
    held = settled(wanted, under.claims, observed, by_name, {}, 100.0).claims
    limits = {s.ref: s.policy.latency_p99_ms for s in under.services}
    return effect(before, after, running(under.claims), running(held), limits, "d-1"), held


def test_the_same_world_is_no_change() -> None:
    wanted = service()
    world = snapshot([edge("a"), edge("b")], [relay_leg("a", 8), relay_leg("b", 9)], [wanted], [claim("a", wanted)])
    plan, held = replanned(world, world)
    assert (plan.changed, plan.steps, plan.causes) == (False, (), ())
    assert [c.id for c in held] == ["digits-a-0"]


def test_a_stricter_limit_moves_the_replica_and_names_its_link() -> None:
    wanted = service()
    legs = [relay_leg("a", 10), relay_leg("b", 9.5)]
    world = snapshot([edge("a"), edge("b")], legs, [wanted], [claim("a", wanted)])
    strict = service(replace(wanted.policy, latency_p99_ms=14.2))
    plan, held = replanned(world, replace(world, services=(strict,)))
    (step,) = plan.steps
    assert (step.act, step.replicas, step.before and step.before.site, step.after and step.after.site) == (
        Act.MOVE,
        1,
        "a",
        "b",
    )
    (moved,) = held
    found = transfers(world.claims, held, {"sha256:litert-fp32": 1_000}, {NodeName("b-0"): FrontName("f1")})
    assert [(t.leg, t.node, t.size_bytes) for t in found] == [("site/b -> front/f1", moved.node, 1_000)]
    assert transfers([*world.claims, moved], held, {}, {}) == ()  # the node holds it already
    (answer,) = [a for a in plan.answers if a.share > 0]
    assert (answer.site, answer.limit_ms, answer.attainment) == ("b", 14.2, Attainment.KEPT)
    assert any("took b" in cause for cause in plan.causes)


def test_demand_that_nobody_serves_any_more_names_every_refused_site() -> None:
    wanted = service()
    world = snapshot([edge("a"), cloud()], [relay_leg("a", 30), cloud_leg(35)], [wanted], [claim("a", wanted)])
    strict = service(replace(wanted.policy, latency_p99_ms=1.0))
    plan, _ = replanned(world, replace(world, services=(strict,)))
    (lost,) = plan.not_served
    assert (lost.share_before, lost.share) == (0.0, 1.0)
    assert {r.site for r in lost.refused} == {"a", "cloud"}
    assert all(r.reason == "too-slow" and r.detail for r in lost.refused)


def test_a_new_version_is_an_update() -> None:
    wanted = service(version="digits-2")
    world = snapshot([edge("a")], [relay_leg("a", 8)], [wanted], [claim("a", wanted, version="digits-1")])
    plan, held = replanned(world, world)
    assert [(s.act, s.before and s.before.version.name, s.after and s.after.version.name) for s in plan.steps] == [
        (Act.UPDATE, "digits-1", "digits-2")
    ]
    assert [c.hold.version.name for c in held if isinstance(c.hold, ReplicaHold)] == ["digits-2"]


def test_attainment_is_judged_by_the_whole_interval() -> None:
    answer = Interval(10.0, 20.0, 30.0)
    assert [attainment(answer, limit) for limit in (None, 5.0, 20.0, 30.0)] == [
        Attainment.NO_LIMIT,
        Attainment.MISSED,
        Attainment.LIKELY,
        Attainment.KEPT,
    ]


@given(snapshots())
def test_a_decision_wants_what_its_own_replay_wants(world: Snapshot) -> None:
    inputs = DecisionInputs(world, PlacementSettings(), 0, "p")
    one, again = decide(inputs), decide(inputs)
    assert not effect(one, again, chosen(one), chosen(again), {}, "d").changed


def test_what_was_carried_is_part_of_the_decision() -> None:
    wanted = service()
    world = snapshot([edge("a")], [relay_leg("a", 8)], [wanted])
    carried = replace(place(world, SETTINGS, 0).services[0], service=ServiceRef("default", "unjudged"))
    decided = decide(DecisionInputs(world, SETTINGS, 0, "p", (carried,)))
    assert [s.service.name for s in decided.services] == ["digits", "unjudged"]
    assert running([]) == {}
    assert ReplicaId("x") not in chosen(decided)
