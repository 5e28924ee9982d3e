"""The cheapest single change under which a demand that nobody serves would be served, verified by planning under it.

The options come from the refusals (`options/`), cheapest first by an estimate. Each is planned with the least of its
figures; where that serves not all, with the greatest; and where that serves more, with those between, halving. Of the
cheapest that was verified, lower figures are planned until one is found below which it no longer serves.
"""

from dataclasses import dataclass, field

from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.relaxation import Relaxation
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, Snapshot
from orchestrator.model.specs import ServiceSpec
from orchestrator.placement.costs import unserved_usd_per_hour
from orchestrator.placement.options import Effort, Lost, Option, lost_of, options
from orchestrator.placement.options.figures import before, up
from orchestrator.placement.placing import place

# Plans made for one demand, beside the one that it was not served by: so many times a plan takes the answer at most.
# Twice the options that a demand meets in the tests' worlds, with the halving for two or three of them.
TRIALS = 80
# Of these kept for lowering the figure of the best: a decade of two-digit figures is halved seven times.
LOWERING = 16
NOTHING = 1e-6  # of a zone's calls: shares are sums of floating-point numbers


def cheapest_relaxation(
    snapshot: Snapshot,
    settings: PlacementSettings,
    seed: int,
    service: ServiceRef,
    zone: ZoneName,
    now: Decision | None = None,
    trials: int = TRIALS,
) -> Relaxation | None:
    """For calls of that zone that nobody serves. None: no single change that was tried serves more of them.

    Only changes under which no other demand loses calls count: first those that serve most, of these the cheapest;
    what the law must allow comes last. `now`: what `place` answers, where it is known.
    """
    now = now or place(snapshot, settings, seed)
    spec = next((one for one in snapshot.services if one.ref == service), None)
    decided = next((one for one in now.services if one.service == service), None)
    left = next((one for one in decided.unserved if one.zone == zone), None) if decided else None
    if spec is None or decided is None or left is None:
        return None
    lost = lost_of(snapshot, settings, spec, now, left)
    search = _Search(lost, seed, now, trials)
    best: _Found | None = None
    for option in options(lost):
        if search.left <= search.kept:
            break
        found = search.least(option)
        if found is not None and (best is None or found.rank < best.rank):
            best = found
    return None if best is None else _relaxation(search.lowered(best), lost)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a changed snapshot's plan brings."""

    serves: float
    sites: tuple[SiteName, ...]
    usd_per_hour: float
    billed_usd_per_hour: float
    unserved_usd_per_hour: float


@dataclass(frozen=True, slots=True)
class _Found:
    option: Option
    figure: float
    outcome: _Outcome

    @property
    def rank(self) -> tuple[bool, float, float, Effort, float]:
        option, outcome = self.option, self.outcome
        legal = option.effort is Effort.LAW
        return legal, -round(outcome.serves, 6), round(outcome.usd_per_hour, 9), option.effort, self.figure


@dataclass(slots=True)
class _Search:
    lost: Lost
    seed: int
    now: Decision
    left: int  # trials
    kept: int = field(init=False)  # of these, for `lowered`
    _unserved: dict[tuple[ServiceRef, ZoneName], float] = field(init=False)

    def __post_init__(self) -> None:
        self._unserved = _unserved(self.now)
        self.kept = min(LOWERING, self.left // 4)

    def least(self, option: Option) -> _Found | None:
        """The least of the option's figures that serves as much as any of them does."""
        figures = option.figures
        first = self._try(option, figures[0])
        if len(figures) == 1 or (first is not None and first.outcome.serves >= self.lost.share - NOTHING):
            return first
        best = self._try(option, figures[-1])
        if best is None or (first is not None and best.outcome.serves <= first.outcome.serves + NOTHING):
            return first
        wanted, low, high = best.outcome.serves - NOTHING, 0, len(figures) - 1
        while high - low > 1 and self.left > self.kept:
            middle = (low + high) // 2
            found = self._try(option, figures[middle])
            if found is not None and found.outcome.serves >= wanted:
                best, high = found, middle
            else:
                low = middle
        return best

    def lowered(self, best: _Found) -> _Found:
        """With the least figure that still serves as much: a smaller variant may do with less than the best one."""
        option, wanted = best.option, best.outcome.serves - NOTHING
        if option.least is None:
            return best
        low, figure = option.least, before(best.figure, option.whole)
        while figure > low and self.left > 0:
            found = self._try(option, figure)
            if found is not None and found.outcome.serves >= wanted:
                best = found
            else:
                low = figure
            figure = min(up((low + best.figure) / 2, option.whole), before(best.figure, option.whole))
        return best

    def _try(self, option: Option, figure: float) -> _Found | None:
        if self.left <= 0:
            return None
        self.left -= 1
        then = place(option.change(figure), self.lost.settings, self.seed)
        outcome = self._outcome(then)
        return None if outcome is None else _Found(option, figure, outcome)

    def _outcome(self, then: Decision) -> _Outcome | None:
        """None: it does not serve this demand better, or another one worse."""
        mine = (self.lost.service.ref, self.lost.demand.zone)
        after = _unserved(then)
        serves = self.lost.share - after.get(mine, 0.0)
        worse = any(share > self._unserved.get(key, 0.0) + NOTHING for key, share in after.items() if key != mine)
        if worse or serves <= NOTHING:
            return None
        services = {one.ref: one for one in self.lost.snapshot.services}
        return _Outcome(
            serves=serves,
            sites=_takers(self.now, then, *mine),
            usd_per_hour=_served_usd_per_hour(then) - _served_usd_per_hour(self.now),
            billed_usd_per_hour=_billed_usd_per_hour(then) - _billed_usd_per_hour(self.now),
            unserved_usd_per_hour=_lost_usd_per_hour(after, services) - _lost_usd_per_hour(self._unserved, services),
        )


def _unserved(decision: Decision) -> dict[tuple[ServiceRef, ZoneName], float]:
    return {(one.service, left.zone): left.share for one in decision.services for left in one.unserved}


def _served_usd_per_hour(decision: Decision) -> float:
    return sum(one.costs.total - one.costs.unserved for one in decision.services)


def _billed_usd_per_hour(decision: Decision) -> float:
    return sum(one.costs.replicas + one.costs.egress for one in decision.services)


def _lost_usd_per_hour(
    unserved: dict[tuple[ServiceRef, ZoneName], float], services: dict[ServiceRef, ServiceSpec]
) -> float:
    """At the prices of the policies as they are: a change may be of that price."""
    total = 0.0
    for (service, zone), share in sorted(unserved.items()):
        rates = {demand.zone: demand.rate_rps for demand in services[service].demands}
        total += unserved_usd_per_hour(share * rates[zone], services[service].policy)
    return total


def _takers(now: Decision, then: Decision, service: ServiceRef, zone: ZoneName) -> tuple[SiteName, ...]:
    """Sites that serve more of the zone's calls than before."""
    earlier, later = (
        {share.site: share.share for share in _of(decision, service).shares if share.zone == zone}
        for decision in (now, then)
    )
    return tuple(sorted(site for site, share in later.items() if share > earlier.get(site, 0.0) + NOTHING))


def _of(decision: Decision, service: ServiceRef) -> ServiceDecision:
    return next(one for one in decision.services if one.service == service)


def _relaxation(found: _Found, lost: Lost) -> Relaxation:
    option, outcome = found.option, found.outcome
    left = max(lost.share - outcome.serves, 0.0)
    left = left if left > NOTHING else 0.0
    what = "it" if not left else f"{outcome.serves:.0%} of the zone's calls more"
    where = f" at {', '.join(outcome.sites)}" if outcome.sites else ""
    return Relaxation(
        field=option.field,
        object=option.object,
        before=option.before,
        after=option.after(found.figure),
        unit=option.unit,
        serves=outcome.serves,
        left=left,
        sites=outcome.sites,
        usd_per_hour=outcome.usd_per_hour,
        billed_usd_per_hour=outcome.billed_usd_per_hour,
        unserved_usd_per_hour=outcome.unserved_usd_per_hour,
        legal=option.effort is Effort.LAW,
        sentence=f"{option.said(found.figure)} would serve {what}{where} {_price(outcome.usd_per_hour)}",
    )


def _price(usd_per_hour: float) -> str:
    if abs(usd_per_hour) < 5e-7:
        return "at no further cost"
    size = abs(usd_per_hour)
    return f"for {f'{size:.0f}' if size >= 100 else f'{size:.2g}'} USD/h {'more' if usd_per_hour > 0 else 'less'}"
