"""Which replica takes this call: pure, so that any choice can be recorded and replayed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from workers.gateway.health import Health, RouteKey


class ServiceKey(NamedTuple):
    """The name that callers use, in its namespace."""

    namespace: str
    service: str


@dataclass(frozen=True, slots=True)
class Route:
    """One way to one replica: dialled at `address`, or by relay through `node`'s own connection; the other is empty.

    `share` is the part of the zone's calls that it takes; 0: only when the others fail. `predicted_ms` is a p99.
    """

    replica: str
    incarnation: str
    site: str
    version: str
    share: float
    predicted_ms: float
    address: str = ""
    node: str = ""

    @property
    def key(self) -> RouteKey:
        return RouteKey(self.replica, self.incarnation)


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    """All ways to one service. `zones` has "" for the callers of any zone without an entry of its own."""

    version: str
    decision: str
    zones: Mapping[str, tuple[Route, ...]]
    unavailable_reason: str = ""

    def of_zone(self, zone: str) -> tuple[Route, ...]:
        routes = self.zones.get(zone)
        return self.zones.get("", ()) if routes is None else routes


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Where every service's calls go, as the last decision said."""

    revision: int
    services: Mapping[ServiceKey, ServiceRoutes]
    zones: frozenset[str] = field(init=False)  # those with an entry of their own somewhere
    addresses: frozenset[str] = field(init=False)  # all that are dialled

    def __post_init__(self) -> None:
        named = {zone for service in self.services.values() for zone in service.zones if zone}
        routes = (route for service in self.services.values() for zone in service.zones.values() for route in zone)
        object.__setattr__(self, "zones", frozenset(named))
        object.__setattr__(self, "addresses", frozenset(route.address for route in routes if route.address))


class Cause(StrEnum):
    """Why there is nowhere to send a call."""

    UNKNOWN_SERVICE = "unknown-service"
    UNKNOWN_VERSION = "unknown-version"
    NONE_READY = "none-ready"


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Nowhere to send the call; `message` is for the caller and names the remedy."""

    cause: Cause
    message: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """Where to try, in order; never empty, never a replica twice."""

    routes: tuple[Route, ...]
    decision: str


@dataclass(frozen=True, slots=True)
class Caller:
    """What one call asks for. `version` "": whichever is served."""

    service: ServiceKey
    zone: str
    version: str = ""


def candidates(
    table: RouteTable, caller: Caller, health: Health, attached: frozenset[str], now_s: float, random_unit: float
) -> Candidates | NoRoute:
    """Routes in the order to try them: the first drawn by share with `random_unit` in [0, 1), the rest by rank.

    Routes that failed a moment ago come last, so that they are used only when nothing better is left. A route through a
    node that is not in `attached` is left out: its call could not even be sent.
    """
    service = table.services.get(caller.service)
    if service is None:
        return NoRoute(Cause.UNKNOWN_SERVICE, _unknown_service(table, caller.service))
    zone_routes = service.of_zone(caller.zone)
    wanted = [route for route in zone_routes if not caller.version or route.version == caller.version]
    if not wanted and caller.version and caller.version not in _versions(service):
        return NoRoute(Cause.UNKNOWN_VERSION, _unknown_version(service, caller))
    sendable = [route for route in wanted if not route.node or route.node in attached]
    if not sendable:
        return NoRoute(Cause.NONE_READY, _none_ready(service, caller, wanted))
    good = [route for route in sendable if not health.ejected(route.key, now_s)]
    bad = [route for route in sendable if health.ejected(route.key, now_s)]
    ordered = _order(good, random_unit) + _order(bad, random_unit)
    return Candidates(tuple({route.key: route for route in reversed(ordered)}.values())[::-1], service.decision)


def _order(routes: list[Route], random_unit: float) -> list[Route]:
    """First by share; then the other shares, largest first; then the standbys, soonest answer first."""
    ranked = sorted(routes, key=lambda route: (-route.share, route.predicted_ms, route.replica, route.incarnation))
    total = sum(route.share for route in ranked)
    if total <= 0.0:
        return ranked
    left = random_unit * total
    for index, route in enumerate(ranked):
        left -= route.share
        if left < 0.0:
            return [route, *ranked[:index], *ranked[index + 1 :]]
    return ranked  # rounding: the draw fell on the very end


def _versions(service: ServiceRoutes) -> set[str]:
    routes = {route.version for zone in service.zones.values() for route in zone}
    return routes | ({service.version} if service.version else set())


def _named(names: Iterable[str], limit: int = 10) -> str:
    known = sorted(names)
    return ", ".join(known[:limit]) + (f" and {len(known) - limit} more" if len(known) > limit else "")


def _unknown_service(table: RouteTable, wanted: ServiceKey) -> str:
    here = [key.service for key in table.services if key.namespace == wanted.namespace]
    elsewhere = [key.namespace for key in table.services if key.service == wanted.service]
    if elsewhere:
        hint = f"it exists in namespace {_named(elsewhere)}: send that as metadata skerry-namespace"
    elif here:
        hint = f"known there: {_named(here)}"
    else:
        hint = "no service is known there: apply a ModelService"
    return f"model {wanted.service!r}: no such service in namespace {wanted.namespace!r}; {hint}"


def _unknown_version(service: ServiceRoutes, caller: Caller) -> str:
    return (
        f"model {caller.service.service!r} version {caller.version!r} is not served; "
        f"served: {_named(_versions(service))}; leave the version empty to take it"
    )


def _none_ready(service: ServiceRoutes, caller: Caller, wanted: list[Route]) -> str:
    name = f"model {caller.service.service!r} has no ready replica for zone {caller.zone!r}"
    if wanted:
        nodes = _named({route.node for route in wanted})
        return f"{name}: not attached to this front: node {nodes}; try again soon"
    return f"{name}: {service.unavailable_reason or 'none is routed to this zone yet'}"
