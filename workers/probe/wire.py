"""A leg's estimate as the links carry it."""

from protos.link.v1 import link_pb2
from workers.probe.legs import LegEstimate
from workers.probe.sketch import ACCURACY, Bins


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
        rtt_p05_ms=leg.rtt_p05_ms,
        rtt_p95_ms=leg.rtt_p95_ms,
        rtt_p99_low_ms=leg.rtt_p99_low_ms,
        rtt_p99_high_ms=leg.rtt_p99_high_ms,
        up_p10_bps=leg.up_p10_bps or 0.0,
        down_p10_bps=leg.down_p10_bps or 0.0,
        round_trips=link_pb2.Sketch(
            accuracy=ACCURACY,
            keys=leg.round_trips.keys,
            counts=leg.round_trips.counts,
            least_ms=leg.round_trips.least_ms,
            worst_ms=leg.round_trips.worst_ms,
        ),
    )


def bins_of(message: link_pb2.Sketch) -> Bins:
    """Raises ValueError for a sketch of another accuracy; what else is wrong with it shows when it is taken."""
    if message.accuracy != ACCURACY:
        raise ValueError(f"accuracy {message.accuracy}, which merges with none of {ACCURACY}")
    return Bins(tuple(message.keys), tuple(message.counts), message.least_ms, message.worst_ms)
