"""What the front knows of this node, and what it should be told next.

One report is on its way at a time, and the next says what changed since then: a front that reads slowly is told less
often, and nothing piles up. Fronts that do not know changes are sent every report whole.

While no front is attached, what would have been reported is kept, in memory: a reboot loses no state by it, only the
history of one outage, and flash is not worn by what is seldom read. When there is no more room, every second report
goes, so that what is kept spans the whole outage, ever more coarsely.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from protos.link.v1 import link_pb2 as pb
from workers.edge.assignment import Report
from workers.edge.wire import demand_to, report_to, state_to, usage_to
from workers.probe.legs import LegEstimate
from workers.probe.news import is_news
from workers.probe.wire import leg_message

MOST_KEPT = 64
MOST_KEPT_BYTES = 128 << 10
KEPT_EVERY_S = 10.0  # at least between two that tell of calls alone
LATE = 2.5  # rests without a sample: the leg is not measured any more

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    number: int
    sent_s: float
    report: Report  # as the front will know it, once it is taken
    kept: int  # how many of those kept it brings


class Reports:
    """One node's reports over all its attachments. Times are of a steady clock."""

    def __init__(self) -> None:
        self._made: Report | None = None
        self._new = False  # `_made` was not sent to a front that takes whole ones
        self._told: Report | None = None  # None: the next one is whole
        self._under_way: _UnderWay | None = None
        self._number, self._deltas, self._rest_s = 0, False, 0.0
        self._attached = False
        self._kept: list[tuple[float, Report]] = []

    def opened(self, deltas: bool, rest_s: float) -> None:
        """A front is attached. `rest_s`: between two probes at rest; 0: each sample is told."""
        self._attached, self._deltas, self._rest_s = True, deltas, rest_s
        self._told, self._under_way, self._number, self._new = None, None, 0, True

    def lost(self) -> None:
        self._attached = False

    def made(self, report: Report, now_s: float) -> None:
        """The node's whole state; the newest replaces one that was not sent."""
        self._made, self._new = report, True
        if not self._attached:
            self._keep(report, now_s)

    def next(self, now_s: float) -> pb.NodeReport | None:
        """None: there is nothing to say, or a report is on its way."""
        if self._made is None or self._under_way is not None:
            return None
        if not self._deltas:
            report, self._new = (report_to(self._made) if self._new else None), False
            return report
        message = self._whole(now_s) if self._told is None else delta(self._told, self._made, self._rest_s)
        if message is None:
            return None
        self._number += 1
        message.number = self._number
        # Legs that were no news stay as they were told, lest many small steps become a large one that nobody hears of.
        legs = self._made.legs if message.legs or self._told is None else self._told.legs
        self._under_way = _UnderWay(self._number, now_s, replace(self._made, legs=legs), len(message.kept))
        return message

    def unanswered_s(self, now_s: float) -> float:
        """How long the report that is on its way has been so; 0: none is."""
        return 0.0 if self._under_way is None else now_s - self._under_way.sent_s

    def taken(self, answer: pb.ReportTaken) -> None:
        under_way = self._under_way
        if under_way is None or under_way.number != answer.number:
            return
        self._under_way = None
        del self._kept[: under_way.kept]
        if answer.refused:
            _log.warning("the front refused a report; serving on", extra={"reason": answer.refused})
        # What was refused for what it holds is not sent again: only what changes after it.
        self._told = None if answer.whole else under_way.report

    def _whole(self, now_s: float) -> pb.NodeReport | None:
        assert self._made is not None
        message = report_to(self._made)
        message.legs_hold_ms = hold_ms(self._made.legs, self._rest_s)
        message.kept.extend(_kept_message(at_s, report, now_s) for at_s, report in self._kept)
        return message

    def _keep(self, report: Report, now_s: float) -> None:
        """What differs in its replicas, or in its calls and is not too soon after."""
        if self._kept:
            at_s, last = self._kept[-1]
            same = (last.held_revision, last.replicas) == (report.held_revision, report.replicas)
            if same and (last.demand == report.demand or now_s - at_s < KEPT_EVERY_S):
                return
        self._kept.append((now_s, report))
        while len(self._kept) > MOST_KEPT or _size_bytes(self._kept) > MOST_KEPT_BYTES:
            self._kept = self._kept[-1:] if len(self._kept) < 3 else self._kept[::-1][::2][::-1]  # the newest stays
            if len(self._kept) == 1:
                return


def delta(told: Report, now: Report, rest_s: float) -> pb.NodeReport | None:
    """What changed; None: nothing that matters."""
    before = {each.replica: each for each in told.replicas}
    replicas = [each for each in now.replicas if before.get(each.replica) != each]
    gone = sorted(before.keys() - {each.replica for each in now.replicas})
    counted = {(each.namespace, each.service): each for each in told.demand}
    demand = [each for each in now.demand if counted.get((each.namespace, each.service)) != each]
    legs = now.legs if _legs_news(told.legs, now.legs, rest_s) else ()
    usage = now.usage if now.usage != told.usage else None
    if not (replicas or gone or demand or legs or usage) and told.held_revision == now.held_revision:
        return None
    return pb.NodeReport(
        delta=True,
        held_revision=now.held_revision,
        replicas=[state_to(each) for each in replicas],
        gone=gone,
        demand=[demand_to(each) for each in demand],
        legs=[leg_message(leg) for leg in legs],
        legs_hold_ms=hold_ms(legs, rest_s),
        usage=None if usage is None else usage_to(usage),
    )


def hold_ms(legs: Sequence[LegEstimate], rest_s: float) -> int:
    """How old they are at most while nothing else is said; 0: they grow older."""
    late = any(leg.newest_age_s > LATE * rest_s for leg in legs)
    return 0 if late or not legs else round(1000 * rest_s)


def _legs_news(told: Sequence[LegEstimate], now: Sequence[LegEstimate], rest_s: float) -> bool:
    if not rest_s:
        return bool(now) and told != now
    before = {(leg.source, leg.target): leg for leg in told}
    held = hold_ms(told, rest_s) == hold_ms(now, rest_s)
    return bool(now) and (not held or any(is_news(before.get((leg.source, leg.target)), leg) for leg in now))


def _kept_message(at_s: float, report: Report, now_s: float) -> pb.KeptReport:
    message = report_to(replace(report, legs=(), usage=None))
    return pb.KeptReport(age_ms=max(0, round(1000 * (now_s - at_s))), report=message)


def _size_bytes(kept: Sequence[tuple[float, Report]]) -> int:
    """About; more than half of it is the replicas' reasons where there are any."""
    return sum(100 + sum(200 + len(each.reason) for each in report.replicas) for _, report in kept)
