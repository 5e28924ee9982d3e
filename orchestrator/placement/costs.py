"""What a placement minimises, in USD per hour: replicas, egress, callers' waiting, calls that nobody takes, changes."""

import math
from collections.abc import Mapping

from orchestrator.model.ids import SiteName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.snapshot import Costs, Interval
from orchestrator.model.specs import DemandSpec, PolicySpec, ServiceSpec, SiteSpec, VariantSpec

GB = 1e9
HOUR_S = 3_600.0


def replica_price(site: SiteSpec, variant: VariantSpec) -> float:
    """USD per hour: the site's price of a core, prorated."""
    return site.price_usd_per_hour * variant.need.compute_millis / 1000


def calls_usd_per_hour(
    path: Path, response: Interval, demand: DemandSpec, policy: PolicySpec, sites: Mapping[SiteName, SiteSpec]
) -> Costs:
    """Of one call per second from a zone over this path: egress, and its callers' waiting.

    By Little's law rate x response time is how many callers wait at any moment: so many hours of waiting an hour.
    """
    waiting = response.expected / 1000
    return Costs(egress=HOUR_S * _egress_usd(path, demand, sites), latency=waiting * policy.usd_per_hour_waited)


def _egress_usd(path: Path, demand: DemandSpec, sites: Mapping[SiteName, SiteSpec]) -> float:
    """Of one call: its request leaves the region that it enters by, its answer leaves the site that gives it.

    A call that is served where it enters leaves nothing. The answer's last way, from the region to its caller, costs
    the same whoever gave it, and is not counted.
    """
    if path.kind is PathKind.LAN or path.transit == path.site:
        return 0.0
    region, site = sites.get(path.transit) if path.transit else None, sites.get(path.site)
    request_usd = demand.request_bytes / GB * region.egress_usd_per_gb if region else 0.0
    response_usd = demand.response_bytes / GB * site.egress_usd_per_gb if site else 0.0
    return request_usd + response_usd


def unserved_usd_per_hour(rate_rps: float, policy: PolicySpec) -> float:
    return rate_rps * HOUR_S * policy.usd_per_unserved_call


def changes_usd_per_hour(starts: int, stops: int, policy: PolicySpec) -> float:
    """Spread over the horizon within which they must pay off."""
    return (starts * policy.usd_per_start + stops * policy.usd_per_stop) * HOUR_S / policy.horizon_s


def total_rps(service: ServiceSpec) -> float:
    return math.fsum(demand.rate_rps for demand in service.demands)


def weight(demand: DemandSpec, service: ServiceSpec) -> float:
    """The zone's part of the service's calls; equal parts while nobody calls."""
    total = total_rps(service)
    return demand.rate_rps / total if total > 0 else 1 / len(service.demands)
