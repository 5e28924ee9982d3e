"""What the store says, read in one go: the desired half of a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.control.seams import Store
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef
from orchestrator.model.stored import Key, StoredObject

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


def lost_after_s(world: World) -> dict[NodeName, float]:
    """How long each node with claims may be silent: the least patience among the services it holds."""
    patience: dict[NodeName, float] = {}
    for claim in world.claims:
        if claim.node is None or not isinstance(claim.hold, ReplicaHold):
            continue
        seconds = _patience_s(world, claim.hold.service)
        patience[claim.node] = min(patience.get(claim.node, float("inf")), seconds)
    return patience


def _patience_s(world: World, service: ServiceRef) -> float:
    stored = world.find("ModelService", service.namespace, service.name)
    if stored is None:
        return 0.0
    policy = world.find("PlacementPolicy", service.namespace, str(stored.spec.get("policy")))
    disconnect = policy.spec.get("disconnect") if policy else None
    if not isinstance(disconnect, dict) or not disconnect.get("replace", True):
        return float("inf")
    seconds = disconnect.get("lost_after_s", 600.0)
    return float(seconds) if isinstance(seconds, int | float) else 600.0
