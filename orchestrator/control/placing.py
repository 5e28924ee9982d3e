"""The placement loop: snapshot, decide, settle, commit, act. A tick looks at all there is, a lost event costs one."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from orchestrator.clock import Clock
from orchestrator.control.board import Board, Published
from orchestrator.control.codec import decision_from, planner_version, stored_decision
from orchestrator.control.damper import Damper
from orchestrator.control.full_plans import FullPlans
from orchestrator.control.losses import all_lost
from orchestrator.control.nodes import node_statuses
from orchestrator.control.observations import Observations
from orchestrator.control.promises import kept_promises, promises_in
from orchestrator.control.publishing import NodeState, assignment, assignment_spec, route_table
from orchestrator.control.region import RegionKeeper
from orchestrator.control.rollouts import Stepped, step_rollouts, versions_by_site
from orchestrator.control.seams import Cloud, Papers, Store
from orchestrator.control.snapshots import Taken, take_snapshot
from orchestrator.control.statuses import problem_statuses, service_statuses, version_failures
from orchestrator.control.world import ASSIGNMENT, REVOCATION, World, read_world
from orchestrator.errors import Conflict, Damaged
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, NodeName, ReplicaId, ServiceRef, VersionRef
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.running import CloudReplicas
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, Snapshot
from orchestrator.model.stored import Batch, Key, Lease, Owner, Put, StoredDecision
from orchestrator.placement.deciding import Decided, decide, decided
from orchestrator.reconcile.assignments import assignments
from orchestrator.reconcile.causes import told_changes
from orchestrator.reconcile.cloud import cloud_replicas
from orchestrator.reconcile.draining import staying
from orchestrator.reconcile.observed import Observed
from orchestrator.reconcile.peers import peers
from orchestrator.reconcile.replicas import diff
from orchestrator.reconcile.returning import lost_sites
from orchestrator.reconcile.routes import ServiceRoutes, service_routes
from orchestrator.reconcile.staging import Counted, staged
from orchestrator.reconcile.wants import wants

log = logging.getLogger(__name__)

SEED = 0
# A restarted judge waits for the fronts to report before it calls any node silent.
GRACE_S = 10.0
# Cloud replicas that live dial again within a second; those that died with their Ray are started anew after it.
CLOUD_GRACE_S = 3.0


@dataclass(slots=True)
class Current:
    """The decision in force, and what it was made of."""

    id: DecisionId
    decision: Decision
    made_s: float
    changes: tuple[str, ...] = ()


@dataclass(slots=True)
class Judgement:
    """What the last tick saw, for `explain`: fresher measurements than those of the decision in force."""

    snapshot: Snapshot
    decision: Decision
    at_s: float
    settings: PlacementSettings
    took_s: float  # to plan all
    planned_s: float  # when what services that nothing touched since go on from was looked at


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be decided of a world, and `based`: the plan of all that it goes on from, if it does."""

    taken: Taken
    inputs: DecisionInputs
    decided: Decided
    based: Decision | None
    stays: Mapping[ServiceRef, str]  # services that cannot leave a draining node, and why

    @property
    def decision(self) -> Decision:
        return self.decided.decision


class PlacementLoop:
    """Runs under the leader's epoch; everything it knows is read anew at each tick."""

    def __init__(
        self,
        store: Store,
        cloud: Cloud,
        observations: Observations,
        board: Board,
        clock: Clock,
        region: str,
        ids: Iterator[str],
        full_plans: FullPlans,
        papers: Papers,
    ) -> None:
        self._store, self._observations, self._papers = store, observations, papers
        self._board, self._clock, self._region, self._ids = board, clock, region, ids
        self._settings = PlacementSettings()
        self._epoch = 0
        self._since_s = 0.0
        self._routes_key: object = None
        self._routes_count = 0
        self.damper = Damper()
        self.full_plans = full_plans
        self.region = RegionKeeper(cloud)
        self.current: Current | None = None
        self.judgement: Judgement | None = None
        self.stays: Mapping[ServiceRef, str] = {}  # what the last tick found cannot leave a draining node, and why
        self.stepped = Stepped()  # the rollouts as the last tick wrote them
        self.unreadable: Mapping[Key, str] = {}  # objects that the last tick left out, and why

    async def tick(self, lease: Lease) -> None:
        """One round. Raises Unavailable when the store does not answer; a stale write is left to the next tick."""
        now_s = self._clock.now_s()
        if lease.epoch != self._epoch:
            await self._begin(lease, now_s)
        world = await asyncio.to_thread(read_world, self._store)
        self._tell_unreadable(world.unreadable)
        observed = self._observations.observed(now_s)
        if _unreported(world, observed, now_s - self._since_s):
            return
        proposal = await self.propose(world, observed, now_s)
        taken, decision = proposal.taken, proposal.decision
        self.full_plans.made(proposal.inputs, proposal.decided, now_s)
        judged = tuple(s for s in decision.services if s.service not in taken.problems)
        seen, base = replace(decision, services=judged), self.full_plans.base
        took_s, planned_s = (base.took_s, base.taken_s) if base else (self._clock.now_s() - now_s, now_s)
        self.judgement = Judgement(taken.snapshot, seen, now_s, self._settings, took_s, planned_s)
        self.damper.brake(taken, world.claims, observed)
        self.stays = proposal.stays
        current, fresh = await self._adopt(proposal, lease, now_s)
        try:
            await self._commit(current, world, taken, observed, fresh, lease)
        except Conflict as err:
            # Somebody wrote first, or a claim no longer fits: look again with the next tick.
            log.warning("commit refused", extra={"reason": str(err), "epoch": lease.epoch})

    def _tell_unreadable(self, found: Mapping[Key, str]) -> None:
        """Once for each object and reason: a person must act, and ticks are many."""
        for key, reason in sorted(found.items()):
            if self.unreadable.get(key) != reason:
                log.error("object cannot be read and is left out", extra={"object": str(key), "reason": reason})
        self.unreadable = found

    async def propose(self, world: World, observed: Observed, now_s: float) -> Proposal:
        """What would be decided if `world` were what the store says; `plan` asks this too."""
        found = await self._proposed(world, observed, now_s, {})
        running = self.current.decision if self.current else None
        stays = staying(found.decision, running, found.taken.handed_over)
        return await self._proposed(world, observed, now_s, stays) if stays else found

    async def _proposed(
        self, world: World, observed: Observed, now_s: float, stays: Mapping[ServiceRef, str]
    ) -> Proposal:
        wall_s = self._clock.wall_s()
        taken = take_snapshot(world, self._observations, observed, self._region, now_s, self._since_s, wall_s, stays)
        base = self.full_plans.base_for(taken.snapshot)
        then, based = (base.snapshot, base.decision) if base else (None, None)
        inputs = DecisionInputs(taken.snapshot, self._settings, SEED, planner_version(), self._carried(taken), then)
        return Proposal(taken, inputs, await asyncio.to_thread(decided, inputs, based), based, stays)

    def told(self, service: ServiceRef, running: Decision) -> str:
        """Why the service is not as the last tick would have it, or as operators asked; "" where it is."""
        stays = self.stays.get(service)
        draining = f"it has replicas on a draining node, and nothing else can take them: {stays}" if stays else ""
        return "; ".join(filter(None, (self.damper.told(service, running), draining, self.stepped.held(service))))

    def too_early(self, world: World, observed: Observed, now_s: float) -> bool:
        """Whether it is too early to judge: the links have not said yet what runs."""
        return self._epoch == 0 or _unreported(world, observed, now_s - self._since_s)

    async def _begin(self, lease: Lease, now_s: float) -> None:
        """A new epoch: what was decided is read anew, what was observed is waited for."""
        self._epoch, self._since_s, self._routes_count, self._routes_key = lease.epoch, now_s, 0, None
        self.full_plans.end()
        await self.damper.begin(self._store, now_s, self._clock.wall_s())
        try:
            stored = await asyncio.to_thread(self._store.latest_decision)
            self.current = Current(stored.id, decision_from(stored.decision_json), now_s) if stored else None
        except Damaged as err:
            # What runs is in the claims: the first decision of this epoch finds it there.
            log.error("decision in force not readable, deciding anew", extra={"reason": str(err)})
            self.current = None

    async def _adopt(self, proposal: Proposal, lease: Lease, now_s: float) -> tuple[Current, StoredDecision | None]:
        """The decision to carry out now, and what to store of it if it is a new one."""
        running, inputs, decision = self.current, proposal.inputs, proposal.decision
        if running is not None:
            again = partial(decide, based=proposal.based)
            admitted = await self.damper.admit(proposal.taken, inputs, decision, running.decision, again, now_s)
            if admitted is None:
                return running, None
            inputs, decision = admitted.inputs, admitted.decision
        changes = told_changes(running.decision if running else None, decision)
        # A large fleet's inputs are megabytes of text.
        stored = await asyncio.to_thread(stored_decision, inputs, decision, changes, lease.epoch, self._clock.wall_s())
        return Current(stored.id, decision, now_s, changes), stored

    def _carried(self, taken: Taken) -> tuple[ServiceDecision, ...]:
        """The running part of each service that cannot be judged now: it goes on as it is."""
        if self.current is None:
            return ()
        return tuple(s for s in self.current.decision.services if s.service in taken.problems)

    async def _commit(
        self,
        current: Current,
        world: World,
        taken: Taken,
        observed: Observed,
        fresh: StoredDecision | None,
        lease: Lease,
    ) -> None:
        """Write claims, assignments, statuses and the decision together; only then is it in force and acted upon."""
        # Claims outlive the process, so their times are on the wall clock.
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        sites = {s.name: s for s in taken.snapshot.sites}
        judged = self.judgement.decision if self.judgement else current.decision
        stepped = self._step_rollouts(current.decision, world, taken, observed, now_s, wall_s)
        versions = versions_by_site(current.decision, stepped.rollouts, world.claims)
        steps = self.damper.steps(current.decision, judged, world.claims, observed, versions, now_s)
        single = frozenset(service for service, rules in taken.updates.items() if rules.single_writer)
        wanted = wants(current.decision, taken.snapshot.services, world.claims, sites)
        changed = diff(
            staged(wanted, versions, world.claims, taken.versions, sites),
            world.claims,
            observed,
            sites,
            decision=current.id,
            epoch=lease.epoch,
            now_s=wall_s,
            ids=self._ids,
            lost_after_s=taken.lost_after_s,
            paces=taken.paces,
            sizes=taken.artifact_sizes,
            braked=taken.braked,
            leaving={service: step.leaving for service, step in steps.items()},
            handed_over=taken.handed_over,
            updates=taken.updates,
            promised_s=promises_in(world, observed, single),
        )
        claims = _after(world.claims, changed)
        assigned = await self._assigned(world, taken, observed, claims, wall_s, single)
        routes = [
            service_routes(s, current.id, claims, observed, steps[s.service].zones, versions.get(s.service, {}))
            for s in current.decision.services
        ]
        above = {node: _above(node, world, observed) for node in assigned}
        puts = [
            _assignment_put(node, state, above[node], kept_promises(node, world, observed, single, state.replicas))
            for node, state in sorted(assigned.items())
        ]
        lost = lost_sites(all_lost(world), world.claims, changed, observed)
        holds = self.damper.holds()
        puts += service_statuses(current, routes, claims, observed, world, taken.problems, holds, stepped.told, lost)
        puts += problem_statuses(taken.problems, world)
        puts += version_failures(world, claims, observed, stepped.rollouts)
        puts += node_statuses(world, claims, observed, self.stays)
        written = await asyncio.to_thread(
            self._store.commit,
            Batch(
                writes=tuple(puts),
                claims=tuple(changed),
                capacities=taken.capacities,
                decision=fresh,
                epoch=lease.epoch,
            ),
        )
        revisions = {
            node: above[node] + o.revision
            for o in written
            for node in [NodeName(o.key.name)]
            if o.key.kind == ASSIGNMENT
        }
        if fresh is not None:
            if self.current is not None:
                self.damper.made(self.current.decision, current.decision, now_s)
            facts = {"decision": current.id, "epoch": lease.epoch, "changes": "; ".join(current.changes) or "none"}
            log.info("decision made", extra=facts)
        self.current = current
        await self._publish(lease, routes, assigned, revisions, taken, world)
        self.damper.published(routes, now_s)
        self.stepped = stepped
        cloud = cloud_replicas(claims, wall_s)
        self._observations.forget_failures({(ServiceRef(w.namespace, w.service), _version(w)) for w in cloud})
        self.region.bring_to(cloud, self._clock.now_s())

    def _step_rollouts(
        self, decision: Decision, world: World, taken: Taken, observed: Observed, now_s: float, wall_s: float
    ) -> Stepped:
        def counted(service: ServiceRef, since_wall_s: float) -> Counted:
            return self._observations.demand.outcomes(service, now_s - (wall_s - since_wall_s))

        snapshot = taken.snapshot
        return step_rollouts(decision, snapshot.services, snapshot.sites, world, observed, counted, wall_s)

    async def _assigned(
        self,
        world: World,
        taken: Taken,
        observed: Observed,
        claims: list[Claim],
        wall_s: float,
        single: frozenset[ServiceRef],
    ) -> dict[NodeName, NodeState]:
        """What each node should hold, and for those that hold something who gives it to them and who vouches for it."""
        sizes, valid_offline_s = taken.artifact_sizes, taken.valid_offline_s
        nodes, isolation = _nodes(world, observed), taken.isolation
        found = assignments(nodes, claims, sizes, valid_offline_s, wall_s, single, isolation, taken.paces)
        found = await self._papers.described(found)
        near, trust = peers(found, observed.nodes), self._papers.trust
        return {n: NodeState(replicas, near.get(n, ()), trust if replicas else None) for n, replicas in found.items()}

    async def _publish(
        self,
        lease: Lease,
        routes: list[ServiceRoutes],
        assigned: dict[NodeName, NodeState],
        revisions: dict[NodeName, int],
        taken: Taken,
        world: World,
    ) -> None:
        # Predictions move with every sample; they alone are no reason to send the table again.
        key = [_without_predictions(r) for r in routes]
        if key != self._routes_key:
            self._routes_key, self._routes_count = key, self._routes_count + 1
        before = self._board.published
        revision = lease.epoch << 32 | self._routes_count
        table = before.routes if before.routes.revision == revision else route_table(revision, routes)
        published = Published(
            epoch=lease.epoch,
            routes=table,
            assignments={n: assignment(revisions[n], state) for n, state in assigned.items()},
            sites=frozenset(taken.declared_sites),
            revoked=frozenset(one.key.name for one in world.of(REVOCATION)),
            fronts=self._observations.front_addresses()[0],
        )
        if published != before:
            await self._board.publish(published)


def _unreported(world: World, observed: Observed, watched_s: float) -> bool:
    """Whether to wait a little longer for the links to say what runs: at first nothing was reported yet."""
    held = [c for c in world.claims if isinstance(c.hold, ReplicaHold) and c.phase is ClaimPhase.BOUND]
    if watched_s < CLOUD_GRACE_S and len(observed.claims_served(held)) < sum(c.node is None for c in held):
        return True
    return watched_s < GRACE_S and any(c.node is not None and c.node not in observed.nodes for c in held)


def _version(wanted: CloudReplicas) -> VersionRef:
    return VersionRef(wanted.namespace, wanted.version)


def _after(claims: tuple[Claim, ...], changed: list[Claim]) -> list[Claim]:
    """The ledger as it will be once `changed` is written."""
    merged = {c.id: c for c in claims} | {c.id: c for c in changed}
    return [c for c in merged.values() if c.phase is not ClaimPhase.RELEASED]


def _nodes(world: World, observed: Observed) -> set[NodeName]:
    """All that were ever assigned anything, and all that are seen."""
    return {NodeName(o.key.name) for o in world.of(ASSIGNMENT)} | set(observed.nodes)


def _above(node: NodeName, world: World, observed: Observed) -> int:
    stored, seen = world.find(ASSIGNMENT, "", node), observed.nodes.get(node)
    before = int(str(stored.spec.get("above", 0))) if stored else 0
    given, held = before + (stored.revision if stored else 0), seen.held_revision if seen else 0
    if held <= given:
        return before
    log.warning(
        "a node holds a newer assignment than this store gave it: its revisions go on from there; if the store was not "
        "restored from an older copy, two control planes may order this node",
        extra={"node": node, "held_revision": held, "given_revision": given},
    )
    return held


def _assignment_put(node: NodeName, state: NodeState, above: int, promised_s: Mapping[ReplicaId, float]) -> Put:
    return Put(Key(ASSIGNMENT, "", node), Owner.CONTROL, None, spec=assignment_spec(state, above, promised_s))


def _without_predictions(routes: ServiceRoutes) -> ServiceRoutes:
    zones = {zone: tuple(replace(r, predicted_ms=0.0) for r in found) for zone, found in routes.zones.items()}
    return replace(routes, zones=zones)
