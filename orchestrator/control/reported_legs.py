"""What reports say of legs, once it was looked at: a broken or hostile prober must not reach the planner."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.control.refusals import MOST_NAME
from orchestrator.model.legs import Leg
from protos.link.v1 import link_pb2
from workers.probe.bounds import SHARE
from workers.probe.legs import MAX_AGE_S, quantile, round_trips_of
from workers.probe.sketch import MOST_MS, MOST_SAMPLES, RttSketch
from workers.probe.wire import bins_of

MOST_BPS = 1e12  # a terabit each second: more than any one connection takes
FURTHEST_END = 100.0  # times MOST_MS: an upper end may lie far beyond the worst sample, but not at infinity


@dataclass(frozen=True, slots=True)
class Reported:
    """An accepted estimate. `elapsed_s`: since it was received; `live`: its prober still reports."""

    leg: link_pb2.LegEstimate
    elapsed_s: float
    live: bool = True

    @property
    def age_s(self) -> float:
        return self.leg.newest_age_ms / 1000 + self.elapsed_s


def objection(leg: link_pb2.LegEstimate, source: str) -> str | None:
    """Why an estimate is refused; `source` is the only end that its reporter may measure from. None: it is not."""
    if leg.source != source:
        return f"source {leg.source[:MOST_NAME]!r} is not the reporter's own, {source!r}"
    if not 0 < len(leg.target) <= MOST_NAME:
        return f"target has {len(leg.target)} characters"
    if not 0 < leg.samples <= MOST_SAMPLES:
        return f"samples {leg.samples} is not 1 to {MOST_SAMPLES}"
    # Each comparison is false for NaN.
    if not 0 < leg.rtt_p50_ms <= leg.rtt_p99_ms <= MOST_MS:
        return f"rtt_p50_ms {leg.rtt_p50_ms}, rtt_p99_ms {leg.rtt_p99_ms} do not rise from above 0 to {MOST_MS:g}"
    if leg.rtt_p05_ms and not 0 < leg.rtt_p05_ms <= leg.rtt_p50_ms:
        return f"rtt_p05_ms {leg.rtt_p05_ms} is not above 0 and at most rtt_p50_ms"
    if leg.rtt_p95_ms and not leg.rtt_p50_ms <= leg.rtt_p95_ms <= leg.rtt_p99_ms:
        return f"rtt_p95_ms {leg.rtt_p95_ms} is not between rtt_p50_ms and rtt_p99_ms"
    if leg.rtt_p99_low_ms and not 0 < leg.rtt_p99_low_ms <= leg.rtt_p99_ms:
        return f"rtt_p99_low_ms {leg.rtt_p99_low_ms} is not above 0 and at most rtt_p99_ms"
    if leg.rtt_p99_high_ms and not leg.rtt_p99_ms <= leg.rtt_p99_high_ms <= FURTHEST_END * MOST_MS:
        return f"rtt_p99_high_ms {leg.rtt_p99_high_ms} is not rtt_p99_ms or more, and finite"
    for way, bps, low_bps in (("up", leg.up_bps, leg.up_p10_bps), ("down", leg.down_bps, leg.down_p10_bps)):
        if not 0 <= low_bps <= bps <= MOST_BPS:
            return f"{way}_p10_bps {low_bps}, {way}_bps {bps} do not rise from 0 to {MOST_BPS:g}"
    return None


def legs_of(reports: Sequence[Reported]) -> list[Leg]:
    """One leg's estimates as one, where their sketches merge; else as they are: of these the newest counts.

    Several nodes of one site measure the same leg. What a node measured before it fell silent does not count beside one
    that measures now, nor does what is older than any window reaches. Nor, beside sketches, an estimate without one.
    """
    live = [each for each in reports if each.live] or list(reports)
    newest_s = min(each.age_s for each in live)
    together = [each for each in live if each.age_s - newest_s <= MAX_AGE_S]
    if len(together) == 1:
        return [_leg(together[0])]
    sketch, taken = RttSketch(), []
    for each in sorted(together, key=lambda each: (each.age_s, repr(each.leg))):
        # One of another accuracy, or that no samples made, is left out: it spoils no other.
        with contextlib.suppress(ValueError):
            sketch.take(bins_of(each.leg.round_trips))
            taken.append(each)
    return [_merged(taken, sketch)] if taken else [_leg(each) for each in together]


def _merged(reports: Sequence[Reported], sketch: RttSketch) -> Leg:
    """`reports`: newest first. Throughput: the median of the medians, the least of the lows."""
    trips, legs = round_trips_of(sketch), [_leg(each) for each in reports]
    return replace(
        legs[0],
        rtt_p50_ms=trips.p50_ms,
        rtt_p05_ms=trips.p05_ms,
        rtt_p95_ms=trips.p95_ms,
        rtt_p99_ms=trips.p99_ms,
        rtt_p99_low_ms=trips.p99_low_ms,
        rtt_p99_high_ms=trips.p99_high_ms,
        samples=trips.samples,
        up_bps=_at(0.5, [leg.up_bps for leg in legs]),
        down_bps=_at(0.5, [leg.down_bps for leg in legs]),
        up_p10_bps=_at(0.0, [leg.up_p10_bps for leg in legs]),
        down_p10_bps=_at(0.0, [leg.down_p10_bps for leg in legs]),
    )


def _at(share: float, measured_bps: Sequence[float | None]) -> float | None:
    """Who has not measured says nothing against those who did."""
    known = [bps for bps in measured_bps if bps]
    return quantile(known, share) if known else None


def _leg(reported: Reported) -> Leg:
    """An older prober's p99 is wider by the chance that all its samples lie below the link's, as for few samples."""
    leg = reported.leg
    return Leg(
        source=leg.source,
        target=leg.target,
        rtt_p50_ms=leg.rtt_p50_ms,
        rtt_p99_ms=leg.rtt_p99_ms,
        up_bps=leg.up_bps or None,
        down_bps=leg.down_bps or None,
        samples=leg.samples,
        age_s=reported.age_s,
        method=leg.method,
        rtt_p05_ms=leg.rtt_p05_ms or None,
        rtt_p95_ms=leg.rtt_p95_ms or None,
        rtt_p99_low_ms=leg.rtt_p99_low_ms or None,
        rtt_p99_high_ms=leg.rtt_p99_high_ms or leg.rtt_p99_ms * (1 + math.pow(SHARE, leg.samples)),
        up_p10_bps=leg.up_p10_bps or None,
        down_p10_bps=leg.down_p10_bps or None,
    )
