"""Routes and assignments as the links carry them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.model.ids import ReplicaId
from orchestrator.model.specs import Isolation
from orchestrator.model.stored import Json, JsonObject
from orchestrator.reconcile.assignments import AssignedReplica
from orchestrator.reconcile.peers import Peer
from orchestrator.reconcile.routes import Route, ServiceRoutes
from protos.link.v1 import link_pb2
from workers.artifacts.trust import Trust, key_id

_ISOLATIONS: dict[Isolation | None, link_pb2.Isolation] = {
    Isolation.SHARED: link_pb2.ISOLATION_SHARED,
    Isolation.PROCESS: link_pb2.ISOLATION_PROCESS,
}


def route_table(revision: int, services: Iterable[ServiceRoutes]) -> link_pb2.RouteTable:
    return link_pb2.RouteTable(revision=revision, services=[_service(s) for s in services])


def _service(routes: ServiceRoutes) -> link_pb2.ServiceRoutes:
    return link_pb2.ServiceRoutes(
        namespace=routes.service.namespace,
        service=routes.service.name,
        version=routes.version,
        decision=routes.decision,
        unavailable_reason=routes.unavailable_reason,
        zones=[
            link_pb2.ZoneRoutes(zone=zone, routes=[_route(r) for r in zone_routes])
            for zone, zone_routes in sorted(routes.zones.items())
        ],
    )


def _route(route: Route) -> link_pb2.Route:
    message = link_pb2.Route(
        replica=route.replica,
        incarnation=route.incarnation,
        site=route.site,
        version=route.version,
        share=route.share,
        predicted_ms=route.predicted_ms,
    )
    if route.node is not None:
        message.node = route.node
    else:
        message.address = route.address
    return message


@dataclass(frozen=True, slots=True)
class NodeState:
    """All that a node should hold and know."""

    replicas: tuple[AssignedReplica, ...] = ()
    peers: tuple[Peer, ...] = ()
    trust: Trust | None = None


def assignment_spec(state: NodeState, above: int, promised_s: Mapping[ReplicaId, float]) -> JsonObject:
    """As the store keeps it. `above` and the store's revision add up to the revision that nodes see.

    It is 0 but for a node that holds a higher revision than this store ever gave it: of a store that was lost.
    `promised_s`: of single writers, how long the node may serve them by an assignment that it may still hold.
    """
    spec: dict[str, Json] = {"above": above, "replicas": [_spec_of(r) for r in state.replicas]}
    if state.peers:
        spec["peers"] = [[peer.node, peer.address] for peer in state.peers]
    if state.trust is not None:
        spec["trust"] = {
            "keys": [key_id(der) for der in state.trust.keys],
            "revoked_keys": [*sorted(state.trust.revoked_keys)],
            "revoked_artifacts": [*sorted(state.trust.revoked_artifacts)],
            "valid_s": state.trust.valid_s,
        }
    if promised_s:
        spec["promised_s"] = {str(one): promised_s[one] for one in sorted(promised_s)}
    return spec


def _spec_of(r: AssignedReplica) -> dict[str, Json]:
    return {
        "replica": r.replica,
        "namespace": r.namespace,
        "service": r.service,
        "version": r.version,
        "digest": r.digest,
        "size_bytes": r.size_bytes,
        "format": r.format,
        "manifest": r.manifest,
        "signature": r.signature,
        "memory_bytes": r.memory_bytes,
        "decision": r.decision,
        "valid_offline_s": r.valid_offline_s,
        "draining": r.draining,
        "rollout_bps": r.rollout_bps,
        "isolation": r.isolation.value if r.isolation else None,
        "compute_millis": r.compute_millis,
        **({"single_writer": True} if r.single_writer else {}),
    }


def assignment(revision: int, state: NodeState) -> link_pb2.Assignment:
    return link_pb2.Assignment(
        revision=revision,
        replicas=[
            link_pb2.ReplicaAssignment(
                replica=r.replica,
                namespace=r.namespace,
                service=r.service,
                version=r.version,
                artifact=link_pb2.Artifact(
                    digest=r.digest,
                    size_bytes=r.size_bytes,
                    format=r.format,
                    manifest=r.manifest,
                    signature=r.signature,
                ),
                memory_bytes=r.memory_bytes,
                decision=r.decision,
                valid_offline_s=r.valid_offline_s,
                draining=r.draining,
                isolation=_ISOLATIONS.get(r.isolation, link_pb2.ISOLATION_UNSPECIFIED),
                compute_millis=r.compute_millis,
                rollout_bps=r.rollout_bps,
                single_writer=r.single_writer,
            )
            for r in state.replicas
        ],
        peers=[link_pb2.PeerNode(node=peer.node, address=peer.address) for peer in state.peers],
        trust=_trust(state.trust) if state.trust else None,
    )


def _trust(trust: Trust) -> link_pb2.Trust:
    return link_pb2.Trust(
        keys=trust.keys,
        revoked_keys=sorted(trust.revoked_keys),
        revoked_artifacts=sorted(trust.revoked_artifacts),
        valid_s=trust.valid_s,
    )
