"""A fleet on paper whose links queue under our own calls, driven by the real planner, damping, diff and routes.

Each link is an M/M/1 queue of messages: its round trips are its distance, the queue that the shares of the moment make,
and what a test adds. The planner sees what probes would: percentiles, a few seconds late. No clock but its own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count, pairwise

from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId, ReplicaId, ServiceRef, SiteName, ZoneName
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.legs import Leg
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.snapshot import Decision
from orchestrator.model.specs import PolicySpec, ServiceSpec
from orchestrator.placement.deciding import decide
from orchestrator.reconcile.causes import plan_key
from orchestrator.reconcile.damping import Watch, Watches, admit, made, watched
from orchestrator.reconcile.flapping import places
from orchestrator.reconcile.needs import forbidden
from orchestrator.reconcile.observed import Observed, SeenNode, SeenReplica
from orchestrator.reconcile.replicas import diff
from orchestrator.reconcile.routes import ServiceRoutes, service_routes, serving_replicas
from orchestrator.reconcile.sharing import held_shares, step_service
from orchestrator.reconcile.wants import wants
from tests.placement.worlds import POLICY, SETTINGS, edge, relay_leg, service, snapshot

TICK_S = 1.0
START_S = 4.0  # of a replica
SAMPLES_S = 4.0  # until a window follows a leg that changed
RATE_RPS, CALL_BYTES = 1_000.0, 4_000
FULLEST = 0.97  # of a link: beyond it there is no steady state to compute
NO_LIMIT = replace(POLICY, latency_p99_ms=None)
CALLERS = ZoneName("callers")
SERVICE = ServiceRef("default", "digits")


@lru_cache(4096)
def cached_decision(inputs: DecisionInputs) -> Decision:
    """The same question again has the same answer; a link at rest asks it for an hour."""
    return decide(inputs)


@dataclass(frozen=True)
class Link:
    """One site's way to the front. Bits per second are the same both ways."""

    distance_ms: float
    bps: float = 40e6

    def waiting_ms(self, quantile: float, call_rps: float) -> float:
        """In an M/M/1 queue P(waiting > t) = rho exp(-mu (1 - rho) t)."""
        messages_rps = self.bps / (8 * CALL_BYTES)
        rho = min(call_rps / messages_rps, FULLEST)
        over = rho / (1 - quantile)
        return 1000 * math.log(over) / (messages_rps * (1 - rho)) if over > 1 else 0.0


@dataclass
class SimulatedFleet:
    links: Mapping[str, Link]
    policy: PolicySpec = NO_LIMIT
    damped: bool = True
    slower_ms: Callable[[str, float], float] = lambda site, now_s: 0.0  # what a test adds to a link
    now_s: float = 0.0
    claims: dict[ReplicaId, Claim] = field(default_factory=dict)
    running: Decision | None = None
    watches: Watches = field(default_factory=dict)
    routes: list[ServiceRoutes] = field(default_factory=list)
    moves_s: list[float] = field(default_factory=list)  # decisions that took or left a site, or moved calls
    shares: list[tuple[float, dict[SiteName, float]]] = field(default_factory=list)  # of each tick
    flapping_s: list[float] = field(default_factory=list)  # ticks at which it was shown as such
    broken_s: float = 0.0  # the longest time for which what was in force broke a limit
    _broken_since_s: float | None = None
    seen_ms: dict[tuple[str, float], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sites = {SiteName(name): edge(name) for name in self.links}
        self.ids = (str(number) for number in count())

    # ---- what the links do

    def share_of(self, site: str) -> float:
        return self.shares[-1][1].get(SiteName(site), 0.0) if self.shares else 0.0

    def rtt_ms(self, site: str, quantile: float) -> float:
        link, call_rps = self.links[site], RATE_RPS * self.share_of(site)
        return link.distance_ms + link.waiting_ms(quantile, call_rps) + self.slower_ms(site, self.now_s)

    def _measured_ms(self, site: str, quantile: float) -> float:
        now_ms = self.rtt_ms(site, quantile)
        before_ms = self.seen_ms.get((site, quantile), now_ms)
        part = min(TICK_S / SAMPLES_S, 1.0)
        after_ms = before_ms + part * (now_ms - before_ms)
        self.seen_ms[site, quantile] = after_ms if abs(after_ms - now_ms) > 0.1 else now_ms
        return self.seen_ms[site, quantile]

    def _leg(self, site: str) -> Leg:
        p05, p50, p99 = (self._measured_ms(site, quantile) for quantile in (0.05, 0.5, 0.99))
        bps = self.links[site].bps
        leg = relay_leg(site, max(p99, p50), rtt_p50_ms=p50, rtt_p05_ms=p05, up_bps=bps, down_bps=bps)
        return replace(leg, rtt_p99_low_ms=p99, rtt_p99_high_ms=p99)

    # ---- what the loop does

    def tick(self) -> None:
        self.now_s += TICK_S
        wanted = service(
            self.policy, rate_rps=RATE_RPS, request_bytes=CALL_BYTES, response_bytes=CALL_BYTES // 4, name="digits"
        )
        legs = [self._leg(site) for site in sorted(self.links)]
        view = snapshot(list(self.sites.values()), legs, [wanted], list(self.claims.values()))
        inputs = DecisionInputs(view, SETTINGS, 0, "simulated")
        proposed = cached_decision(inputs)
        self._adopt(inputs, proposed, wanted)
        self._carry_out(proposed, wanted)

    def _adopt(self, inputs: DecisionInputs, proposed: Decision, wanted: ServiceSpec) -> None:
        if self.running is None:
            self.running = proposed
            return
        after: Decision | None = None
        if not self.damped:
            after = proposed if plan_key(proposed) != plan_key(self.running) else None
        else:
            asked = {wanted.ref: wanted.policy}
            self.watches = watched(self.watches, self.running, proposed, asked, (), self.now_s)
            self.watches, admitted = admit(self.watches, inputs, proposed, self.running, cached_decision, self.now_s)
            if admitted is not None:
                after = admitted.decision
                self.watches = made(self.watches, self.running, after, self.now_s)
        if after is not None:
            if places(after.services[0]) != places(self.running.services[0]):
                self.moves_s.append(self.now_s)
            self.running = after

    def _carry_out(self, proposed: Decision, wanted: ServiceSpec) -> None:
        assert self.running is not None
        self._watch_limits(proposed)
        (decided,), observed = self.running.services, self._observed()
        claims = list(self.claims.values())
        held = held_shares(self.routes).get(SERVICE, {}) if self.damped else {}
        step = step_service(decided, proposed.services[0], serving_replicas(decided, claims, observed), held, TICK_S)
        changed = diff(
            wants(self.running, [wanted], claims, self.sites),
            claims,
            observed,
            self.sites,
            decision=DecisionId("d"),
            epoch=1,
            now_s=self.now_s,
            ids=self.ids,
            lost_after_s={SERVICE: 60.0},
            leaving={SERVICE: step.leaving},
        )
        for claim in changed:
            self.claims[claim.id] = claim
        self.claims = {c.id: c for c in self.claims.values() if c.phase is not ClaimPhase.RELEASED}
        self.routes = [service_routes(decided, DecisionId("d"), list(self.claims.values()), observed, step.zones)]
        self.shares.append((self.now_s, held_shares(self.routes)[SERVICE].get(CALLERS, {})))
        if self.watches.get(SERVICE, Watch()).swings.held:
            self.flapping_s.append(self.now_s)

    def _watch_limits(self, proposed: Decision) -> None:
        """A limit that another site would keep, and that what is in force breaks."""
        assert self.running is not None
        (running,), (now,) = self.running.services, proposed.services
        in_use = {(s.zone, s.site) for s in running.shares if s.share > 0} if not now.unserved else set()
        if not in_use & forbidden(now):
            self._broken_since_s = None
            return
        self._broken_since_s = self.now_s if self._broken_since_s is None else self._broken_since_s
        self.broken_s = max(self.broken_s, self.now_s - self._broken_since_s)

    def _observed(self) -> Observed:
        nodes = {}
        for site in self.sites.values():
            node = site.nodes[0]
            replicas = {
                c.id: SeenReplica(c.id, "i", self._phase(c)) for c in self.claims.values() if c.node == node.name
            }
            nodes[node.name] = SeenNode(node.name, site.name, NodePhase.ATTACHED, 0.0, node.capacity, "", 1, replicas)
        return Observed(nodes, {})

    def _phase(self, claim: Claim) -> ReplicaPhase:
        if claim.phase is ClaimPhase.DRAINING:
            return ReplicaPhase.STOPPED
        started = claim.phase is ClaimPhase.BOUND or self.now_s - claim.since_s >= START_S
        return ReplicaPhase.READY if started else ReplicaPhase.STARTING

    # ---- what a test asks

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.tick()

    def largest_change(self, since_s: float) -> float:
        """Of any site's share within a tick, from then on."""
        recent = [shares for at_s, shares in self.shares if at_s >= since_s]
        return max(
            (
                abs(after.get(site, 0.0) - before.get(site, 0.0))
                for before, after in pairwise(recent)
                for site in before.keys() | after.keys()
            ),
            default=0.0,
        )

    def moves_within(self, since_s: float, until_s: float) -> int:
        return sum(since_s <= at_s < until_s for at_s in self.moves_s)
