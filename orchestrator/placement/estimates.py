"""What a call will take: round trip, transfer, service."""

import math

from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Interval, PlacementSettings, ResponseTerms
from orchestrator.model.specs import DemandSpec, VariantSpec

# The high end grows by 1% of the round trip per second since its newest sample, until it is one round trip higher; the
# low end falls as fast, to the median. A gut figure: a minute without samples says little about a radio link; to be
# graded against what calls then took.
WIDENING_PER_S = 0.01


def service_p99_ms(variant: VariantSpec, rho: float) -> float:
    """Time in a replica at utilisation `rho`, waiting included: t * (1 + ln(100) * rho / (2 * (1 - rho) * slots)).

    Waiting of an M/D/1 queue with an exponential tail, with t the service time and one slot; never below the p99 that
    was measured without a queue.
    """
    waiting = math.log(100) * rho / (2 * (1 - rho))
    return max(variant.service_p50_ms * (1 + waiting), variant.service_p99_ms)


def replica_rps(variant: VariantSpec, rho: float) -> float:
    """Calls that one replica takes at utilisation `rho`."""
    return rho * 1000 / max(variant.service_p50_ms, 1e-6)


def transfer_ms(path: Path, demand: DemandSpec, share: float) -> float:
    """Payload both ways over the narrowest leg, of which one transfer gets `share`.

    A leg whose throughput nobody measured adds nothing: its round trip is known, its width is not a reason to refuse.
    """
    request_bps, response_bps = path.narrowest_bps
    request_s = 8 * demand.request_bytes / (share * request_bps) if request_bps else 0.0
    response_s = 8 * demand.response_bytes / (share * response_bps) if response_bps else 0.0
    return (request_s + response_s) * 1000


def response_terms(path: Path, demand: DemandSpec, variant: VariantSpec, settings: PlacementSettings) -> ResponseTerms:
    """What `response_ms` expects, term by term."""
    return ResponseTerms(
        round_trip_ms=path.rtt_p99_ms,
        transfer_ms=transfer_ms(path, demand, settings.transfer_share),
        service_ms=service_p99_ms(variant, settings.target_utilisation),
    )


def response_ms(path: Path, demand: DemandSpec, variant: VariantSpec, settings: PlacementSettings) -> Interval:
    """p99 of an answer as its caller sees it.

    `low`: the round trip's p99 is as low as its samples allow, and the replica idle. `high`: it is as high as they
    allow, and transfers are slow. Both ends move outwards as the newest sample ages.
    """
    transfer = slow_transfer = transfer_ms(path, demand, settings.transfer_share)
    if path.slow is not path:
        slow_transfer = transfer_ms(path.slow, demand, settings.transfer_share)
    busy = service_p99_ms(variant, settings.target_utilisation)
    expected = path.rtt_p99_ms + transfer + busy
    aged = min(path.age_s * WIDENING_PER_S, 1.0)
    low = path.rtt_p50_ms + (path.rtt_p99_low_ms - path.rtt_p50_ms) * (1 - aged) + transfer + variant.service_p99_ms
    high = path.rtt_p99_high_ms + path.rtt_p99_ms * aged + slow_transfer + busy
    return Interval(low=min(low, expected), expected=expected, high=max(high, expected))
