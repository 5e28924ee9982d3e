"""A leg's estimate as the links carry it."""

from protos.link.v1 import link_pb2
from workers.probe.legs import LegEstimate


def leg_message(leg: LegEstimate) -> link_pb2.LegEstimate:
    return link_pb2.LegEstimate(
        source=leg.source,
        target=leg.target,
        rtt_p50_ms=leg.rtt_p50_ms,
        rtt_p99_ms=leg.rtt_p99_ms,
        up_bps=leg.up_bps or 0.0,
        down_bps=leg.down_bps or 0.0,
        samples=leg.samples,
        newest_age_ms=round(leg.newest_age_s * 1000),
        method=leg.method,
    )
