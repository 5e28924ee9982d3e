"""What gateways counted, once it was looked at: fronts by zone, nodes' agents on their own LAN."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.control.counting import CountedCalls
from orchestrator.control.refusals import MOST_NAME, Refusals
from orchestrator.model.ids import FrontName, NodeName, ServiceRef, SiteName, ZoneName
from protos.link.v1 import link_pb2

MOST_OUTCOMES = 512  # of one service at one site: minutes, at two reports a second
MOST_RPS = 1e6  # of one service in one zone, by one reporter
Key = TypeVar("Key", tuple[ServiceRef, ZoneName], tuple[ServiceRef, SiteName])


@dataclass(slots=True)
class _Totals:
    """What one boot of a node had counted when it last said so."""

    epoch: int
    at_s: float
    calls: dict[ServiceRef, int]
    failed: dict[ServiceRef, int]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Calls on a site's LAN between two reports of a node, and those of them that failed."""

    at_s: float
    calls: int
    failed: int


@dataclass(slots=True)
class ReportedDemand:
    """`counts_on` says of a node that it is attached and would have said if it had counted more."""

    refusals: Refusals
    counts_on: Callable[[NodeName], bool] = lambda node: False
    _by_zone: CountedCalls[tuple[ServiceRef, ZoneName]] = field(default_factory=CountedCalls)
    _by_site: CountedCalls[tuple[ServiceRef, SiteName]] = field(default_factory=CountedCalls)
    _counted_s: dict[FrontName, float] = field(default_factory=dict)  # up to when a front has said what it counted
    _totals: dict[NodeName, _Totals] = field(default_factory=dict)
    _outcomes: dict[tuple[ServiceRef, SiteName], deque[_Outcome]] = field(default_factory=dict)

    def front_attached(self, front: FrontName) -> None:
        """What it counted while it was away came over all that time, and its next report says over how long."""
        self._counted_s.pop(front, None)

    def front_reported(self, front: FrontName, report: link_pb2.FrontReport, now_s: float) -> None:
        """A front's counts are since its last report."""
        source, since_s = f"front/{front}", self._counted_s.get(front, now_s)
        for demand in report.demand:
            window_s = max(demand.window_ms, 1) / 1000
            service, zone = ServiceRef(demand.namespace, demand.service), ZoneName(demand.zone)
            reason = _impossible(service, zone, demand.calls, window_s)
            if reason is not None:
                self.refusals.add("demand", f"{source}: {service} in {zone}", reason, now_s)
                continue
            since_s = min(since_s, now_s - window_s) if front not in self._counted_s else since_s
            if demand.calls:
                self._count(self._by_zone, (service, zone), source, demand.calls, now_s - window_s, now_s)
        self._by_zone.heard(source, since_s, now_s)
        self._counted_s[front] = now_s

    def node_reported(self, node: NodeName, state: link_pb2.NodeState, now_s: float) -> None:
        """A node's totals, less what they were. The first that we hear says nothing of when those calls came."""
        source, site, before = f"node/{node}", SiteName(state.hello.site), self._totals.get(node)
        totals = {ServiceRef(one.namespace, one.service): one.calls for one in state.report.demand}
        failures = {ServiceRef(one.namespace, one.service): one.failed for one in state.report.demand}
        self._totals[node] = _Totals(state.hello.epoch, now_s, totals, failures)
        if before is None or now_s <= before.at_s:
            return
        same = before.epoch == state.hello.epoch
        earlier, failed_earlier = (before.calls, before.failed) if same else ({}, {})
        for service, total in totals.items():
            calls = total - earlier.get(service, 0)
            reason = _impossible(service, "", calls, now_s - before.at_s)
            if reason is not None:
                self.refusals.add("demand", f"{source}: {service} on its LAN", reason, now_s)
            elif calls:
                self._count(self._by_site, (service, site), source, calls, before.at_s, now_s)
                failed = min(max(failures[service] - failed_earlier.get(service, 0), 0), calls)
                self._outcomes.setdefault((service, site), deque(maxlen=MOST_OUTCOMES)).append(
                    _Outcome(now_s, calls, failed)
                )
        self._by_site.heard(source, before.at_s, now_s)

    def node_kept(
        self, node: NodeName, state: link_pb2.NodeState, kept: Iterable[link_pb2.KeptReport], now_s: float
    ) -> None:
        """Totals as they were while nobody heard the node: its calls count when they came."""
        for each in kept:
            at_s, before = now_s - each.age_ms / 1000, self._totals.get(node)
            if before is None or at_s > before.at_s:
                then = link_pb2.NodeState(hello=state.hello, report=each.report)
                self.node_reported(node, then, at_s)

    def by_zone_rps(self, now_s: float) -> dict[tuple[ServiceRef, ZoneName], float]:
        """What callers of fronts will ask for: the p95 of the next window's rate."""
        return self._by_zone.forecasts_rps(now_s)

    def by_site_rps(self, now_s: float) -> dict[tuple[ServiceRef, SiteName], float]:
        """The same of callers on the LAN of each site."""
        for node, totals in self._totals.items():
            if totals.calls and now_s > totals.at_s and self.counts_on(node):
                self._by_site.heard(f"node/{node}", totals.at_s, now_s)  # it has said all: there were no more
                totals.at_s = now_s
        return self._by_site.forecasts_rps(now_s)

    def outcomes(self, service: ServiceRef, since_s: float) -> dict[SiteName, tuple[int, int]]:
        """For each site the calls of its own LAN that were counted since then, and those of them that failed."""
        found: dict[SiteName, tuple[int, int]] = {}
        for (one, site), kept in self._outcomes.items():
            recent = [each for each in kept if each.at_s > since_s] if one == service else []
            if recent:
                found[site] = (sum(each.calls for each in recent), sum(each.failed for each in recent))
        return found

    def _count(
        self, counted: CountedCalls[Key], key: Key, source: str, calls: int, since_s: float, now_s: float
    ) -> None:
        try:
            counted.count(key, source, calls, since_s, now_s)
        except ValueError as err:
            self.refusals.add("demand", source, str(err), now_s)


def _impossible(service: ServiceRef, zone: str, calls: int, during_s: float) -> str | None:
    """Why a count is refused; None: it is not."""
    if not service.name or max(map(len, (service.namespace, service.name, zone))) > MOST_NAME:
        return f"names have 1 to {MOST_NAME} characters"
    if not 0 <= calls <= MOST_RPS * max(during_s, 1.0):
        return f"{calls} calls in {during_s:.1f} s are below 0 or above {MOST_RPS:g} a second"
    return None
