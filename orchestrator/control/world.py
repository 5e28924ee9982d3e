"""What the store says, read in one go: the desired half of a snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.control.seams import Store
from orchestrator.errors import InvalidRequest
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef
from orchestrator.model.phases import JobPhase
from orchestrator.model.stored import Key, StoredObject
from orchestrator.objects import form_of
from orchestrator.objects.translate import policy_spec
from orchestrator.reconcile.single_writer import stopped_after_s

ASSIGNMENT = "Assignment"  # kept for the nodes' sake; operators neither write nor list it by default
REVOCATION = "Revocation"  # of a node's key, likewise
# What becomes a part of a snapshot, and must be readable for it.
TRANSLATED = frozenset({"Site", "Zone", "ModelVersion", "ModelService", "PlacementPolicy"})


@dataclass(frozen=True, slots=True)
class World:
    """Objects by kind and key, and the claims that are not released.

    `unreadable`: objects that this release cannot read, each with the reason. `objects` has them; whoever asks by `of`
    or `find` sees a world without them, since one such object must not stop what concerns all others.
    """

    objects: Mapping[str, Mapping[Key, StoredObject]]
    claims: tuple[Claim, ...]
    unreadable: Mapping[Key, str]

    def of(self, kind: str) -> list[StoredObject]:
        return [stored for key, stored in self.objects.get(kind, {}).items() if key not in self.unreadable]

    def find(self, kind: str, namespace: str, name: str) -> StoredObject | None:
        key = Key(kind, namespace, name)
        return None if key in self.unreadable else self.objects.get(kind, {}).get(key)


def world_of(objects: Iterable[StoredObject], claims: Iterable[Claim]) -> World:
    found: dict[str, dict[Key, StoredObject]] = {}
    unreadable: dict[Key, str] = {}
    for one in objects:
        found.setdefault(one.key.kind, {})[one.key] = one
        if one.key.kind in TRANSLATED and (reason := unreadable_reason(one)):
            unreadable[one.key] = reason
    return World(found, tuple(claims), unreadable)


def unreadable_reason(stored: StoredObject) -> str:
    """Why this release cannot read it; empty for almost all."""
    try:
        form_of(stored)
    except InvalidRequest as err:
        wrong = "; ".join(one.sentence for one in err.problems)
        return f"{wrong}: this release cannot read what another one wrote: run that one, or apply the object anew"
    return ""


def read_world(store: Store) -> World:
    """Blocks for a few milliseconds: call it off the event loop."""
    found, _sequence = store.list_objects("")
    return world_of(found, store.claims())


def lost_after_s(world: World) -> dict[ServiceRef, float]:
    """How long each service waits for a silent node that holds a replica of it; a deleted one does not wait."""
    services = {ServiceRef(o.key.namespace, o.key.name) for o in world.of("ModelService")}
    services |= {c.hold.service for c in world.claims if isinstance(c.hold, ReplicaHold)}
    return {service: _patience_s(world, service) for service in services}


def _patience_s(world: World, service: ServiceRef) -> float:
    key = Key("ModelService", service.namespace, service.name)
    if key in world.unreadable:
        return float("inf")  # as below
    stored = world.find(key.kind, key.namespace, key.name)
    if stored is None:
        return 0.0
    policy = world.find("PlacementPolicy", service.namespace, str(stored.spec.get("policy")))
    if policy is None:
        return float("inf")  # it cannot be judged, so nothing of it is given up
    spec = policy_spec(policy)
    if not spec.replace_lost:
        return float("inf")
    return max(spec.lost_after_s, stopped_after_s(spec.valid_offline_s)) if spec.single_writer else spec.lost_after_s


def phase_of(stored: StoredObject) -> JobPhase:
    """Of a training job: PENDING until the loop has said otherwise."""
    found = stored.status.get("phase")
    return JobPhase(str(found).lower()) if found else JobPhase.PENDING
