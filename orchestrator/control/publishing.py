"""Routes and assignments as the links carry them."""

from collections.abc import Iterable

from orchestrator.model.specs import Isolation
from orchestrator.model.stored import JsonObject
from orchestrator.reconcile.assignments import AssignedReplica
from orchestrator.reconcile.routes import Route, ServiceRoutes
from protos.link.v1 import link_pb2

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


def assignment_spec(replicas: Iterable[AssignedReplica], above: int) -> JsonObject:
    """As the store keeps it. `above` and the store's revision add up to the revision that nodes see.

    It is 0 but for a node that holds a higher revision than this store ever gave it: of a store that was lost.
    """
    return {
        "above": above,
        "replicas": [
            {
                "replica": r.replica,
                "namespace": r.namespace,
                "service": r.service,
                "version": r.version,
                "digest": r.digest,
                "size_bytes": r.size_bytes,
                "format": r.format,
                "memory_bytes": r.memory_bytes,
                "decision": r.decision,
                "valid_offline_s": r.valid_offline_s,
                "draining": r.draining,
                "isolation": r.isolation.value if r.isolation else None,
                "compute_millis": r.compute_millis,
            }
            for r in replicas
        ],
    }


def assignment(revision: int, replicas: Iterable[AssignedReplica]) -> link_pb2.Assignment:
    return link_pb2.Assignment(
        revision=revision,
        replicas=[
            link_pb2.ReplicaAssignment(
                replica=r.replica,
                namespace=r.namespace,
                service=r.service,
                version=r.version,
                artifact=link_pb2.Artifact(digest=r.digest, size_bytes=r.size_bytes, format=r.format),
                memory_bytes=r.memory_bytes,
                decision=r.decision,
                valid_offline_s=r.valid_offline_s,
                draining=r.draining,
                isolation=_ISOLATIONS.get(r.isolation, link_pb2.ISOLATION_UNSPECIFIED),
                compute_millis=r.compute_millis,
            )
            for r in replicas
        ],
    )
