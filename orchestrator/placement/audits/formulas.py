"""The statement of the placement problem as formulas, written apart from the planner's."""

import math

from orchestrator.model.legs import Leg, Path, PathKind
from orchestrator.model.snapshot import Interval, PlacementSettings
from orchestrator.model.specs import DemandSpec, SiteSpec, VariantSpec

HOUR_S = 3_600.0
# Of a round trip, for each second since its newest sample: by so much the interval widens, up to one round trip.
WIDENING_PER_S = 0.01


def close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def carried_rps(variant: VariantSpec, settings: PlacementSettings) -> float:
    """Calls per second of one replica at the target utilisation."""
    return settings.target_utilisation * 1000 / max(variant.service_p50_ms, 1e-6)


def price_usd_per_hour(site: SiteSpec, variant: VariantSpec) -> float:
    """Of one replica: the site's price of a core, prorated by the cores that it claims."""
    return site.price_usd_per_hour * (variant.need.compute_millis / 1000)


def is_backwards(leg: Leg, path: Path) -> bool:
    """Whether requests travel from the leg's target to its source: an agent measures outwards, relay comes inwards."""
    return path.kind is PathKind.RELAY and leg.source == f"site/{path.site}"


def response(path: Path, demand: DemandSpec, variant: VariantSpec, settings: PlacementSettings) -> Interval:
    """p99 of an answer: the legs' round trips, the payload at a share of the narrowest leg, the replica with its queue.

    L = RTT + 8 b_in / bw_in + 8 b_out / bw_out + t (1 + ln(100) rho / (2 (1 - rho))); the last at least the p99 of t.
    """
    rho, aged = settings.target_utilisation, min(WIDENING_PER_S * max((leg.age_s for leg in path.legs), default=0.0), 1)
    busy_ms = max(variant.service_p50_ms * (1 + math.log(100) / 2 * rho / (1 - rho)), variant.service_p99_ms)
    p50_ms, p99_ms = sum(leg.rtt_p50_ms for leg in path.legs), sum(leg.rtt_p99_ms for leg in path.legs)
    least_ms = max(
        (leg.rtt_p99_low_ms - leg.rtt_p50_ms for leg in path.legs if leg.rtt_p99_low_ms is not None), default=0
    )
    most_ms = sum(leg.rtt_p99_ms if leg.rtt_p99_high_ms is None else leg.rtt_p99_high_ms for leg in path.legs)
    usual_ms = _transfer_ms(path, demand, settings.transfer_share, slow=False)
    slow_ms = _transfer_ms(path, demand, settings.transfer_share, slow=True)
    expected = p99_ms + usual_ms + busy_ms
    low = p50_ms + max(least_ms, 0.0) * (1 - aged) + usual_ms + variant.service_p99_ms
    high = most_ms + p99_ms * aged + slow_ms + busy_ms
    return Interval(min(low, expected), expected, max(high, expected))


def _transfer_ms(path: Path, demand: DemandSpec, share: float, *, slow: bool) -> float:
    """A leg of unmeasured width takes no time. `slow`: as wide as nine of ten transfers found it, where known."""
    forth, back = math.inf, math.inf
    for leg in path.legs:
        up = (leg.up_p10_bps if slow else None) or leg.up_bps or math.inf
        down = (leg.down_p10_bps if slow else None) or leg.down_bps or math.inf
        if is_backwards(leg, path):
            up, down = down, up
        forth, back = min(forth, up), min(back, down)
    return 8_000 * (demand.request_bytes / forth + demand.response_bytes / back) / share


def egress_usd_per_call(path: Path, demand: DemandSpec, region: SiteSpec | None, site: SiteSpec) -> float:
    """The request leaves the region that relays it, the answer its site; served where it enters, nothing leaves."""
    if path.kind is PathKind.LAN or path.transit == path.site:
        return 0.0
    relayed = region.egress_usd_per_gb * demand.request_bytes if region else 0.0
    return (relayed + site.egress_usd_per_gb * demand.response_bytes) / 1e9
