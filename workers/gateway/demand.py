"""Counts what callers asked for, refused and failed calls too: the planner needs the demand, not what was served."""

from dataclasses import dataclass

from workers.gateway.choice import ServiceKey


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

    def count(self, service: ServiceKey, zone: str, request_bytes: int, response_bytes: int, failed: bool) -> None:
        counts = self._counts.get((service, zone))
        if counts is None:
            counts = self._counts[(service, zone)] = _Counts()
        counts.calls += 1
        counts.failed += failed
        counts.request_bytes += request_bytes
        counts.response_bytes += response_bytes

    def drain(self, now_s: float) -> list[Demand]:
        """What was counted since the last drain, and starts anew."""
        window_ms = max(1, round((now_s - self._since_s) * 1000))
        drained, self._counts, self._since_s = self._counts, {}, now_s
        return [
            Demand(key.namespace, key.service, zone, c.calls, c.failed, c.request_bytes, c.response_bytes, window_ms)
            for (key, zone), c in sorted(drained.items(), key=lambda item: item[0])
        ]
