"""A node taken out of use: it gets nothing new, and what it has is handed over before it stops, or stays."""

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.nodes import NodeOrders
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, Refusal, RefusedSite, ServiceDecision, Shortfall, Unserved
from orchestrator.model.specs import NodeSpec, Variant
from orchestrator.placement import place
from orchestrator.reconcile.draining import counted_claims, handed_over, offered, progress, staying
from orchestrator.reconcile.observed import Observed, SeenNode, SeenReplica
from orchestrator.reconcile.replicas import DRAIN_S, diff
from orchestrator.reconcile.wants import wants
from tests.placement.worlds import POLICY, SETTINGS, by_service, edge, relay_leg, service, snapshot

DIGITS = ServiceRef("default", "digits")
A1, A2, B1 = NodeName("edge-a-1"), NodeName("edge-a-2"), NodeName("edge-b-1")
NEED = Resources(64 << 20, 1_000)
ROOM = Resources(1 << 30, 4_000)


def held(name: str, node: NodeName, site: str = "edge-a", phase: ClaimPhase = ClaimPhase.BOUND) -> Claim:
    hold = ReplicaHold(DIGITS, VersionRef("default", "digits-1"), Variant.LITERT_FP32, Digest("sha256:1"))
    return Claim(ReplicaId(name), SiteName(site), node, NEED, phase, hold, None, 1, 0.0)


def ordered(*draining: NodeName, cordoned: tuple[NodeName, ...] = ()) -> NodeOrders:
    return NodeOrders(frozenset(draining) | frozenset(cordoned), frozenset(draining))


def test_a_cordoned_node_offers_what_it_holds_and_a_draining_one_what_stays() -> None:
    nodes = [NodeSpec(A1, ROOM), NodeSpec(A2, ROOM)]
    claims = [held("r-1", A1), held("r-2", A1, phase=ClaimPhase.DRAINING), held("r-3", A2)]
    cordoned = ordered(cordoned=(A1,))
    assert offered(nodes, cordoned, counted_claims(claims, cordoned, ())) == [
        NodeSpec(A1, NEED + NEED, schedulable=False),
        NodeSpec(A2, ROOM),
    ]
    draining = ordered(A1)
    assert [c.id for c in counted_claims(claims, draining, ())] == ["r-2", "r-3"]
    assert offered(nodes, draining, counted_claims(claims, draining, ()))[0].capacity == NEED  # until it has drained
    assert counted_claims(claims, draining, {DIGITS}) == tuple(claims)
    assert handed_over(claims, draining, ()) == {DIGITS: {A1}}
    assert handed_over(claims, draining, {DIGITS}) == {}


def test_a_node_never_offers_more_than_it_has() -> None:
    small = NodeSpec(A1, Resources(10, 10))
    assert offered([small], ordered(cordoned=(A1,)), [held("r-1", A1)])[0].capacity == small.capacity


# ---- the planner and the diff on it


@dataclass
class Hall:
    """Two nodes at one site, one at another, and holders that do what the ledger says."""

    orders: NodeOrders
    room: dict[NodeName, Resources] = field(default_factory=lambda: dict.fromkeys((A1, A2, B1), ROOM))
    reached_b_ms: float = 12.0
    claims: dict[ReplicaId, Claim] = field(default_factory=dict)
    running: Decision | None = None
    now_s: float = 0.0
    started: int = 0
    stays: dict[ServiceRef, str] = field(default_factory=dict)

    def plan(self, stays: dict[ServiceRef, str]) -> Decision:
        claims = counted_claims(list(self.claims.values()), self.orders, stays)
        sites = []
        for name in ("edge-a", "edge-b"):
            nodes = [NodeSpec(node, room) for node, room in self.room.items() if node.startswith(name)]
            shown = offered(nodes, self.orders, claims)
            capacity = sum((node.capacity for node in shown), Resources())
            sites.append(replace(edge(name), nodes=tuple(shown), capacity=capacity))
        wanted = service(replace(POLICY, replicas_min=2), name="digits")
        legs = [relay_leg("edge-a", 10), relay_leg("edge-b", self.reached_b_ms)]
        self.sites = {site.name: site for site in sites}
        self.wanted = wanted
        return place(snapshot(sites, legs, [wanted], list(claims)), SETTINGS, 0)

    def tick(self) -> list[Claim]:
        proposed = self.plan({})
        leaving = handed_over(self.claims.values(), self.orders, ())
        self.stays = staying(proposed, self.running, leaving)
        self.running = self.plan(self.stays) if self.stays else proposed
        claims = list(self.claims.values())
        ids = iter([f"n{self.started + more}" for more in range(9)])
        self.started += 9
        changed = diff(
            wants(self.running, [self.wanted], claims, self.sites),
            claims,
            self.observed(),
            self.sites,
            decision=DecisionId("d"),
            epoch=1,
            now_s=self.now_s,
            ids=ids,
            lost_after_s={},
            handed_over=handed_over(claims, self.orders, self.stays),
        )
        for one in changed:
            self.claims[one.id] = one
            if one.phase is ClaimPhase.RELEASED:
                del self.claims[one.id]
        self.now_s += DRAIN_S / 2
        return changed

    def observed(self) -> Observed:
        nodes = {}
        for node, room in self.room.items():
            seen = {c.id: SeenReplica(c.id, "i", self._phase(c)) for c in self.claims.values() if c.node == node}
            nodes[node] = SeenNode(node, SiteName(node[:6]), NodePhase.ATTACHED, 0.0, room, "", 1, seen)
        return Observed(nodes, {})

    def _phase(self, claim: Claim) -> ReplicaPhase:
        if claim.phase is ClaimPhase.DRAINING:
            return ReplicaPhase.STOPPED if self.now_s - claim.since_s >= DRAIN_S else ReplicaPhase.DRAINING
        return ReplicaPhase.READY if self.now_s - claim.since_s >= 1.0 else ReplicaPhase.STARTING

    def serving(self) -> int:
        return sum(self._phase(c) is ReplicaPhase.READY for c in self.claims.values())

    def nodes(self) -> list[NodeName]:
        return sorted(c.node for c in self.claims.values() if c.node)


def settled(hall: Hall, ticks: int = 12, least: int = 0) -> Hall:
    for _ in range(ticks):
        hall.tick()
        assert hall.serving() >= least, "a replica stopped before its successor was ready"
    return hall


def test_replicas_go_to_the_other_node_of_the_site_before_they_stop() -> None:
    hall = settled(Hall(ordered()))
    assert len(hall.nodes()) == 2
    hall.orders = ordered(A1)
    settled(hall, least=2)
    assert A1 not in hall.nodes()
    assert len(hall.nodes()) == 2


def test_without_room_there_they_go_to_another_site() -> None:
    tight = {A1: NEED + NEED, A2: Resources(), B1: Resources()}
    hall = settled(Hall(ordered(), room=tight))
    assert hall.nodes() == [A1, A1]
    hall.orders, hall.room[B1] = ordered(A1), ROOM
    settled(hall, least=2)
    assert hall.nodes() == [B1, B1]


def test_what_nothing_else_can_take_stays_and_says_why_until_there_is_room() -> None:
    tight = {A1: NEED + NEED, A2: Resources(), B1: Resources()}
    hall = settled(Hall(ordered(), room=tight))
    hall.orders = ordered(A1)
    settled(hall, least=2)
    assert hall.nodes() == [A1, A1]
    assert "would be served by nobody" in hall.stays[DIGITS]
    told = progress(A1, hall.observed().nodes[A1], hall.claims.values(), hall.stays)
    assert not told.empty
    assert told.sentence.startswith("2 left, and nothing else can take what stays: default/digits: ")
    assert "skerry uncordon edge-a-1" in told.sentence
    hall.room[B1] = ROOM
    settled(hall, least=2)
    assert hall.nodes() == [B1, B1]
    assert progress(A1, hall.observed().nodes[A1], hall.claims.values(), hall.stays).empty


def test_a_cordoned_node_keeps_what_it_runs_and_the_plan_names_the_verb() -> None:
    hall = settled(Hall(ordered(), room={A1: NEED + NEED, A2: Resources(), B1: Resources()}))
    before = set(hall.claims)
    hall.orders = ordered(cordoned=(A1,))
    settled(hall)
    assert set(hall.claims) == before
    hall.claims.clear()
    (decided,) = hall.plan({}).services
    (refused,) = {one.detail for one in decided.refused if one.site == "edge-a" and one.reason is Refusal.MEMORY}
    assert "node edge-a-1 of edge-a has 0 left: it is cordoned: `skerry uncordon edge-a-1`" in refused


rooms = st.sampled_from([Resources(), NEED, NEED + NEED, ROOM])


@given(a1=rooms, a2=rooms, b1=rooms, draining=st.sets(st.sampled_from([A1, A2, B1])))
def test_a_drain_never_costs_a_replica(a1: Resources, a2: Resources, b1: Resources, draining: set[NodeName]) -> None:
    hall = settled(Hall(ordered(), room={A1: a1, A2: a2, B1: b1}))
    least = hall.serving()
    hall.orders = ordered(*draining)
    settled(hall, ticks=14, least=least)
    left = [node for node in hall.nodes() if node in draining]
    assert bool(left) == bool(hall.stays)
    assert hall.tick() == []


# ---- what is told


def decision(*, unserved: float = 0.0, rule: str = "", chosen: bool = True) -> Decision:
    base = by_service(
        place(snapshot([edge("edge-a")], [relay_leg("edge-a", 10)], [service(name="digits")]), SETTINGS, 0)
    )
    near = RefusedSite(SiteName("edge-b"), ZoneName("callers"), Refusal.MEMORY, 64, 0, "MiB", "offer more")
    lost = (Unserved(ZoneName("callers"), unserved, near),) if unserved else ()
    short = (Shortfall(rule, 1, 2, "replicas", "one more fits nowhere"),) if rule else ()
    found: ServiceDecision = replace(base["digits"], unserved=lost, shortfalls=short)
    return Decision((found if chosen else replace(found, chosen=()),), 0.0, 0.0, "")


def test_a_service_stays_for_what_it_would_lose_and_not_for_what_it_lacks_already() -> None:
    whole = decision()
    assert staying(decision(unserved=0.4), whole, {DIGITS}) == {
        DIGITS: "40% of zone callers's calls would be served by nobody; nearest is edge-b: offer more"
    }
    assert staying(decision(unserved=0.4), decision(unserved=0.4), {DIGITS}) == {}
    assert staying(decision(rule="replicas.min"), whole, {DIGITS}) == {DIGITS: "replicas.min: one more fits nowhere"}
    assert staying(decision(rule="replicas.min"), decision(rule="replicas.min"), {DIGITS}) == {}
    assert staying(decision(chosen=False), whole, {DIGITS})[DIGITS].startswith("no other site may hold it")
    assert staying(decision(unserved=0.4), whole, set()) == {}


def test_progress_counts_what_still_runs() -> None:
    claims = [held("r-1", A1), held("r-2", A1, phase=ClaimPhase.DRAINING), held("r-3", A2)]
    found = progress(A1, None, claims, {})
    assert (found.replicas, found.waiting, found.empty) == (2, 1, False)
    assert found.sentence == "2 left: 1 until their successors are ready, 1 stopping"
    seen = SeenNode(
        A1, SiteName("edge-a"), NodePhase.ATTACHED, 0.0, ROOM, "", 1,
        {ReplicaId("r-9"): SeenReplica(ReplicaId("r-9"), "i", ReplicaPhase.DRAINING)},
    )  # fmt: skip
    assert progress(A1, seen, [], {}).sentence == "1 left: 1 stopping"
    assert progress(A1, None, [], {}).sentence == "it holds no replica"
