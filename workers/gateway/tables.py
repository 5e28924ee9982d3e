"""Route tables off the wire."""

from protos.link.v1 import link_pb2
from workers.gateway.choice import Route, RouteTable, ServiceKey, ServiceRoutes


def table_of(sent: link_pb2.RouteTable) -> RouteTable:
    return RouteTable(
        sent.revision,
        {ServiceKey(service.namespace, service.service): _service(service) for service in sent.services},
    )


def _service(sent: link_pb2.ServiceRoutes) -> ServiceRoutes:
    return ServiceRoutes(
        version=sent.version,
        decision=sent.decision,
        zones={zone.zone: tuple(_route(route) for route in zone.routes) for zone in sent.zones},
        unavailable_reason=sent.unavailable_reason,
    )


def _route(sent: link_pb2.Route) -> Route:
    return Route(
        replica=sent.replica,
        incarnation=sent.incarnation,
        site=sent.site,
        version=sent.version,
        share=sent.share,
        predicted_ms=sent.predicted_ms,
        address=sent.address,
        node=sent.node,
    )
