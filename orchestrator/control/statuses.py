"""What operators read in `status`: written only when it changes."""

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

from orchestrator.control.losses import lost_json
from orchestrator.control.rollouts import RolloutStatus, rollout_json
from orchestrator.control.world import World
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ReplicaPhase
from orchestrator.model.snapshot import Decision, ServiceDecision
from orchestrator.model.stored import Json, Key, Put, StoredObject
from orchestrator.reconcile.observed import Observed, SeenReplica
from orchestrator.reconcile.replicas import replica_phases
from orchestrator.reconcile.rollouts import Rollout, RolloutPhase
from orchestrator.reconcile.routes import ServiceRoutes

CRASHES = 3  # in a row, of a replica's own process: then it is the model and not the moment


class DecisionInForce(Protocol):
    @property
    def id(self) -> DecisionId: ...
    @property
    def decision(self) -> Decision: ...
    @property
    def changes(self) -> tuple[str, ...]: ...


class Hold(Protocol):
    """Why a service stays as it is, for longer than a change takes to settle."""

    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...


def condition(type: str, status: bool, reason: str, message: str) -> Json:
    return {"type": type, "status": "True" if status else "False", "reason": reason, "message": message}


def service_statuses(
    current: DecisionInForce,
    routes: Sequence[ServiceRoutes],
    claims: Sequence[Claim],
    observed: Observed,
    world: World,
    problems: Container[ServiceRef],
    holds: Mapping[ServiceRef, Hold],
    rollouts: Mapping[ServiceRef, RolloutStatus],
    lost: Mapping[ServiceRef, frozenset[SiteName]],
) -> list[Put]:
    """The status of each service that can be judged; the store leaves an unchanged one alone."""
    puts: list[Put] = []
    for decided, service in zip(current.decision.services, routes, strict=True):
        key = Key("ModelService", decided.service.namespace, decided.service.name)
        stored = world.objects.get("ModelService", {}).get(key)
        if stored is not None and decided.service not in problems:
            status = _service_status(current, decided, service, claims, observed, stored.status, holds)
            if rollout := rollouts.get(decided.service):
                status["rollout"] = rollout_json(rollout)
                status["conditions"] = [*_conditions(status), _updated(rollout)]
            status |= lost_json(stored, world, lost.get(decided.service, frozenset()))
            puts.append(Put(key, stored.owner, None, status=status))
    return puts


def _service_status(
    current: DecisionInForce,
    decided: ServiceDecision,
    routes: ServiceRoutes,
    claims: Sequence[Claim],
    observed: Observed,
    before: Mapping[str, Json],
    holds: Mapping[ServiceRef, Hold],
) -> dict[str, Json]:
    hold = holds.get(decided.service)
    mine = [c for c in claims if isinstance(c.hold, ReplicaHold) and c.hold.service == decided.service]
    wanted = sum(c.replicas for c in decided.chosen)
    phases = replica_phases(mine, observed)
    ready = sum(phase is ReplicaPhase.READY for phase in phases.values())
    causes: list[Json] = [c.split(": ", 1)[1] for c in current.changes if c.startswith(f"{decided.service}: ")]
    return {
        "phase": _phase(decided, ready, wanted, bool(mine)),
        "version": decided.version.name,
        "decision": current.id,
        "causes": causes if before.get("decision") != current.id or not before.get("causes") else before["causes"],
        "replicas": [_replica_status(c, phases.get(c.id), observed) for c in sorted(mine, key=lambda c: c.id)],
        "conditions": [
            condition("Ready", 0 < wanted <= ready, *_ready_reason(ready, wanted, routes)),
            condition("Placed", not decided.unserved, *placed_reason(decided)),
            condition("Stable", hold is None, *((hold.reason, hold.message) if hold else ("NothingHeld", ""))),
        ],
    }


def _conditions(status: Mapping[str, Json]) -> list[Json]:
    found = status.get("conditions")
    return found if isinstance(found, list) else []


def _updated(rollout: RolloutStatus) -> Json:
    """Whether every site has the version that is wanted."""
    one = rollout.rollout
    done = one.phase is RolloutPhase.DONE and not one.failed
    reason = "EverySite" if done else "SitesFailed" if one.phase is RolloutPhase.DONE else one.phase.value
    return condition("Updated", done, reason, rollout.sentence)


def ready_message(service: StoredObject) -> str:
    """What the condition Ready of a service's status says."""
    conditions = service.status.get("conditions")
    for one in conditions if isinstance(conditions, list) else []:
        if isinstance(one, dict) and one.get("type") == "Ready":
            return str(one.get("message"))
    return "it was applied just now; ask again"


def problem_statuses(problems: Mapping[ServiceRef, str], world: World) -> list[Put]:
    """Of services that cannot be judged: what runs of them goes on, the reason is told."""
    puts: list[Put] = []
    for service, reason in sorted(problems.items()):
        stored = world.objects["ModelService"][Key("ModelService", service.namespace, service.name)]
        before = dict(stored.status)
        runs = bool(before.get("replicas"))
        status: dict[str, Json] = before | {
            "phase": "Degraded" if runs else "Unplaceable",
            "conditions": [
                condition("Ready", False, "CannotBeJudged", reason),
                condition("Placed", False, "CannotBeJudged", reason),
            ],
        }
        puts.append(Put(stored.key, stored.owner, None, status=status))
    return puts


def _phase(decided: ServiceDecision, ready: int, wanted: int, any_claim: bool) -> str:
    if decided.unserved:
        return "Degraded" if any_claim else "Unplaceable"
    if ready >= wanted > 0:
        return "Ready"
    return "Progressing"


def _ready_reason(ready: int, wanted: int, routes: ServiceRoutes) -> tuple[str, str]:
    if 0 < wanted <= ready:
        return "AllReplicasReady", f"{ready} of {wanted} replicas ready"
    return "ReplicasNotReady", routes.unavailable_reason or f"{ready} of {wanted} replicas ready"


def placed_reason(decided: ServiceDecision) -> tuple[str, str]:
    for unserved in decided.unserved:
        if unserved.nearest is not None:
            near = unserved.nearest
            text = f"zone {unserved.zone}: {unserved.share:.0%} unserved; nearest site {near.site}: {near.detail}"
            return "NoSiteFits", text
        return "NoSiteFits", f"zone {unserved.zone}: {unserved.share:.0%} unserved; no site is known"
    if decided.shortfalls:
        return "PolicyNotMet", "; ".join(f"{one.rule}: {one.detail}" for one in decided.shortfalls)
    return "PolicyMet", f"policy {decided.policy} is met at " + ", ".join(str(c.site) for c in decided.chosen)


def _replica_status(claim: Claim, phase: ReplicaPhase | None, observed: Observed) -> Json:
    seen = _seen(claim, observed)
    return {
        "replica": str(claim.id),
        "site": str(claim.site),
        "node": str(claim.node or ""),
        "version": claim.hold.version.name if isinstance(claim.hold, ReplicaHold) else "",
        "claim": claim.phase.value,
        "phase": phase.value if phase else "pending",
        "reason": seen.reason if seen else "",
    }


def _seen(claim: Claim, observed: Observed) -> SeenReplica | None:
    node = observed.nodes.get(claim.node) if claim.node else None
    return node.replicas.get(claim.id) if node else None


def version_failures(
    world: World, claims: Sequence[Claim], observed: Observed, rollouts: Mapping[ServiceRef, Rollout]
) -> list[Put]:
    """Versions whose model did not load where they were placed, or ends again and again: failed, with the reason.

    While one goes out, its rollout says how many sites may fail.
    """
    reasons: dict[Key, str] = {}
    for claim in claims:
        seen = _seen(claim, observed)
        if isinstance(claim.hold, ReplicaHold) and seen and seen.phase is ReplicaPhase.FAILED:
            if 0 < seen.restarts < CRASHES:
                continue  # its node starts it again, and that may help
            version = claim.hold.version
            if _counted_by_rollout(rollouts.get(claim.hold.service), version, claim.site):
                continue
            reasons[Key("ModelVersion", version.namespace, version.name)] = f"at {claim.site}: {seen.reason}"
    for cloud in observed.cloud.values():
        if cloud.seen.phase is ReplicaPhase.FAILED and not _counted_by_rollout(
            rollouts.get(cloud.service), cloud.version, cloud.site
        ):
            key = Key("ModelVersion", cloud.version.namespace, cloud.version.name)
            reasons[key] = f"at {cloud.site}: {cloud.seen.reason}"
    puts: list[Put] = []
    for key, reason in sorted(reasons.items()):
        stored = world.objects.get("ModelVersion", {}).get(key)
        if stored is not None and stored.status.get("phase") != "Failed":
            status: dict[str, Json] = {
                "phase": "Failed",
                "conditions": [condition("Loadable", False, "ModelLoadFailed", reason)],
            }
            puts.append(Put(key, stored.owner, None, status=status))
    return puts


def _counted_by_rollout(rollout: Rollout | None, version: VersionRef, site: SiteName) -> bool:
    """It may go out all the same: the site goes back to what it served, or has."""
    if rollout is None or rollout.version != version or rollout.phase is RolloutPhase.ABORTED:
        return False
    return rollout.phase is RolloutPhase.PROGRESSING or site in rollout.failed
