"""Counts what callers asked for, refused and failed calls too: the planner needs the demand, not what was served."""

from dataclasses import dataclass

import grpc

from workers.gateway.choice import ServiceKey

# The caller's own doing: says nothing against the service.
CALLERS_FAULT = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED}
)


@dataclass(frozen=True, slots=True)
class Demand:
    """Of one zone's callers for one service, since the last time it was drained."""

    namespace: str
    service: str
    zone: str
    calls: int
    failed: int
    request_bytes: int
    response_bytes: int
    window_ms: int


@dataclass(slots=True)
class _Counts:
    calls: int = 0
    failed: int = 0
    request_bytes: int = 0
    response_bytes: int = 0


class DemandCounter:
    """Only services of the route table are counted, so the keys are bounded by what operators wrote."""

    def __init__(self, now_s: float) -> None:
        self._counts: dict[tuple[ServiceKey, str], _Counts] = {}
        self._since_s = now_s

    def offered(self, service: ServiceKey, zone: str, request_bytes: int) -> None:
        """A call came, whatever comes of it: one that waits for half a minute is demand of now, not of then."""
        counts = self._of(service, zone)
        counts.calls += 1
        counts.request_bytes += request_bytes

    def ended(self, service: ServiceKey, zone: str, response_bytes: int, failed: bool) -> None:
        """It may have been offered before the last drain."""
        counts = self._of(service, zone)
        counts.failed += failed
        counts.response_bytes += response_bytes

    def _of(self, service: ServiceKey, zone: str) -> _Counts:
        counts = self._counts.get((service, zone))
        if counts is None:
            counts = self._counts[(service, zone)] = _Counts()
        return counts

    def drain(self, now_s: float) -> list[Demand]:
        """What was counted since the last drain, and starts anew."""
        window_ms = max(1, round((now_s - self._since_s) * 1000))
        drained, self._counts, self._since_s = self._counts, {}, now_s
        return [
            Demand(key.namespace, key.service, zone, c.calls, c.failed, c.request_bytes, c.response_bytes, window_ms)
            for (key, zone), c in sorted(drained.items(), key=lambda item: item[0])
        ]
