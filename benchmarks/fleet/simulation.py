"""A fleet's signs of life on a fake clock and a fake network, from one seed, through the real parts that judge them.

Real: the fronts' `Nodes` and `Admission`, agents' `Backoff`, the control plane's `Observations`, the brake. Fake: time
(steps of a tenth of a second), what a network carries, and a front that dies and comes back empty. Judged at each look:
nobody is lost who was heard of within `lost_after_s`; nobody is unknown whose messages all came; whoever falls silent
with much of its failure domain is never lost. Once all is healed, all are back within a minute.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from orchestrator.control.observations import Observations
from orchestrator.errors import EdgeUnreachable
from orchestrator.front.admission import Admission
from orchestrator.front.nodes import SILENT_BEATS, Nodes, Session
from orchestrator.model.ids import FrontName, NodeName
from orchestrator.reconcile.brake import Heard, braked, outages
from protos.link.v1 import link_pb2
from workers.edge.channels import Backoff

STEP_S = 0.1
BEAT_S = 10.0
SWEEP_S = 2.5
UPLINK_S = 0.5
NOTICE_S = 10.0  # an unacknowledged write ends a connection
LOST_AFTER_S = 120.0
BRAKE_SHARE = 0.3
DOMAIN_NODES = 500
PER_FRONT = 10_000
BACK_WITHIN_S = 60.0
ALONE_S = 30.0


class Broken(AssertionError):
    """An invariant that did not hold; the seed makes it again."""


@dataclass(slots=True)
class SimulatedNode:
    number: int
    name: NodeName
    front: int
    backoff: Backoff
    session: Session | None = None
    cuts: int = 0  # faults that keep it from its front
    delivered_s: float = 0.0  # its last message that a living front took
    many: bool = False  # its domain was cut as a whole


@dataclass(frozen=True, slots=True)
class Fault:
    at_s: float
    until_s: float
    what: str  # "node", "domain", "front"
    which: int


@dataclass
class Looked:
    """What the run has shown, beside that nothing broke."""

    beats: int = 0
    attaches: int = 0
    told_to_wait: int = 0
    most_unknown: int = 0
    lost: int = 0
    held_back: int = 0
    back_s: float = 0.0


@dataclass
class SimulatedFleet:
    count: int
    seed: int
    quiet_s: float = 180.0  # after the last fault
    faults_s: float = 600.0
    now_s: float = 0.0
    looked: Looked = field(default_factory=Looked)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.fronts = [self._front() for _ in range(-(-self.count // PER_FRONT))]
        self.alive = [True] * len(self.fronts)
        self.admissions = [Admission() for _ in self.fronts]
        self.control, self.streams = Observations(), dict.fromkeys(range(len(self.fronts)), 0)
        for number in range(len(self.fronts)):
            self._front_dials(number)
        self.nodes = [
            SimulatedNode(n, NodeName(f"node-{n}"), n // PER_FRONT, Backoff(self.chance)) for n in range(self.count)
        ]
        self.due: dict[int, list[SimulatedNode]] = {}
        for node in self.nodes:
            self._later(node, self.chance.uniform(0.0, 5.0))
        self.faults = self._faults()

    def run(self) -> Looked:
        """Raises Broken, whose message has the seed."""
        starts = sorted(self.faults, key=lambda fault: fault.at_s)
        ends = sorted(self.faults, key=lambda fault: fault.until_s)
        healed_s = ends[-1].until_s if ends else 0.0
        end_step = round((healed_s + self.quiet_s) / STEP_S)
        for step in range(end_step):
            self.now_s = step * STEP_S
            while starts and starts[0].at_s <= self.now_s:
                self._begin(starts.pop(0))
            while ends and ends[0].until_s <= self.now_s:
                self._heal(ends.pop(0))
            for node in self.due.pop(step, ()):
                self._turn(node)
            self._parts(step)
            if self.now_s > healed_s and not self.looked.back_s and self._all_back():
                self.looked.back_s = self.now_s - healed_s
        if not 0 < self.looked.back_s <= BACK_WITHIN_S:
            self._broken(f"not all are back {BACK_WITHIN_S:.0f} s after the last heal: {self.looked}")
        return self.looked

    # ---- nodes

    def _turn(self, node: SimulatedNode) -> None:
        """A beat, a dial, or the notice that a connection is dead."""
        session, reachable = node.session, self.alive[node.front] and not node.cuts
        if session is None:
            self._dial(node, reachable)
        elif not reachable or session.ended is not None:
            # A connection that a front has ended is reset at the next write; a silent one only after a while.
            node.session = None
            self._later(node, node.backoff.next_s() + (0.0 if reachable else NOTICE_S))
        else:
            self.fronts[node.front].heard(session, self.now_s)
            node.delivered_s = self.now_s
            self.looked.beats += 1
            self._later(node, BEAT_S * self.chance.uniform(0.9, 1.0))

    def _dial(self, node: SimulatedNode, reachable: bool) -> None:
        if not reachable:
            self._later(node, node.backoff.next_s())
            return
        if wait_s := self.admissions[node.front].wait_s(self.now_s):
            self.looked.told_to_wait += 1
            self._later(node, wait_s * self.chance.uniform(1.0, 1.1))
            return
        front = self.fronts[node.front]
        hello = link_pb2.NodeHello(node=node.name, site=f"site-{self._domain(node)}", epoch=1)
        node.session = front.attach(hello, self.now_s)
        front.reported(node.session, link_pb2.NodeReport(number=1, held_revision=1), self.now_s)
        node.delivered_s, node.many = self.now_s, False
        node.backoff.reset()
        self.looked.attaches += 1
        self._later(node, BEAT_S * self.chance.uniform(0.9, 1.0))

    def _later(self, node: SimulatedNode, wait_s: float) -> None:
        step = round((self.now_s + wait_s) / STEP_S)
        self.due.setdefault(max(step, round(self.now_s / STEP_S) + 1), []).append(node)

    def _domain(self, node: SimulatedNode) -> int:
        return node.number // DOMAIN_NODES

    # ---- fronts and the control plane

    def _front(self) -> Nodes:
        return Nodes(lambda: None, round(BEAT_S * 1000))

    def _front_dials(self, number: int) -> None:
        hello = link_pb2.FrontHello(front=f"front-{number}", region="r")
        self.streams[number] = self.control.front_attached(hello, self.now_s)
        whole = link_pb2.FrontReport(nodes=self.fronts[number].states(self.now_s))
        self.control.front_reported(FrontName(hello.front), whole, self.now_s)

    def _parts(self, step: int) -> None:
        living = [number for number in range(len(self.fronts)) if self.alive[number]]
        if step % round(SWEEP_S / STEP_S) == 0:
            for number in living:
                self.fronts[number].sweep(self.now_s)
        if step % round(UPLINK_S / STEP_S) == 0:
            for number in living:
                nodes, forgotten = self.fronts[number].changes(self.now_s)
                report = link_pb2.FrontReport(delta=True, nodes=nodes, forgotten=forgotten)
                self.control.front_reported(FrontName(f"front-{number}"), report, self.now_s)
        if step % round(BEAT_S / STEP_S) == 0 and self.now_s > BACK_WITHIN_S:
            self._look()

    def _look(self) -> None:
        seen = self.control.observed(self.now_s).nodes
        if len(seen) != self.count:
            self._broken(f"{len(seen)} of {self.count} nodes are known")
        unknown = {name: each.silent_s for name, each in seen.items() if each.silent_s > 0}
        if not unknown:
            return
        found = outages(Heard(name, each.site, each.silent_s, each.away_s) for name, each in seen.items())
        held_back = braked(found, BRAKE_SHARE)
        lost = {name for name, silent_s in unknown.items() if silent_s > LOST_AFTER_S and name not in held_back}
        self.looked.most_unknown = max(self.looked.most_unknown, len(unknown))
        self.looked.lost = max(self.looked.lost, len(lost))
        self.looked.held_back = max(self.looked.held_back, len(held_back))
        for node in self.nodes:
            self._judge(node, unknown, lost)

    def _judge(self, node: SimulatedNode, unknown: dict[NodeName, float], lost: set[NodeName]) -> None:
        silent_s, name = self.now_s - node.delivered_s, node.name
        if name in lost and (silent_s <= LOST_AFTER_S or node.many):
            self._broken(f"{name} is lost after {silent_s:.1f} s{', in a mass outage' if node.many else ''}")
        if name in unknown:
            if unknown[name] > silent_s + UPLINK_S:
                self._broken(f"{name} is taken for silent for {unknown[name]:.1f} s and is for {silent_s:.1f} s")
            attached = node.session is not None and node.session.ended is None and self.alive[node.front]
            if attached and not node.cuts and silent_s > UPLINK_S:
                self._broken(f"{name} beats and is taken for silent")
        elif silent_s > SILENT_BEATS * BEAT_S + SWEEP_S + UPLINK_S + STEP_S:
            self._broken(f"{name} is taken for attached, silent for {silent_s:.1f} s")

    def _all_back(self) -> bool:
        return all(each.silent_s == 0 for each in self.control.observed(self.now_s).nodes.values())

    # ---- faults

    def _faults(self) -> list[Fault]:
        """Some nodes each, whole domains, and fronts; the last are all healed by `faults_s` and a patience more."""
        return sorted(self._drawn(), key=lambda fault: fault.at_s)

    def _drawn(self) -> Iterator[Fault]:
        domains = -(-self.count // DOMAIN_NODES)
        for what, most, times in (
            ("node", self.count, max(3, self.count // 200)),
            ("domain", domains, max(1, domains // 10)),
            ("front", len(self.fronts), max(1, len(self.fronts) // 4)),
        ):
            taken: set[int] = set()
            for _ in range(times):
                at_s = BACK_WITHIN_S + self.chance.uniform(0, self.faults_s)
                lasting_s = self.chance.choice((1.0, 15.0, 45.0, 100.0, 300.0)) if what != "front" else 8.0
                if (which := self.chance.randrange(most)) not in taken:
                    taken.add(which)
                    yield Fault(at_s, at_s + lasting_s, what, which)

    def _begin(self, fault: Fault) -> None:
        for node in self._struck(fault):
            # Who had been gone for long before is none of this outage, and its policy's wait may well end.
            node.many = fault.what == "domain" and self.now_s - node.delivered_s < ALONE_S
            node.cuts += 1
        if fault.what == "front":
            self.alive[fault.which] = False
            self.control.front_detached(FrontName(f"front-{fault.which}"), self.streams[fault.which], self.now_s)

    def _heal(self, fault: Fault) -> None:
        for node in self._struck(fault):
            node.cuts -= 1
            node.many &= node.cuts == 0  # another fault of its own goes on
        if fault.what == "front":
            self.fronts[fault.which], self.alive[fault.which] = self._front(), True
            self.admissions[fault.which] = Admission()
            for node in self.nodes:
                if node.front == fault.which and node.session is not None:
                    node.session.end(EdgeUnreachable("the front died"))
            self._front_dials(fault.which)

    def _struck(self, fault: Fault) -> list[SimulatedNode]:
        if fault.what == "node":
            return [self.nodes[fault.which]]
        if fault.what == "domain":
            return self.nodes[fault.which * DOMAIN_NODES : (fault.which + 1) * DOMAIN_NODES]
        return []

    def _broken(self, what: str) -> NoReturn:
        raise Broken(f"seed {self.seed}, {self.count} nodes, at {self.now_s:.1f} s: {what}")
