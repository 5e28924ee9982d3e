"""Whether an estimate says something that the one told before it does not."""

from workers.probe.legs import LegEstimate

RATIO, LEAST_MS = 1.1, 0.3  # of a round trip: less moves no decision
BPS_RATIO = 1.25
MORE_SAMPLES = 2.0  # as many narrow the interval of the p99 by so much that it matters


def is_news(told: LegEstimate | None, now: LegEstimate) -> bool:
    if told is None or (told.source, told.target, told.method) != (now.source, now.target, now.method):
        return True
    if now.samples >= MORE_SAMPLES * told.samples:
        return True
    trips = (
        (told.rtt_p05_ms, now.rtt_p05_ms),
        (told.rtt_p50_ms, now.rtt_p50_ms),
        (told.rtt_p95_ms, now.rtt_p95_ms),
        (told.rtt_p99_ms, now.rtt_p99_ms),
        (told.rtt_p99_low_ms, now.rtt_p99_low_ms),
        (told.rtt_p99_high_ms, now.rtt_p99_high_ms),
    )
    bps = (
        (told.up_bps, now.up_bps),
        (told.down_bps, now.down_bps),
        (told.up_p10_bps, now.up_p10_bps),
        (told.down_p10_bps, now.down_p10_bps),
    )
    return any(_differ(*pair, RATIO, LEAST_MS) for pair in trips) or any(_differ(*p, BPS_RATIO, 0.0) for p in bps)


def _differ(before: float | None, now: float | None, ratio: float, least: float) -> bool:
    if before is None or now is None:
        return before is not now
    low, high = sorted((before, now))
    return high > ratio * low and high - low > least
