"""N+1: with any one site gone the others still carry all calls, over paths that the policy accepts."""

import math
from dataclasses import dataclass, field

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import Shortfall
from orchestrator.placement.candidates import Candidate
from orchestrator.placement.filling import NOTHING, Filling


@dataclass(slots=True)
class Survival:
    """Slack of one service, site by site that may be gone: replicas are opened, and room on links is kept free.

    The calls of the other sites stay where they are, so the loss moves no more than it must. What is lost is the
    site's replicas: its region's fronts go on.
    """

    filled: Filling
    lacking: dict[tuple[SiteName, ZoneName], float] = field(default_factory=dict)  # share of the zone's calls

    def reserve(self) -> None:
        for lost in sorted({site for _, site in self.filled.shares}):
            taken_rps: dict[SiteName, float] = {}
            for demand in self.filled.in_order():
                share = self.filled.shares.get((demand.zone, lost))
                if share is None:
                    continue
                left = self._move(demand.zone, lost, share * demand.rate_rps, taken_rps)
                if left is not None:
                    self.lacking[lost, demand.zone] = left / demand.rate_rps if demand.rate_rps > 0 else share

    def _move(self, zone: ZoneName, lost: SiteName, rate_rps: float, taken_rps: dict[SiteName, float]) -> float | None:
        """Calls per second that no other site can take over; None: all are taken. Open replicas take them first."""
        left_rps = rate_rps
        others = [candidate for candidate in self.filled.ranked_for(zone) if candidate.site.name != lost]
        served = False
        for candidate in sorted(
            others, key=lambda c: (c.site.name not in self.filled.replicas, not self.filled.wishes(c))
        ):
            took_rps = self._take(candidate, zone, lost, left_rps, taken_rps)
            served |= took_rps is not None
            left_rps -= took_rps or 0.0
            if served and left_rps <= rate_rps * NOTHING:
                return None
        return left_rps

    def _take(
        self, candidate: Candidate, zone: ZoneName, lost: SiteName, asked_rps: float, taken_rps: dict[SiteName, float]
    ) -> float | None:
        filled, site, arc = self.filled, candidate.site.name, candidate.arcs[zone]
        room_rps = filled.ledger.links.room_rps(arc.path, arc.demand, filled.service.policy.wan_bps_per_zone, lost)
        busy_rps = filled.used_rps.get(site, 0.0) + taken_rps.get(site, 0.0)
        goal_rps = busy_rps + min(asked_rps, room_rps)
        wanted = max(math.ceil(goal_rps / candidate.replica_rps - NOTHING), 1)
        have = filled.replicas.get(site, 0)
        count = have if have >= wanted else filled.allowed(candidate, wanted)[0]
        took_rps = min(goal_rps, count * candidate.replica_rps) - busy_rps
        if count == 0 or (asked_rps > 0 and took_rps <= asked_rps * NOTHING):
            return None
        filled.grow(site, count)
        taken_rps[site] = taken_rps.get(site, 0.0) + took_rps
        filled.ledger.links.keep_free(arc.path, arc.demand, took_rps, lost)
        return took_rps

    def shortfalls(self) -> list[Shortfall]:
        return [
            Shortfall(
                rule="replicas.survive_site_losses",
                actual=1 - share,
                wanted=1.0,
                unit="of the zone's calls",
                detail=f"without {lost} nobody takes {share:.0%} of zone {zone}'s calls: offer another site within the "
                "policy's limits, or raise replicas.max and cost.max_usd_per_hour",
            )
            for (lost, zone), share in sorted(self.lacking.items())
        ]
