"""What the store says, read in one go: the desired half of a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.control.seams import Store
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef
from orchestrator.model.phases import JobPhase
from orchestrator.model.stored import Key, StoredObject
from orchestrator.objects.translate import policy_spec

ASSIGNMENT = "Assignment"  # kept for the nodes' sake; operators neither write nor list it by default


@dataclass(frozen=True, slots=True)
class World:
    """Objects by kind and key, and the claims that are not released."""

    objects: Mapping[str, Mapping[Key, StoredObject]]
    claims: tuple[Claim, ...]

    def of(self, kind: str) -> list[StoredObject]:
        return list(self.objects.get(kind, {}).values())

    def find(self, kind: str, namespace: str, name: str) -> StoredObject | None:
        return self.objects.get(kind, {}).get(Key(kind, namespace, name))


def read_world(store: Store) -> World:
    """Blocks for a few milliseconds: call it off the event loop."""
    objects: dict[str, dict[Key, StoredObject]] = {}
    found, _sequence = store.list_objects("")
    for one in found:
        objects.setdefault(one.key.kind, {})[one.key] = one
    return World(objects, tuple(store.claims()))


def lost_after_s(world: World) -> dict[ServiceRef, float]:
    """How long each service waits for a silent node that holds a replica of it; a deleted one does not wait."""
    services = {ServiceRef(o.key.namespace, o.key.name) for o in world.of("ModelService")}
    services |= {c.hold.service for c in world.claims if isinstance(c.hold, ReplicaHold)}
    return {service: _patience_s(world, service) for service in services}


def _patience_s(world: World, service: ServiceRef) -> float:
    stored = world.find("ModelService", service.namespace, service.name)
    if stored is None:
        return 0.0
    policy = world.find("PlacementPolicy", service.namespace, str(stored.spec.get("policy")))
    if policy is None:
        return float("inf")  # it cannot be judged, so nothing of it is given up
    spec = policy_spec(policy)
    return spec.lost_after_s if spec.replace_lost else float("inf")


def phase_of(stored: StoredObject) -> JobPhase:
    """Of a training job: PENDING until the loop has said otherwise."""
    found = stored.status.get("phase")
    return JobPhase(str(found).lower()) if found else JobPhase.PENDING
