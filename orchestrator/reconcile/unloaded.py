"""Legs as they would be without our own calls in their queues."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from orchestrator.model.legs import Leg
from orchestrator.model.snapshot import Decision, Snapshot

# Of a leg's throughput. Below it the p99 of the waiting is less than four messages long (M/M/1), and what else makes
# the leg slow now and then is not our doing.
BUSY = 0.2
_Use: TypeAlias = Mapping[tuple[str, str], float]


def unloaded(snapshot: Snapshot, running: Decision) -> Snapshot:
    """Of legs that our calls make busy only the distance, which is what their quickest round trips took.

    One sample in twenty finds the queue empty unless a link is used to more than 0.95. A leg whose throughput or
    quickest round trips nobody measured stays as it is.
    """
    use = _use(snapshot, running)
    paths = tuple(replace(path, legs=tuple(_unloaded(leg, use) for leg in path.legs)) for path in snapshot.paths)
    return replace(snapshot, paths=paths)


def _use(snapshot: Snapshot, running: Decision) -> _Use:
    """The part of each leg's throughput that the calls take that go over it now, in the fuller direction."""
    shares = {(s.service, one.zone, one.site): one.share for s in running.services for one in s.shares}
    used: dict[tuple[str, str], float] = {}
    for service in snapshot.services:
        for demand in service.demands:
            for path in snapshot.paths:
                share = shares.get((service.ref, path.zone, path.site), 0.0) if path.zone == demand.zone else 0.0
                for leg, (request_bps, response_bps) in zip(path.legs, path.legs_bps, strict=True) if share > 0 else ():
                    part = max(_part(demand.request_bytes, request_bps), _part(demand.response_bytes, response_bps))
                    ends = (leg.source, leg.target)
                    used[ends] = used.get(ends, 0.0) + demand.rate_rps * share * part
    return used


def _part(call_bytes: int, bps: float | None) -> float:
    """Of a second's throughput, what one call takes one way."""
    return 8 * call_bytes / bps if bps else 0.0


def _unloaded(leg: Leg, use: _Use) -> Leg:
    if leg.rtt_p05_ms is None or use.get((leg.source, leg.target), 0.0) < BUSY:
        return leg
    return replace(
        leg,
        rtt_p50_ms=leg.rtt_p05_ms,
        rtt_p95_ms=leg.rtt_p05_ms,
        rtt_p99_ms=leg.rtt_p05_ms,
        rtt_p99_low_ms=leg.rtt_p05_ms,
        rtt_p99_high_ms=leg.rtt_p05_ms,
    )
