"""Which limit a demand feels most, by a decision's shadow prices."""

from collections.abc import Iterator, Sequence

from orchestrator.model.legs import Path
from orchestrator.model.relaxation import Binding
from orchestrator.model.snapshot import PlacementSettings, ShadowPrice
from orchestrator.model.specs import DemandSpec, ServiceSpec, SiteSpec
from orchestrator.placement.estimates import replica_rps

MIB = 1 << 20
_Constraint = tuple[str, ...]


def binding(
    prices: Sequence[ShadowPrice],
    service: ServiceSpec,
    demand: DemandSpec,
    sites: Sequence[SiteSpec],
    paths: Sequence[Path],
    settings: PlacementSettings,
) -> Binding | None:
    """Of the limits on the demand's ways that one with the highest price x need; None where no price is above 0.

    The demand's own price is no limit: it is what a call more would cost.
    """
    needs = dict(_needs(service, demand, sites, [path for path in paths if path.zone == demand.zone], settings))
    felt = [
        (price.usd_per_hour * need, price, need)
        for price in prices
        if price.usd_per_hour > 0
        and price.priority == service.policy.priority
        and (need := needs.get(_place(price.constraint), 0.0)) > 0
    ]
    if not felt:
        return None
    usd_per_hour, price, need = min(felt, key=lambda one: (-one[0], one[1].constraint))
    return Binding(price.constraint, price.usd_per_hour, price.unit, need, usd_per_hour)


def _place(constraint: _Constraint) -> _Constraint:
    """A node's memory or compute is its site's: a demand needs it at one of them."""
    if constraint[0] == "front":
        return (constraint[0], constraint[1].removeprefix("front/"))
    return constraint[:2] if constraint[0] in ("memory", "compute") else constraint


def _needs(
    service: ServiceSpec,
    demand: DemandSpec,
    sites: Sequence[SiteSpec],
    paths: Sequence[Path],
    settings: PlacementSettings,
) -> Iterator[tuple[_Constraint, float]]:
    """Of all of the zone's calls, in the units of the prices: MiB, cores, Mbit/s."""
    request_mbps = 8 * demand.request_bytes * demand.rate_rps / 1e6
    response_mbps = 8 * demand.response_bytes * demand.rate_rps / 1e6
    yield ("wan", demand.zone), request_mbps + response_mbps
    by_name = {site.name: site for site in sites}
    for path in paths:
        site = by_name.get(path.site)
        if site is None:
            continue
        yield ("in", site.name), request_mbps
        yield ("out", site.name), response_mbps
        for leg in path.legs:
            yield ("leg", leg.source, leg.target, "request"), request_mbps
            yield ("leg", leg.source, leg.target, "response"), response_mbps
            for end in (leg.source, leg.target):
                if end.startswith("front/"):
                    yield ("front", end.removeprefix("front/")), request_mbps + response_mbps
        variants = service.version.variants_on(site.hardware_class)
        if variants:
            smallest = min(variants, key=lambda variant: (variant.need.memory_bytes, variant.need.compute_millis))
            replicas = demand.rate_rps / replica_rps(smallest, settings.target_utilisation)
            yield ("memory", site.name), replicas * smallest.need.memory_bytes / MIB
            yield ("compute", site.name), replicas * smallest.need.compute_millis / 1000
