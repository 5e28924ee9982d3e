"""Rollouts from tick to tick: read from the services' status, stepped, written back with the rest of the commit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.control.world import World
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import NodePhase
from orchestrator.model.snapshot import Decision, ServiceDecision
from orchestrator.model.specs import ServiceSpec, SiteKind, SiteSpec
from orchestrator.model.stored import Json, Key, StoredObject
from orchestrator.reconcile.observed import Observed
from orchestrator.reconcile.rollouts import Rollout, RolloutPhase, Sites, over, step, told, wave_rules
from orchestrator.reconcile.staging import Counted, Rollouts, site_states, targets

CountedSince = Callable[[ServiceRef, float], Counted]  # of callers at each site, since a moment on the wall clock


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """What a service's status says of it, beside the state itself."""

    rollout: Rollout
    sentence: str


@dataclass(slots=True)
class Stepped:
    """All rollouts as of now; those of services that cannot be judged as they were."""

    rollouts: dict[ServiceRef, Rollout] = field(default_factory=dict)
    told: dict[ServiceRef, RolloutStatus] = field(default_factory=dict)

    def held(self, service: ServiceRef) -> str:
        """Why not every site runs what the decision wants; "" where that is so."""
        found = self.told.get(service)
        return found.sentence if found and found.rollout.phase is not RolloutPhase.DONE else ""


def step_rollouts(
    decision: Decision,
    services: Sequence[ServiceSpec],
    sites: Sequence[SiteSpec],
    world: World,
    observed: Observed,
    counted: CountedSince,
    wall_s: float,
) -> Stepped:
    """`services`: those that can be judged now."""
    specs = {service.ref: service for service in services}
    attached = {node.site for node in observed.nodes.values() if node.phase is NodePhase.ATTACHED}
    attached |= {site.name for site in sites if site.kind is SiteKind.REGION and site.reachable}
    held: dict[ServiceRef, list[Claim]] = {}
    for claim in world.claims:
        if isinstance(claim.hold, ReplicaHold):
            held.setdefault(claim.hold.service, []).append(claim)
    stepped = Stepped()
    for decided in decision.services:
        stored = world.objects.get("ModelService", {}).get(_key(decided.service))
        before = rollout_in(stored) if stored else None
        spec = specs.get(decided.service)
        if stored is None:
            continue
        if spec is None or spec.version.ref != decided.version:
            if before is not None:
                stepped.rollouts[decided.service] = before
            continue
        asked, mine = asked_of(stored, world), held.get(decided.service, [])
        if before is None and all(_version(claim) == decided.version for claim in mine):
            continue
        states: Sites = {}
        if before is None or not over(before, decided.version, asked):
            since_s = before.ready_since_s if before else None
            calls = counted(decided.service, since_s) if since_s is not None else {}
            states = site_states(decided, mine, observed, attached, calls)
        _step(stepped, decided, spec, before, states, asked, wall_s)
    return stepped


def _step(
    stepped: Stepped,
    decided: ServiceDecision,
    spec: ServiceSpec,
    before: Rollout | None,
    states: Sites,
    asked: str,
    wall_s: float,
) -> None:
    rules, frozen = wave_rules(spec.policy), spec.freeze is not None
    after = step(before, decided.version, states, rules, asked=asked, frozen=frozen, now_s=wall_s)
    if after is not None:
        stepped.rollouts[decided.service] = after
        stepped.told[decided.service] = RolloutStatus(after, told(after, states, rules, frozen))


def _version(claim: Claim) -> VersionRef | None:
    return claim.hold.version if isinstance(claim.hold, ReplicaHold) else None


def versions_by_site(
    decision: Decision, rollouts: Rollouts, claims: Sequence[Claim]
) -> dict[ServiceRef, dict[SiteName, VersionRef]]:
    """Of services of which not every site is to run what the decision wants, the version that each site is to run."""
    found: dict[ServiceRef, dict[SiteName, VersionRef]] = {}
    for decided in decision.services:
        rollout = rollouts.get(decided.service)
        if rollout is not None and (rollout.phase is not RolloutPhase.DONE or rollout.failed):
            found[decided.service] = targets(decided, rollout, claims)
    return found


def ended_rollouts(world: World) -> dict[ServiceRef, Rollout]:
    """Those that leave sites at other versions for good, unless operators have asked for something else since."""
    found: dict[ServiceRef, Rollout] = {}
    for stored in world.of("ModelService"):
        rollout = rollout_in(stored)
        if rollout and rollout.phase is not RolloutPhase.PROGRESSING and rollout.asked == asked_of(stored, world):
            found[ServiceRef(stored.key.namespace, stored.key.name)] = rollout
    return found


def _key(service: ServiceRef) -> Key:
    return Key("ModelService", service.namespace, service.name)


def asked_of(service: StoredObject, world: World) -> str:
    """Changes when somebody writes the service or its policy."""
    policy = world.find("PlacementPolicy", service.key.namespace, str(service.spec.get("policy")))
    return f"{service.uid}.{service.generation}.{policy.generation if policy else 0}"


def given_up(service: StoredObject, world: World) -> str | None:
    """The version whose rollout was aborted, by name, until somebody asks for something else."""
    rollout = rollout_in(service)
    if rollout is None or rollout.phase is not RolloutPhase.ABORTED or rollout.asked != asked_of(service, world):
        return None
    return rollout.version.name


# ---- as the status holds it


def rollout_json(status: RolloutStatus) -> Json:
    one = status.rollout
    others: dict[str, Json] = {str(site): version.name for site, version in sorted(one.others.items())}
    return {
        "version": one.version.name,
        "before": one.before.name,
        "asked": one.asked,
        "phase": one.phase.value,
        "wave": one.wave,
        "released": {str(site): at_s for site, at_s in sorted(one.released.items())},
        "away": [str(site) for site in sorted(one.away)],
        "failed": {str(site): why for site, why in sorted(one.failed.items())},
        "others": others,
        "ready_since_s": one.ready_since_s,
        "reason": one.reason,
        "message": status.sentence,
    }


def rollout_in(service: StoredObject) -> Rollout | None:
    """None: there is none, or another release wrote it so that this one cannot read it."""
    found, namespace = service.status.get("rollout"), service.key.namespace
    if not isinstance(found, dict):
        return None
    try:
        ready_since_s = found.get("ready_since_s")
        return Rollout(
            version=VersionRef(namespace, str(found["version"])),
            before=VersionRef(namespace, str(found["before"])),
            asked=str(found["asked"]),
            phase=RolloutPhase(str(found["phase"])),
            wave=int(str(found["wave"])),
            released={SiteName(site): float(str(at_s)) for site, at_s in _mapping(found, "released").items()},
            away=frozenset(SiteName(str(site)) for site in _list(found, "away")),
            failed={SiteName(site): str(why) for site, why in _mapping(found, "failed").items()},
            others={SiteName(site): VersionRef(namespace, str(one)) for site, one in _mapping(found, "others").items()},
            ready_since_s=None if ready_since_s is None else float(str(ready_since_s)),
            reason=str(found.get("reason", "")),
        )
    except (KeyError, ValueError):
        return None


def _mapping(found: Mapping[str, Json], name: str) -> dict[str, Json]:
    one = found.get(name)
    return one if isinstance(one, dict) else {}


def _list(found: Mapping[str, Json], name: str) -> list[Json]:
    one = found.get(name)
    return one if isinstance(one, list) else []
