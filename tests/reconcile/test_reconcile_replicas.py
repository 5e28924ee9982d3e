"""`diff`, applied until it is silent, brings the ledger to what is wanted and never stops a predecessor too soon."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import NodeSpec, SiteKind, SiteSpec, Variant
from orchestrator.reconcile.observed import Observed, SeenCloudReplica, SeenNode, SeenReplica
from orchestrator.reconcile.pacing import Pace
from orchestrator.reconcile.replicas import DRAIN_S, diff, replica_phases
from orchestrator.reconcile.starting import Want
from orchestrator.reconcile.updating import UpdateRules

DIGITS = ServiceRef("default", "digits")
V1, V2 = VersionRef("default", "digits-1"), VersionRef("default", "digits-2")
NEED = Resources(64 << 20, 250)
EDGES = (SiteName("edge-a"), SiteName("edge-b"), SiteName("edge-c"))
REGION = SiteName("local")
LOST_AFTER_S = 60.0


def edge_site(name: SiteName) -> SiteSpec:
    node = NodeSpec(NodeName(f"{name}-node"), Resources(1 << 30, 4000))
    return SiteSpec(name, SiteKind.EDGE, "EU", name, "any", 0.0, node.capacity, (node,))


SITES = {name: edge_site(name) for name in EDGES} | {
    REGION: SiteSpec(REGION, SiteKind.REGION, "EU", "local", "any", 0.0, Resources(4 << 30, 8000))
}


def want(site: SiteName, replicas: int, version: VersionRef = V1) -> Want:
    return Want(DIGITS, version, Variant.LITERT_FP32, Digest(f"sha256:{version.name}"), NEED, site, replicas)


@dataclass
class Fleet:
    """A ledger and holders that do what the ledger says, one step at a time."""

    claims: dict[ReplicaId, Claim] = field(default_factory=dict)
    ready: set[ReplicaId] = field(default_factory=set)
    silent_s: dict[NodeName, float] = field(default_factory=dict)
    now_s: float = 0.0
    paces: Mapping[ServiceRef, Pace] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    updates: Mapping[ServiceRef, UpdateRules] = field(default_factory=dict)
    fleet: Mapping[SiteName, SiteSpec] = field(default_factory=lambda: SITES)
    ids: Iterator[str] = field(default_factory=lambda: (str(n) for n in count()))

    def observed(self) -> Observed:
        nodes: dict[NodeName, SeenNode] = {}
        for site in EDGES:
            name = NodeName(f"{site}-node")
            silent_s = self.silent_s.get(name, 0.0)
            phase = NodePhase.UNKNOWN if silent_s else NodePhase.ATTACHED
            replicas = {
                c.id: SeenReplica(c.id, "i", ReplicaPhase.READY if c.id in self.ready else ReplicaPhase.STARTING)
                for c in self.claims.values()
                if c.node == name and not self._dropped(c)
            }
            nodes[name] = SeenNode(name, site, phase, silent_s, Resources(1 << 30, 4000), "", 1, replicas)
        cloud = {
            c.id: SeenCloudReplica(
                SeenReplica(c.id, "i", ReplicaPhase.READY, address="127.0.0.1:1"),
                REGION,
                DIGITS,
                c.hold.version,
                c.hold.digest,
            )
            for c in self.claims.values()
            if c.node is None and c.id in self.ready and isinstance(c.hold, ReplicaHold)
        }
        return Observed(nodes, cloud)

    def _dropped(self, claim: Claim) -> bool:
        return claim.phase is ClaimPhase.DRAINING and self.now_s - claim.since_s >= DRAIN_S

    def step(self, wants: Sequence[Want]) -> list[Claim]:
        changed = diff(
            wants,
            list(self.claims.values()),
            self.observed(),
            self.fleet,
            decision=DecisionId("d"),
            epoch=1,
            now_s=self.now_s,
            ids=self.ids,
            lost_after_s={DIGITS: LOST_AFTER_S},
            paces=self.paces,
            sizes=self.sizes,
            updates=self.updates,
        )
        for claim in changed:
            if claim.phase is ClaimPhase.RELEASED:
                self.claims.pop(claim.id, None)
                self.ready.discard(claim.id)
            else:
                self.claims[claim.id] = claim
        return changed

    def start_all(self) -> None:
        self.ready |= {c.id for c in self.claims.values() if c.phase in (ClaimPhase.RESERVED, ClaimPhase.BOUND)}

    def settle(self, wants: Sequence[Want]) -> None:
        """Until silent; a diff that never ends fails the test."""
        for _ in range(20):
            if not self.step(wants) and not any(c.phase is ClaimPhase.DRAINING for c in self.claims.values()):
                return
            self.start_all()
            self.now_s += DRAIN_S
        raise AssertionError(f"not settled: {self.claims}")

    def sites(self) -> list[SiteName]:
        return sorted(c.site for c in self.claims.values())


wanted_sets = st.lists(
    st.builds(want, st.sampled_from([*EDGES, REGION]), st.integers(1, 3), st.sampled_from([V1, V2])),
    max_size=4,
    unique_by=lambda w: w.site,
)


@given(before=wanted_sets, after=wanted_sets)
def test_any_plan_is_reached_and_stays(before: list[Want], after: list[Want]) -> None:
    fleet = Fleet()
    fleet.settle(before)
    fleet.settle(after)
    assert fleet.sites() == sorted(w.site for w in after for _ in range(w.count))
    assert all(c.phase is ClaimPhase.BOUND for c in fleet.claims.values())
    assert fleet.step(after) == []


@given(before=wanted_sets.filter(bool), after=wanted_sets.filter(bool))
def test_somebody_always_serves_while_a_plan_changes(before: list[Want], after: list[Want]) -> None:
    fleet = Fleet()
    fleet.settle(before)
    for _ in range(12):
        fleet.step(after)
        phases = replica_phases(list(fleet.claims.values()), fleet.observed())
        ready = {name for name, phase in phases.items() if phase is ReplicaPhase.READY}
        serving = [c for c in fleet.claims.values() if c.phase is not ClaimPhase.DRAINING and c.id in ready]
        assert serving, "a predecessor was stopped before its successor was ready"
        fleet.now_s += DRAIN_S / 4
        if fleet.now_s % 1.0 == 0:
            fleet.start_all()


def test_predecessor_stays_until_every_successor_is_ready() -> None:
    fleet = Fleet()
    fleet.settle([want(EDGES[0], 1)])
    fleet.step([want(EDGES[1], 1)])
    assert fleet.sites() == ["edge-a", "edge-b"]
    fleet.step([want(EDGES[1], 1)])
    assert {c.site: c.phase for c in fleet.claims.values()}[EDGES[0]] is ClaimPhase.BOUND
    fleet.start_all()
    fleet.step([want(EDGES[1], 1)])
    assert {c.site: c.phase for c in fleet.claims.values()}[EDGES[0]] is ClaimPhase.DRAINING


@given(before=wanted_sets.filter(bool))
def test_what_is_known_anew_of_the_hardware_changes_claims_and_restarts_nothing(before: list[Want]) -> None:
    fleet = Fleet()
    fleet.settle(before)
    held = set(fleet.claims)
    after = [replace(w, need=Resources(96 << 20, 250)) for w in before]
    assert {claim.id for claim in fleet.step(after)} == held
    assert fleet.step(after) == []
    assert set(fleet.claims) == held
    assert all(c.need == Resources(96 << 20, 250) and c.phase is ClaimPhase.BOUND for c in fleet.claims.values())


def test_a_silent_node_keeps_its_replica_and_a_lost_one_does_not() -> None:
    fleet = Fleet()
    fleet.settle([want(EDGES[0], 1)])
    node = NodeName("edge-a-node")
    fleet.silent_s[node] = LOST_AFTER_S - 1
    fleet.step([want(EDGES[1], 1)])
    fleet.step([want(EDGES[1], 1)])
    assert "edge-a" in fleet.sites()
    fleet.silent_s[node] = LOST_AFTER_S + 1
    fleet.step([want(EDGES[1], 1)])
    assert "edge-a" not in fleet.sites()


def test_a_move_is_a_new_id() -> None:
    fleet = Fleet()
    fleet.settle([want(EDGES[0], 1)])
    first = set(fleet.claims)
    fleet.settle([want(EDGES[1], 1)])
    assert first.isdisjoint(fleet.claims)


def test_nothing_starts_on_a_node_without_room() -> None:
    fleet = Fleet()
    greedy = replace(want(EDGES[0], 2), need=Resources(800 << 20, 100))
    fleet.step([greedy])
    assert len(fleet.claims) == 1


def test_nothing_starts_at_a_site_that_is_not_there_any_more() -> None:
    fleet = Fleet()
    fleet.settle([want(EDGES[0], 1)])
    fleet.step([want(EDGES[0], 1), want(SiteName("gone"), 1)])
    assert fleet.sites() == ["edge-a"]


def test_a_deleted_service_is_drained() -> None:
    fleet = Fleet()
    fleet.settle([want(EDGES[0], 2), want(REGION, 1)])
    fleet.settle([])
    assert fleet.claims == {}


def test_each_claim_of_a_region_stands_for_one_replica() -> None:
    fleet = Fleet()
    fleet.settle([want(EDGES[0], 1)])
    three = [want(REGION, 3)]
    fleet.step(three)
    started = sorted(c.id for c in fleet.claims.values() if c.site == REGION)
    fleet.ready |= set(started[:1])
    fleet.step(three)
    assert [c.phase for c in fleet.claims.values() if c.site == EDGES[0]] == [ClaimPhase.BOUND]
    fleet.ready |= set(started)
    fleet.step(three)
    assert [c.phase for c in fleet.claims.values() if c.site == EDGES[0]] == [ClaimPhase.DRAINING]
