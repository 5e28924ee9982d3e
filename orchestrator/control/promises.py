"""How long each node may serve its single writers alone, as far as assignments that were written told it."""

from collections.abc import Collection, Sequence

from orchestrator.control.world import ASSIGNMENT, World
from orchestrator.model.ids import NodeName, ReplicaId, ServiceRef
from orchestrator.model.stored import Json, StoredObject
from orchestrator.reconcile.assignments import AssignedReplica
from orchestrator.reconcile.observed import Observed
from orchestrator.reconcile.single_writer import Promise, promised, still_promised


def promises_in(world: World, observed: Observed, single: Collection[ServiceRef]) -> dict[ReplicaId, float]:
    """Of the replicas of these services on all nodes."""
    found: dict[ReplicaId, float] = {}
    for stored in world.of(ASSIGNMENT) if single else ():
        found |= _promised(stored, observed, single)
    return found


def kept_promises(
    node: NodeName,
    world: World,
    observed: Observed,
    single: Collection[ServiceRef],
    now: Sequence[AssignedReplica],
) -> dict[ReplicaId, float]:
    """What is to be remembered beside what the node is told now."""
    stored = world.find(ASSIGNMENT, "", node)
    if stored is None or not single:
        return {}
    told = [Promise(ReplicaId(one.replica), one.valid_offline_s) for one in now]
    return still_promised(_promised(stored, observed, single), told)


def _promised(stored: StoredObject, observed: Observed, single: Collection[ServiceRef]) -> dict[ReplicaId, float]:
    replicas, longer = stored.spec.get("replicas"), stored.spec.get("promised_s")
    found = [_promise(one) for one in (replicas if isinstance(replicas, list) else []) if _service(one) in single]
    node = observed.nodes.get(NodeName(stored.key.name))
    revision = int(str(stored.spec.get("above", 0))) + stored.revision
    before = {ReplicaId(one): float(str(at)) for one, at in (longer if isinstance(longer, dict) else {}).items()}
    return promised(found, before, acknowledged=node is not None and node.held_revision >= revision)


def _service(replica: Json) -> ServiceRef | None:
    if not isinstance(replica, dict):
        return None
    return ServiceRef(str(replica.get("namespace")), str(replica.get("service")))


def _promise(replica: Json) -> Promise:
    assert isinstance(replica, dict)
    return Promise(ReplicaId(str(replica.get("replica"))), float(str(replica.get("valid_offline_s", 0))))
