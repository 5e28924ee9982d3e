"""What fronts, nodes and cloud replicas reported. In memory only: they report all of it again when they dial anew.

What nobody can have measured or counted is refused here, counted and shown: it never reaches the planner.
"""

from collections.abc import Container
from dataclasses import dataclass, field

from orchestrator.control.refusals import Refusals, Refused
from orchestrator.control.reported_demand import ReportedDemand
from orchestrator.control.reported_legs import Reported, legs_of, objection
from orchestrator.control.reported_resources import ReportedResources
from orchestrator.model.ids import FrontName, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.legs import Leg
from orchestrator.model.phases import NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.reconcile.observed import Observed, SeenCloudReplica, SeenNode, SeenReplica
from protos.link.v1 import link_pb2

MOST_LEGS = 64  # of one node: it measures one front at a time
LEAST_S = 1e-9  # silence just begun is silence

_PHASES = {
    link_pb2.REPLICA_PHASE_FETCHING: ReplicaPhase.FETCHING,
    link_pb2.REPLICA_PHASE_STARTING: ReplicaPhase.STARTING,
    link_pb2.REPLICA_PHASE_READY: ReplicaPhase.READY,
    link_pb2.REPLICA_PHASE_DRAINING: ReplicaPhase.DRAINING,
    link_pb2.REPLICA_PHASE_STOPPED: ReplicaPhase.STOPPED,
    link_pb2.REPLICA_PHASE_FAILED: ReplicaPhase.FAILED,
}


@dataclass(slots=True)
class _Node:
    state: link_pb2.NodeState
    front: FrontName
    received_s: float
    legs: tuple[link_pb2.LegEstimate, ...]  # the accepted ones
    measured_s: float  # when its report last was another one: a front repeats the last it has


@dataclass(slots=True)
class _Front:
    hello: link_pb2.FrontHello
    attached: bool
    changed_s: float
    session: int
    legs: dict[tuple[str, str], tuple[link_pb2.LegEstimate, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrontView:
    """A front as `skerry status` shows it."""

    name: FrontName
    region: str
    gateway_address: str
    version: str
    attached: bool
    age_s: float


@dataclass(slots=True)
class Observations:
    """Everything reported, each with the moment it was received."""

    _fronts: dict[FrontName, _Front] = field(default_factory=dict)
    _nodes: dict[NodeName, _Node] = field(default_factory=dict)
    _cloud: dict[ReplicaId, link_pb2.ReplicaReport] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    demand: ReportedDemand = field(init=False)
    resources: ReportedResources = field(init=False)

    def __post_init__(self) -> None:
        self.demand = ReportedDemand(self.refusals)
        self.resources = ReportedResources(self.refusals)

    # ---- what links report

    def front_attached(self, hello: link_pb2.FrontHello, now_s: float) -> int:
        """A number that names this attachment: an older stream of the same front may end after the new one began."""
        name = FrontName(hello.front)
        session = self._fronts[name].session + 1 if name in self._fronts else 1
        self.demand.front_attached(name)
        self._fronts[name] = _Front(hello, True, now_s, session)
        return session

    def front_detached(self, name: FrontName, session: int, now_s: float) -> None:
        """Its nodes are silent to us from now on; it may well serve them."""
        front = self._fronts.get(name)
        if front and front.session == session:
            front.attached, front.changed_s = False, now_s

    def front_reported(self, name: FrontName, report: link_pb2.FrontReport, now_s: float) -> None:
        for state in report.nodes:
            node = NodeName(state.hello.node)
            held = self._nodes.get(node)
            # Two fronts may both know a node that moved: the newer boot counts, then whoever holds it now.
            if held is None or held.front == name or _rank(state) >= _rank(held.state):
                self._node_reported(node, state, name, now_s)
        self._detach_unlisted(name, {NodeName(state.hello.node) for state in report.nodes})
        for leg in report.legs:
            if self._accepts(leg, f"front/{name}", now_s):
                self._fronts[name].legs[leg.source, leg.target] = (_copy(leg), now_s)
        self.demand.front_reported(name, report, now_s)

    def _node_reported(self, node: NodeName, state: link_pb2.NodeState, front: FrontName, now_s: float) -> None:
        held = self._nodes.get(node)
        said = (state.hello.site, state.hello.epoch, state.report)
        if held is not None and (held.state.hello.site, held.state.hello.epoch, held.state.report) == said:
            self._nodes[node] = _Node(state, front, now_s, held.legs, held.measured_s)
            return
        source, legs = f"site/{state.hello.site}", state.report.legs
        if len(legs) > MOST_LEGS:
            self.refusals.add("leg", f"{source} -> any", f"{len(legs)} legs, {MOST_LEGS} at most", now_s)
        accepted = tuple(_copy(leg) for leg in legs[:MOST_LEGS] if self._accepts(leg, source, now_s))
        measured_s = now_s
        if not legs and held is not None and held.state.hello.site == state.hello.site:
            # A node that boots, or whose front did, has no samples yet. What was measured before counts on and ages on,
            # or else its replicas would leave the site for a second.
            accepted, measured_s = held.legs, held.measured_s
        self._nodes[node] = _Node(state, front, now_s, accepted, measured_s)
        self.demand.node_reported(node, state, now_s)
        self.resources.node_reported(node, state, now_s)

    def _accepts(self, leg: link_pb2.LegEstimate, source: str, now_s: float) -> bool:
        reason = objection(leg, source)
        if reason is not None:
            self.refusals.add("leg", f"{source} -> {leg.target}", reason, now_s)
        return reason is None

    def _detach_unlisted(self, front: FrontName, listed: set[NodeName]) -> None:
        """A report is whole: what a front held before it was killed, it does not hold unless it says so."""
        for node, held in self._nodes.items():
            if held.front == front and held.state.attached and node not in listed:
                held.state.attached, held.state.silent_ms = False, 0

    def replica_registered(self, report: link_pb2.ReplicaReport) -> None:
        """A failure is kept after its reporter is gone, as the reason that operators look for: one for each version."""
        failure = ReplicaId(f"failed/{report.namespace}/{report.service}/{report.version}")
        if report.phase == link_pb2.REPLICA_PHASE_FAILED:
            self._cloud[failure] = report
            return
        self._cloud.pop(failure, None)
        self._cloud[ReplicaId(report.replica)] = report

    def forget_failures(self, wanted: Container[tuple[ServiceRef, VersionRef]]) -> None:
        """Of versions that nobody wants in a region any more."""
        for name, report in list(self._cloud.items()):
            seen = _seen_cloud(report)
            if seen.seen.phase is ReplicaPhase.FAILED and (seen.service, seen.version) not in wanted:
                del self._cloud[name]

    def replica_gone(self, report: link_pb2.ReplicaReport) -> None:
        held = self._cloud.get(ReplicaId(report.replica))
        if held is not None and held.incarnation == report.incarnation:
            del self._cloud[ReplicaId(report.replica)]

    # ---- what the loops see

    def observed(self, now_s: float) -> Observed:
        return Observed(
            nodes={name: self._seen_node(name, node, now_s) for name, node in self._nodes.items()},
            cloud={name: _seen_cloud(report) for name, report in self._cloud.items()},
        )

    def _seen_node(self, name: NodeName, node: _Node, now_s: float) -> SeenNode:
        silent_s = self._silent_s(node, now_s)
        hello, report = node.state.hello, node.state.report
        return SeenNode(
            node=name,
            site=SiteName(hello.site),
            phase=NodePhase.UNKNOWN if silent_s > 0 else NodePhase.ATTACHED,
            silent_s=silent_s,
            capacity=Resources(hello.memory_bytes, hello.compute_millis),
            lan_address=hello.lan_address,
            held_revision=report.held_revision,
            replicas={ReplicaId(r.replica): _seen_replica(r) for r in report.replicas},
            peer_address=hello.peer_address,
            witnessed=all(front.attached for front in self._fronts.values()),
        )

    def _silent_s(self, node: _Node, now_s: float) -> float:
        """0 while its front holds it. A front that is gone says nothing of its nodes."""
        front = self._fronts.get(node.front)
        if front is not None and front.attached:
            if node.state.attached:
                return 0.0
            return max(node.state.silent_ms / 1000 + now_s - node.received_s, LEAST_S)
        return max(now_s - (front.changed_s if front else node.received_s), LEAST_S)

    def legs(self, now_s: float) -> list[Leg]:
        """Of nodes and fronts. A silent node's legs stop ageing: whether to wait for it is the policy's decision."""
        found: dict[tuple[str, str], list[Reported]] = {}
        for node in self._nodes.values():
            silent_s = self._silent_s(node, now_s)
            elapsed_s = max(0.0, now_s - silent_s - node.measured_s)
            for leg in node.legs:
                found.setdefault((leg.source, leg.target), []).append(Reported(leg, elapsed_s, silent_s == 0))
        for front in self._fronts.values():
            for ends, (leg, received_s) in front.legs.items():
                found.setdefault(ends, []).append(Reported(leg, now_s - received_s))
        return [leg for reports in found.values() for leg in legs_of(reports)]

    def refused(self) -> list[Refused]:
        return self.refusals.all()

    def front_regions(self) -> dict[FrontName, str]:
        return {name: front.hello.region for name, front in self._fronts.items()}

    def front_addresses(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Where nodes dial and where machines join, of the attached fronts, by name."""
        hellos = [front.hello for _, front in sorted(self._fronts.items()) if front.attached]
        links = tuple(hello.link_address for hello in hellos if hello.link_address)
        return links, tuple(hello.enrolment_address for hello in hellos if hello.enrolment_address)

    def holder(self, node: NodeName) -> FrontName | None:
        """The front that holds the node now."""
        held = self._nodes.get(node)
        return held.front if held and held.state.attached else None

    def last_front(self, node: NodeName) -> FrontName:
        """That holds a node that was seen, or held it last."""
        return self._nodes[node].front

    def fronts(self, now_s: float) -> list[FrontView]:
        return [
            FrontView(
                name,
                f.hello.region,
                f.hello.gateway_address,
                f.hello.software.version,
                f.attached,
                now_s - f.changed_s,
            )
            for name, f in sorted(self._fronts.items())
        ]


def _copy(leg: link_pb2.LegEstimate) -> link_pb2.LegEstimate:
    """A part of a message keeps all of it in memory: here a front's whole report, for as long as a leg is not new."""
    own = link_pb2.LegEstimate()
    own.CopyFrom(leg)
    return own


def _rank(state: link_pb2.NodeState) -> tuple[int, bool]:
    return state.hello.epoch, state.attached


def _seen_replica(state: link_pb2.ReplicaState) -> SeenReplica:
    phase = _PHASES.get(state.phase, ReplicaPhase.UNKNOWN)
    name = ReplicaId(state.replica)
    return SeenReplica(name, state.incarnation, phase, state.reason, restarts=state.restarts)


def _seen_cloud(report: link_pb2.ReplicaReport) -> SeenCloudReplica:
    phase = _PHASES.get(report.phase, ReplicaPhase.UNKNOWN)
    return SeenCloudReplica(
        seen=SeenReplica(ReplicaId(report.replica), report.incarnation, phase, report.reason, report.address),
        site=SiteName(report.region),
        service=ServiceRef(report.namespace, report.service),
        version=VersionRef(report.namespace, report.version),
        digest=report.digest,
    )
