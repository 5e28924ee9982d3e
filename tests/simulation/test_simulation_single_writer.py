"""A single writer is never served by two nodes, whatever is cut, rebooted or written, and never for ever by none.

The real agents and the real diff; the links, the disks and the clocks are on paper. Each node's clock runs at a rate of
its own, a node notices a cut late, and what it is told first on its return is what its front still had.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import NodeSpec, SiteKind, SiteSpec, Variant
from orchestrator.reconcile.assignments import AssignedReplica, assignments
from orchestrator.reconcile.observed import Observed, SeenNode, SeenReplica
from orchestrator.reconcile.replicas import diff
from orchestrator.reconcile.single_writer import NOTICE_S, Promise, promised, still_promised, stopped_after_s
from orchestrator.reconcile.starting import Want
from orchestrator.reconcile.updating import UpdateRules
from workers.edge import actions, events
from workers.edge.agent import Agent
from workers.edge.assignment import Artifact, Assignment, Content, Phase, ReplicaAssignment, Report

SERVICE, VERSION, DIGEST = ServiceRef("default", "writer"), VersionRef("default", "writer-1"), Digest("sha256:1")
NEED, ROOM = Resources(64 << 20, 100), Resources(1 << 30, 4_000)
RULES = {SERVICE: UpdateRules(max_surge=0, single_writer=True)}
LOST_AFTER_S = 20.0


@dataclass
class Node:
    """An agent with its host: models load and drain within a second, artifacts are there."""

    name: NodeName
    rate: float
    notices_s: float
    boots: int = 0
    up: bool = True
    cut_at_s: float = 0.0  # when its link last went, or came
    linked: bool = False  # as it sees it
    held: Assignment | None = None  # on its disk
    contact: tuple[float, float] = (0.0, 0.0)  # on its disk: offline for so long, at this true time
    loaded: set[str] = field(default_factory=set)
    report: Report = field(default_factory=lambda: Report(0, (), ()))
    at_front: Assignment | None = None  # what the front has for it
    agent: Agent = field(init=False)

    def boot(self, now_s: float) -> None:
        self.boots += 1
        self.agent, self.linked = Agent(f"site-{self.name}", f"b{self.boots}"), False
        self.loaded.clear()
        offline_s, saved_s = self.contact
        self.tell(events.Restarted(self.held, offline_s + now_s - saved_s), now_s)

    def tell(self, event: events.Event, now_s: float) -> None:
        pending: list[events.Event] = [event]
        while pending:
            for action in self.agent.step(pending.pop(0), self.rate * now_s):
                pending += self._obey(action, now_s)

    def _obey(self, action: actions.Action, now_s: float) -> list[events.Event]:
        match action:
            case actions.SaveAssignment():
                self.held = action.assignment
            case actions.SaveContact():
                self.contact = (action.offline_s, now_s)
            case actions.FetchArtifact():
                return [events.ArtifactVerified(action.artifact.digest)]
            case actions.LoadModel():
                self.loaded.add(action.incarnation)
                return [events.ModelLoaded(action.incarnation)]
            case actions.DrainModel():
                return [events.ModelDrained(action.incarnation)]
            case actions.UnloadModel():
                self.loaded.discard(action.incarnation)
            case actions.SendReport():
                self.report = action.report
        return []

    def tick(self, now_s: float) -> None:
        if self.up and not self.linked:
            self.linked = True
            self.tell(events.LinkOpened("f"), now_s)
            if self.at_front is not None:
                self.tell(events.AssignmentReceived(self.at_front), now_s)
        if not self.up and self.linked and now_s - self.cut_at_s >= self.notices_s:
            self.linked = False
            self.tell(events.LinkLost("cut"), now_s)
        self.tell(events.Ticked(), now_s)


@dataclass
class Stored:
    revision: int = 0
    replicas: tuple[AssignedReplica, ...] = ()
    promised_s: dict[ReplicaId, float] = field(default_factory=dict)


@dataclass
class World:
    nodes: dict[NodeName, Node]
    valid_offline_s: float = 60.0
    decides: bool = True  # the control plane is there
    now_s: float = 0.0
    claims: dict[ReplicaId, Claim] = field(default_factory=dict)
    stored: dict[NodeName, Stored] = field(default_factory=dict)
    heard: dict[NodeName, tuple[float, Report]] = field(default_factory=dict)
    ids: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        for node in self.nodes.values():
            node.boot(0.0)

    # ---- the control plane

    def observed(self) -> Observed:
        found = {}
        for name, (at_s, report) in self.heard.items():
            silent_s = 0.0 if self.nodes[name].up else max(self.now_s - at_s, 1e-9)
            phase = NodePhase.UNKNOWN if silent_s else NodePhase.ATTACHED
            replicas = {
                ReplicaId(one.replica): SeenReplica(ReplicaId(one.replica), one.incarnation, ReplicaPhase(one.phase))
                for one in report.replicas
            }
            site = SiteName(f"site-{name}")
            found[name] = SeenNode(name, site, phase, silent_s, ROOM, "", report.held_revision, replicas)
        return Observed(found, {})

    def decide(self) -> None:
        observed, patience_s = self.observed(), max(LOST_AFTER_S, stopped_after_s(self.valid_offline_s))
        claims = list(self.claims.values())
        before = {node: self._promised(node, observed) for node in self.nodes}
        changed = diff(
            [Want(SERVICE, VERSION, Variant.LITERT_FP32, DIGEST, NEED, self._wanted(observed, patience_s), 1)],
            claims,
            observed,
            self._sites(),
            decision=DecisionId("d"),
            epoch=1,
            now_s=self.now_s,
            ids=(f"r{number}" for number in self.ids),
            lost_after_s={SERVICE: patience_s},
            updates=RULES,
            promised_s={replica: one for kept in before.values() for replica, one in kept.items()},
        )
        self.claims |= {one.id: one for one in changed}
        self.claims = {id: one for id, one in self.claims.items() if one.phase is not ClaimPhase.RELEASED}
        valid = {SERVICE: self.valid_offline_s}
        assigned = assignments(self.nodes, self.claims.values(), {}, valid, self.now_s, frozenset({SERVICE}))
        for node, replicas in assigned.items():
            promises = still_promised(before[node], _promises(replicas))
            kept = self.stored.setdefault(node, Stored())
            if (kept.replicas, kept.promised_s) != (replicas, promises):
                self.stored[node] = Stored(kept.revision + 1, replicas, promises)

    def _wanted(self, observed: Observed, patience_s: float) -> SiteName:
        """Where it is, unless that is lost; else the first that answers."""
        for claim in self.claims.values():
            node = observed.nodes[claim.node] if claim.node else None
            if node is not None and node.silent_s <= patience_s:
                return claim.site
        attached = [one.site for one in observed.nodes.values() if one.phase is NodePhase.ATTACHED]
        return min(attached, default=SiteName("site-a"))

    def _promised(self, node: NodeName, observed: Observed) -> dict[ReplicaId, float]:
        kept, seen = self.stored.get(node, Stored()), observed.nodes.get(node)
        acknowledged = seen is not None and seen.held_revision >= kept.revision
        return promised(_promises(kept.replicas), kept.promised_s, acknowledged)

    def _sites(self) -> dict[SiteName, SiteSpec]:
        return {
            site: SiteSpec(site, SiteKind.EDGE, "EU", site, "any", 0.0, ROOM, (NodeSpec(name, ROOM),))
            for name in self.nodes
            for site in [SiteName(f"site-{name}")]
        }

    # ---- time

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            for node in self.nodes.values():
                node.tick(self.now_s)
                self.check()
                if node.up:
                    self.heard[node.name] = (self.now_s, node.report)
            if not self.decides:
                continue
            if len(self.heard) == len(self.nodes):
                self.decide()
            for node in self.nodes.values():
                kept = self.stored.get(node.name)
                if node.up and node.linked and kept is not None:
                    node.at_front = _on_the_wire(kept)
                    node.tell(events.AssignmentReceived(node.at_front), self.now_s)
                    self.check()

    def check(self) -> None:
        serving = [one for node in self.nodes.values() for one in node.loaded]
        assert len(serving) <= 1, f"two serve at {self.now_s}: {serving}"

    def serving(self) -> list[NodeName]:
        return [node.name for node in self.nodes.values() if node.loaded]

    def cut(self, name: NodeName) -> None:
        if self.nodes[name].up:
            self.nodes[name].up, self.nodes[name].cut_at_s = False, self.now_s

    def mend(self, name: NodeName) -> None:
        node = self.nodes[name]
        if not node.up:
            if node.linked:  # it never noticed; the front sees a new stream all the same
                node.linked = False
                node.tell(events.LinkLost("a new stream"), self.now_s)
            node.up = True


def _promises(replicas: Sequence[AssignedReplica]) -> list[Promise]:
    return [Promise(ReplicaId(one.replica), one.valid_offline_s) for one in replicas]


def _on_the_wire(kept: Stored) -> Assignment:
    return Assignment(
        kept.revision,
        tuple(
            ReplicaAssignment(
                Content(one.replica, one.namespace, one.service, one.version, Artifact(one.digest, 1, one.format)),
                one.memory_bytes,
                one.decision,
                one.valid_offline_s,
                one.draining,
                single_writer=one.single_writer,
            )
            for one in kept.replicas
        ),
    )


A, B = NodeName("a"), NodeName("b")


def world(rate_a: float = 1.0, notices_s: float = 10.0) -> World:
    found = World({A: Node(A, rate_a, notices_s), B: Node(B, 1.0, 10.0)})
    found.run(10)
    assert found.serving() == [A]
    return found


def test_a_short_cut_moves_nothing_and_reloads_nothing() -> None:
    found = world()
    before = set(found.nodes[A].loaded)
    found.cut(A)
    found.run(50)
    found.mend(A)
    found.run(200)
    assert found.nodes[A].loaded == before


def test_the_replacement_starts_once_the_original_has_certainly_stopped_and_stays() -> None:
    found = world()
    found.cut(A)
    found.run(60 + 11)
    assert found.serving() == []  # the node counts from when it noticed
    found.run(int(stopped_after_s(60.0)) - 60 - 11 - 2)
    assert found.serving() == []
    found.run(10)
    assert found.serving() == [B]
    found.mend(A)
    found.run(100)
    assert found.serving() == [B]


def test_a_node_that_returns_before_its_replacement_waits_for_a_newer_assignment() -> None:
    found = world()
    found.cut(A)
    found.run(100)
    assert found.serving() == []
    first = set(found.claims)
    found.mend(A)
    found.run(1)
    assert found.serving() == []  # what its front still had is not enough
    found.run(20)
    assert found.serving() == [A]
    assert first.isdisjoint(found.claims)


def test_a_promise_that_was_shortened_meanwhile_still_counts_as_it_was_given() -> None:
    found = world()
    found.valid_offline_s = 600.0
    found.run(5)
    found.cut(A)
    found.run(1)
    found.valid_offline_s = 30.0
    found.run(500)
    assert found.serving() == [A]
    found.run(400)
    assert found.serving() == [B]


def test_a_reboot_while_the_control_plane_is_away_revives_nothing() -> None:
    found = world()
    found.cut(A)
    found.run(300)
    assert found.serving() == [B]
    found.decides = False
    found.mend(A)
    found.run(5)
    found.nodes[A].boot(found.now_s)
    found.run(10)
    assert found.serving() == [B]
    found.decides = True
    found.run(10)
    assert found.serving() == [B]


does = st.one_of(
    st.tuples(st.just("cut"), st.sampled_from([A, B])),
    st.tuples(st.just("mend"), st.sampled_from([A, B])),
    st.tuples(st.just("reboot"), st.sampled_from([A, B])),
    st.tuples(st.just("valid"), st.sampled_from([10.0, 60.0, 200.0])),
    st.tuples(st.just("plane"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 300)),
)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(does, max_size=14),
    rate=st.floats(0.995, 1.005),
    notices_s=st.floats(0.0, NOTICE_S - 5),
)
def test_whatever_happens_it_is_never_two_and_in_the_end_one(
    steps: list[tuple[str, object]], rate: float, notices_s: float
) -> None:
    found = world(rate, notices_s)
    for what, on in steps:
        match what, on:
            case "cut", str():
                found.cut(NodeName(on))
            case "mend", str():
                found.mend(NodeName(on))
            case "reboot", str():
                found.nodes[NodeName(on)].boot(found.now_s)
                found.check()
            case "valid", float():
                found.valid_offline_s = on
            case "plane", bool():
                found.decides = on
            case "wait", int():
                found.run(on)
        found.run(2)
    found.decides = True
    for name in found.nodes:
        found.mend(name)
    found.run(60)
    assert len(found.serving()) == 1
    (claim,) = found.claims.values()
    assert claim.phase is ClaimPhase.BOUND
    assert found.serving() == [claim.node]
    assert found.nodes[found.serving()[0]].report.replicas[0].phase is Phase.READY
