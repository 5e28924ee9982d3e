"""What would help the demands of a service that nobody serves: computed when somebody asks, within a time."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from orchestrator.clock import Clock
from orchestrator.control.placing import SEED, Judgement
from orchestrator.model.ids import ServiceRef
from orchestrator.model.relaxation import Remedy
from orchestrator.model.snapshot import Unserved
from orchestrator.model.specs import ServiceSpec
from orchestrator.placement.binding import binding
from orchestrator.placement.relaxing import TRIALS, cheapest_relaxation

# One at a time, apart from the threads that the loops use: who asks often waits, and no lease does.
RELAXING = ThreadPoolExecutor(1, "relaxing")
LIMIT_S = 60.0  # of one answer; the command waits for more than twice that


async def remedies(judgement: Judgement, service: ServiceRef, clock: Clock) -> tuple[Remedy, ...]:
    """For each zone with unserved calls, and for each that a limit with a price stands in the way of."""
    spec = next(one for one in judgement.snapshot.services if one.ref == service)
    found = asyncio.get_running_loop().run_in_executor(RELAXING, lambda: tuple(_remedies(judgement, spec, clock)))
    return await found


def _remedies(judgement: Judgement, spec: ServiceSpec, clock: Clock) -> Iterator[Remedy]:
    """Where most calls are lost first: there may be more zones than there is time for."""
    decided = next(one for one in judgement.decision.services if one.service == spec.ref)
    left = {one.zone: one for one in decided.unserved}
    until_s = clock.now_s() + LIMIT_S

    def lost_rps(zone: Unserved) -> float:
        return zone.share * next(demand.rate_rps for demand in spec.demands if demand.zone == zone.zone)

    snapshot, settings = judgement.snapshot, judgement.settings
    limits = {
        demand.zone: binding(judgement.decision.prices, spec, demand, snapshot.sites, snapshot.paths, settings)
        for demand in spec.demands
    }
    for one in sorted(left.values(), key=lambda one: (-lost_rps(one), one.zone)):
        trials = min(max(int((until_s - clock.now_s()) / max(judgement.took_s, 1e-3)), 0), TRIALS)
        found = cheapest_relaxation(snapshot, settings, SEED, spec.ref, one.zone, judgement.decision, trials)
        yield Remedy(one.zone, one.share, found, trials, limits[one.zone])
    for zone, limit in sorted(limits.items()):
        if limit is not None and zone not in left:
            yield Remedy(zone, 0.0, None, 0, limit)
