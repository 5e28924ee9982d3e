"""What fronts, nodes and cloud replicas reported. In memory only: they report all of it again when they dial anew.

What nobody can have measured or counted is refused here, counted and shown: it never reaches the planner.
"""

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace

from orchestrator.control.refusals import Refusals, Refused
from orchestrator.control.reported_demand import ReportedDemand
from orchestrator.control.reported_legs import Reported, legs_of, objection
from orchestrator.control.reported_resources import ReportedResources
from orchestrator.model.ids import FrontName, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.legs import Leg
from orchestrator.model.phases import NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.reconcile.brake import RETURN_S
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
    measured_s: float  # when its legs last were others: a front repeats the last it has
    seen: SeenNode  # as of an attached one; made once for each report, and looked at by every step of the loops

    @property
    def hold_s(self) -> float:
        """What its legs are old at most while nothing else is heard of them; infinity: nobody promised."""
        return self.state.report.legs_hold_ms / 1000 or math.inf


@dataclass(slots=True)
class _Front:
    hello: link_pb2.FrontHello
    attached: bool
    changed_s: float
    session: int
    heard_s: float  # up to when it is known what it held
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
    _returned: dict[NodeName, tuple[float, float]] = field(default_factory=dict)  # silent since, and back when
    refusals: Refusals = field(default_factory=Refusals)
    demand: ReportedDemand = field(init=False)
    resources: ReportedResources = field(init=False)

    def __post_init__(self) -> None:
        self.demand = ReportedDemand(self.refusals, self._counts_on)
        self.resources = ReportedResources(self.refusals)

    # ---- what links report

    def front_attached(self, hello: link_pb2.FrontHello, now_s: float) -> int:
        """A number that names this attachment: an older stream of the same front may end after the new one began."""
        name = FrontName(hello.front)
        before = self._fronts.get(name)
        session, heard_s = (before.session + 1, before.heard_s) if before else (1, now_s)
        self.demand.front_attached(name)
        self._fronts[name] = _Front(_hello_of(hello), True, now_s, session, heard_s)
        return session

    def front_detached(self, name: FrontName, session: int, now_s: float) -> None:
        """Its nodes are silent to us from now on; it may well serve them."""
        front = self._fronts.get(name)
        if front and front.session == session:
            front.attached, front.changed_s, front.heard_s = False, now_s, now_s

    def front_reported(self, name: FrontName, report: link_pb2.FrontReport, now_s: float) -> bool:
        """Whether other nodes are held by this front now. A report is whole, or of what changed."""
        held = False
        for state in report.nodes:
            held |= self._node_of(name, state, now_s)
        if report.delta:
            self._forget(name, report.forgotten)
        else:
            held |= self._detach_unlisted(name, {NodeName(state.hello.node) for state in report.nodes})
        for leg in report.legs:
            if self._accepts(leg, f"front/{name}", now_s):
                self._fronts[name].legs[leg.source, leg.target] = (_copy(leg), now_s)
        self._fronts[name].heard_s = now_s
        self.demand.front_reported(name, report, now_s)
        return held

    def _node_of(self, front: FrontName, state: link_pb2.NodeState, now_s: float) -> bool:
        """Whether it has another holder now."""
        node = NodeName(state.hello.node)
        held = self._nodes.get(node)
        # Two fronts may both know a node that moved: the newer boot counts, then whoever holds it now.
        if held is not None and held.front != front and _rank(state) < _rank(held.state):
            return False
        before = self.holder(node)
        if held is not None and state.attached and (silent_s := self._silent_s(held, now_s)) > 0:
            self._returned[node] = (now_s - silent_s, now_s)
        self._node_reported(node, state, front, now_s)
        return before != self.holder(node)

    def _node_reported(self, node: NodeName, state: link_pb2.NodeState, front: FrontName, now_s: float) -> None:
        kept = list(state.report.kept)
        state.report.ClearField("kept")
        held = self._nodes.get(node)
        if held is not None and _said(held.state) == _said(state):
            seen = held.seen if held.state.hello == state.hello else _seen_node(node, state)
            self._nodes[node] = _Node(state, front, now_s, held.legs, held.measured_s, seen)
            return
        legs, measured_s = self._legs_of(held, state, now_s)
        self._nodes[node] = _Node(state, front, now_s, legs, measured_s, _seen_node(node, state))
        self.demand.node_kept(node, state, kept, now_s)
        self.demand.node_reported(node, state, now_s)
        self.resources.node_reported(node, state, now_s)

    def _legs_of(
        self, held: _Node | None, state: link_pb2.NodeState, now_s: float
    ) -> tuple[tuple[link_pb2.LegEstimate, ...], float]:
        """The accepted ones, and when they were measured.

        A node that boots, or whose front did, has no samples yet. What was measured before counts on and ages on, or
        else its replicas would leave the site for a second.
        """
        source, legs = f"site/{state.hello.site}", state.report.legs
        if (
            held is not None
            and held.state.hello.site == state.hello.site
            and (not legs or held.state.report.legs == legs)
        ):
            return held.legs, self._measured_s(held, now_s)
        if len(legs) > MOST_LEGS:
            self.refusals.add("leg", f"{source} -> any", f"{len(legs)} legs, {MOST_LEGS} at most", now_s)
        accepted = tuple(_copy(leg) for leg in legs[:MOST_LEGS] if self._accepts(leg, source, now_s))
        return accepted, now_s - state.report_age_ms / 1000

    def _measured_s(self, node: _Node, now_s: float) -> float:
        """When its legs were measured last: they were again while it was heard, where it promised to say else."""
        return max(node.measured_s, now_s - self._silent_s(node, now_s) - node.hold_s)

    def _accepts(self, leg: link_pb2.LegEstimate, source: str, now_s: float) -> bool:
        reason = objection(leg, source)
        if reason is not None:
            self.refusals.add("leg", f"{source} -> {leg.target}", reason, now_s)
        return reason is None

    def _detach_unlisted(self, front: FrontName, listed: set[NodeName]) -> bool:
        """Of a whole report: what a front held before it was killed, it does not hold unless it says so.

        Silent they are since then, however long before that they last had something to say.
        """
        gone = [self._nodes[n] for n in self._nodes if n not in listed and self.holder(n) == front]
        for held in gone:
            held.state.attached, held.state.silent_ms = False, 0
            held.received_s = self._fronts[front].heard_s
        return bool(gone)

    def _forget(self, front: FrontName, nodes: Iterable[str]) -> None:
        """Silent for longer than any policy waits, says the front that held them last."""
        for name in nodes:
            held = self._nodes.get(NodeName(name))
            if held is not None and held.front == front and not held.state.attached:
                del self._nodes[NodeName(name)]

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
        witnessed = all(front.attached for front in self._fronts.values())
        nodes = {name: self._seen_node(node, now_s, witnessed) for name, node in self._nodes.items()}
        self._returned = {n: times for n, times in self._returned.items() if now_s - times[1] <= RETURN_S}
        for name, (silent_since_s, _) in self._returned.items():
            if name in nodes and nodes[name].silent_s == 0:
                nodes[name] = replace(nodes[name], away_s=now_s - silent_since_s)
        return Observed(
            nodes=nodes,
            cloud={name: _seen_cloud(report) for name, report in self._cloud.items()},
        )

    def _seen_node(self, node: _Node, now_s: float, witnessed: bool) -> SeenNode:
        silent_s = self._silent_s(node, now_s)
        if silent_s == 0 and witnessed:
            return node.seen
        phase = NodePhase.UNKNOWN if silent_s > 0 else NodePhase.ATTACHED
        return replace(node.seen, phase=phase, silent_s=silent_s, witnessed=witnessed)

    def _silent_s(self, node: _Node, now_s: float) -> float:
        """0 while its front holds it. A front that is gone says nothing of its nodes."""
        if not node.state.attached:
            return max(node.state.silent_ms / 1000 + now_s - node.received_s, LEAST_S)
        front = self._fronts.get(node.front)
        if front is not None and front.attached:
            return 0.0
        return max(now_s - (front.changed_s if front else node.received_s), LEAST_S)

    def legs(self, now_s: float) -> list[Leg]:
        """Of nodes and fronts. A silent node's legs stop ageing: whether to wait for it is the policy's decision."""
        found: dict[tuple[str, str], list[Reported]] = {}
        for node in self._nodes.values():
            silent_s = self._silent_s(node, now_s)
            elapsed_s = max(0.0, now_s - silent_s - self._measured_s(node, now_s))
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

    def _counts_on(self, node: NodeName) -> bool:
        """Is it attached, and would it say if it had counted more?"""
        held = self._nodes.get(node)
        front = self._fronts.get(held.front) if held and held.state.attached else None
        return bool(held and front and front.attached and "deltas" in held.state.hello.software.capabilities)

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


def _said(state: link_pb2.NodeState) -> tuple[str, int, link_pb2.NodeReport]:
    return state.hello.site, state.hello.epoch, state.report


def _hello_of(hello: link_pb2.FrontHello) -> link_pb2.FrontHello:
    """A copy: it came with all nodes of the front."""
    own = link_pb2.FrontHello()
    own.CopyFrom(hello)
    return own


def _rank(state: link_pb2.NodeState) -> tuple[int, bool]:
    return state.hello.epoch, state.attached


def _seen_node(name: NodeName, state: link_pb2.NodeState) -> SeenNode:
    hello, report = state.hello, state.report
    return SeenNode(
        node=name,
        site=SiteName(hello.site),
        phase=NodePhase.ATTACHED,
        silent_s=0.0,
        capacity=Resources(hello.memory_bytes, hello.compute_millis),
        lan_address=hello.lan_address,
        held_revision=report.held_revision,
        replicas={ReplicaId(r.replica): _seen_replica(r) for r in report.replicas},
        peer_address=hello.peer_address,
    )


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
