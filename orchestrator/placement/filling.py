"""Demand given to candidates: the first form, greedy. One service at a time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import Refusal
from orchestrator.model.specs import DemandSpec, ServiceSpec
from orchestrator.placement.candidates import Candidate, Rank
from orchestrator.placement.ledger import Ledger
from orchestrator.placement.rules import Objection

# Below this part of a zone's calls nothing is left to place: sums of shares are not exact.
NOTHING = 1e-9


@dataclass(slots=True)
class Filling:
    """Replicas and shares of one service while they are handed out.

    Each zone's calls go to its best site as far as that carries them, and the rest to the next. Sites that only
    `replicas.min` or `min_failure_domains` asks for stand by with a share of 0: calls reach them when others fail.
    """

    service: ServiceSpec
    candidates: Mapping[SiteName, Candidate]
    ledger: Ledger
    replicas: dict[SiteName, int] = field(default_factory=dict)
    used_rps: dict[SiteName, float] = field(default_factory=dict)
    shares: dict[tuple[ZoneName, SiteName], float] = field(default_factory=dict)
    left: dict[ZoneName, float] = field(default_factory=dict)  # share of a zone's calls that nobody took
    stopped: dict[tuple[SiteName, ZoneName | None], Objection] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.replicas.values())

    @property
    def usd_per_hour(self) -> float:
        return sum(n * self.candidates[site].replica_usd_per_hour for site, n in sorted(self.replicas.items()))

    @property
    def domains(self) -> frozenset[str]:
        return frozenset(self.candidates[site].site.failure_domain for site in self.replicas)

    @property
    def domains_wanted(self) -> int:
        """As many as the policy asks for and the candidates lie in."""
        there = {candidate.site.failure_domain for candidate in self.candidates.values()}
        return min(self.service.policy.min_failure_domains, len(there))

    def serve(self) -> None:
        """All zones, those with the fewest sites to go to first: they open what others can then share."""
        options = {d.zone: sum(d.zone in c.arcs for c in self.candidates.values()) for d in self.service.demands}
        for demand in sorted(self.service.demands, key=lambda d: (options[d.zone], -d.rate_rps, d.zone)):
            self._serve_zone(demand)

    def _serve_zone(self, demand: DemandSpec) -> None:
        left = 1.0
        for candidate in self._ranked_for(demand.zone):
            if left <= NOTHING:
                break
            took = self._give(candidate, demand, left)
            if took is not None:
                self.shares[demand.zone, candidate.site.name] = took
                left -= took
        self.left[demand.zone] = left if left > NOTHING else 0.0

    def _give(self, candidate: Candidate, demand: DemandSpec, left: float) -> float | None:
        """The share that the candidate takes of what is left; None: nothing, and the reason is noted."""
        site, arc, rate_rps = candidate.site.name, candidate.arcs[demand.zone], demand.rate_rps * left
        room_rps = self.ledger.room_rps(arc.path, demand, self.service.policy.wan_bps_per_zone)
        if room_rps < rate_rps:
            self.stopped[site, demand.zone] = _narrow(candidate, demand, rate_rps, room_rps)
        used_rps = self.used_rps.get(site, 0.0)
        goal_rps = used_rps + min(rate_rps, room_rps)
        wanted = max(math.ceil(goal_rps / candidate.replica_rps - NOTHING), 1)
        if room_rps <= 0 < rate_rps:
            return None
        count, objection = self._allowed(candidate, wanted)
        if objection is not None:
            self.stopped[site, demand.zone] = objection
        took_rps = min(goal_rps, count * candidate.replica_rps) - used_rps
        if count == 0 or (rate_rps > 0 and took_rps <= rate_rps * NOTHING):
            return None
        self.replicas[site] = max(count, self.replicas.get(site, 0))
        self.used_rps[site] = used_rps + took_rps
        self.ledger.send(arc.path, demand, took_rps)
        return left if rate_rps <= 0 or took_rps >= rate_rps else left * took_rps / rate_rps

    def stand_by(self) -> None:
        """Replicas that the policy wants beyond those that the demand needs: new failure domains, then new sites."""
        policy = self.service.policy
        while self.total < policy.replicas_min or len(self.domains) < self.domains_wanted:
            if not any(self._open(candidate) for candidate in self._ranked_to_stand_by()):
                return

    def _open(self, candidate: Candidate) -> bool:
        site = candidate.site.name
        wanted = self.replicas.get(site, 0) + 1
        count, objection = self._allowed(candidate, wanted)
        if count < wanted:
            if objection is not None:
                self.stopped.setdefault((site, None), objection)
            return False
        self.replicas[site] = count
        return True

    def _ranked_for(self, zone: ZoneName) -> list[Candidate]:
        gain = self.service.policy.min_gain
        able = [candidate for candidate in self.candidates.values() if zone in candidate.arcs]
        return sorted(able, key=lambda candidate: candidate.rank(candidate.arcs[zone].cost_ms, gain))

    def ranked(self) -> list[Candidate]:
        """By cost over all zones that a site can serve."""
        gain = self.service.policy.min_gain
        return sorted(self.candidates.values(), key=lambda candidate: candidate.rank(candidate.cost_ms, gain))

    def _ranked_to_stand_by(self) -> list[Candidate]:
        domains, gain = self.domains, self.service.policy.min_gain
        lacking = len(domains) < self.domains_wanted

        def order(candidate: Candidate) -> tuple[bool, int, Rank]:
            same_domain = lacking and candidate.site.failure_domain in domains
            return same_domain, self.replicas.get(candidate.site.name, 0), candidate.rank(candidate.cost_ms, gain)

        ranked = sorted(self.candidates.values(), key=order)
        if lacking and self.total >= self.service.policy.replicas_min:
            # Enough replicas, too few domains: one more in a known domain would not help.
            return [candidate for candidate in ranked if candidate.site.failure_domain not in domains]
        return ranked

    def _allowed(self, candidate: Candidate, wanted: int) -> tuple[int, Objection | None]:
        """Of `wanted` replicas in all at a site as many as site and policy bear, and what stands against the rest."""
        have = self.replicas.get(candidate.site.name, 0)
        bounds = [(candidate.fit, candidate.full), self._by_count(candidate, have), self._by_domains(candidate, have)]
        if (by_cost := self._by_cost(candidate, have)) is not None:
            bounds.append(by_cost)
        least, objection = min(bounds, key=lambda bound: bound[0])
        if least >= wanted:
            return wanted, None
        return max(least, have), objection

    def _by_count(self, candidate: Candidate, have: int) -> tuple[int, Objection]:
        limit = self.service.policy.replicas_max
        detail = (
            f"{candidate.site.name} fits at {candidate.cost_ms:.1f} ms, but the policy's {limit} replicas are placed: "
            "raise replicas.max"
        )
        return have + limit - self.total, Objection(
            Refusal.REPLICAS_MAX, float(self.total + 1), float(limit), "replicas", detail
        )

    def _by_domains(self, candidate: Candidate, have: int) -> tuple[int, Objection]:
        """Keeps replicas back for the failure domains that are still wanted."""
        policy, domain, domains = self.service.policy, candidate.site.failure_domain, self.domains
        missing = max(self.domains_wanted - len(domains | {domain}), 0)
        detail = (
            f"failure domain {domain} is taken and replicas.max {policy.replicas_max} leaves the rest for "
            f"{missing} more: raise replicas.max or lower replicas.min_failure_domains"
        )
        objection = Objection(
            Refusal.FAILURE_DOMAIN, float(len(domains)), float(policy.min_failure_domains), "failure domains", detail
        )
        return have + policy.replicas_max - self.total - missing, objection

    def _by_cost(self, candidate: Candidate, have: int) -> tuple[int, Objection] | None:
        limit, price = self.service.policy.max_usd_per_hour, candidate.replica_usd_per_hour
        if limit is None or price <= 0:
            return None
        with_one_more = self.usd_per_hour + price
        detail = (
            f"one more replica at {candidate.site.name} makes {with_one_more:g} USD/h, the policy allows {limit:g}: "
            "raise cost.max_usd_per_hour"
        )
        more = math.floor((limit - self.usd_per_hour) / price + NOTHING)
        return have + more, Objection(Refusal.COST, with_one_more, limit, "USD/h", detail)


def _narrow(candidate: Candidate, demand: DemandSpec, rate_rps: float, room_rps: float) -> Objection:
    call_mbit = 8 * (demand.request_bytes + demand.response_bytes) / 1e6
    wants, has = rate_rps * call_mbit, room_rps * call_mbit
    detail = (
        f"{rate_rps:g} calls/s of zone {demand.zone} need {wants:.3g} Mbit/s, the way to {candidate.site.name} "
        f"has {has:.3g} left: raise bandwidth.wan_mbps_per_zone, or widen the link"
    )
    return Objection(Refusal.BANDWIDTH, wants, has, "Mbit/s", detail)
