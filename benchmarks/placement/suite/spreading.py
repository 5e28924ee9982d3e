"""Replicas handed out one by one, each where a score likes it best, blind to what all cost together."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import DemandSpec, QuotaSpec, ServiceSpec
from orchestrator.placement.candidates import Candidate, Field
from orchestrator.placement.costs import weight
from orchestrator.placement.ledger import Ledger

NOTHING = 1e-9


class Way(StrEnum):
    KUBE_LIKE = "kube-like"  # running replicas stay; others by LeastAllocated, the default score of kube-scheduler
    NEAREST = "nearest"
    CHEAPEST = "cheapest"  # by the bill of a call: its part of a replica, and egress


@dataclass(slots=True)
class Spread:
    """One service while its replicas are handed out."""

    service: ServiceSpec
    seen: Field
    ledger: Ledger
    way: Way
    free: dict[SiteName, Resources]  # of all services; for the score alone
    quotas: list[tuple[QuotaSpec, Resources]]
    replicas: dict[SiteName, int] = field(default_factory=dict)
    used_rps: dict[SiteName, float] = field(default_factory=dict)
    shares: dict[tuple[ZoneName, SiteName], float] = field(default_factory=dict)
    left: dict[ZoneName, float] = field(default_factory=dict)
    unsurvived: bool = False

    def place(self) -> None:
        candidates = self.seen.candidates
        for site, candidate in sorted(candidates.items()):
            kept = min(self.running(candidate), candidate.fit)
            if candidate.held and kept:
                self.replicas[site] = kept
        for pin in self.service.policy.pins:
            while pin.site in candidates and self.replicas.get(pin.site, 0) < pin.replicas:
                if not self._open(candidates[pin.site]):
                    break
        for demand in sorted(self.service.demands, key=lambda demand: demand.zone):
            self._serve(demand)
        self._stand_by()
        if self.service.policy.survive_site_losses:
            self._double()

    @property
    def total(self) -> int:
        return sum(self.replicas.values())

    @property
    def usd_per_hour(self) -> float:
        return sum(n * self.seen.candidates[site].replica_usd_per_hour for site, n in sorted(self.replicas.items()))

    def domains(self) -> set[str]:
        return {self.seen.candidates[site].site.failure_domain for site in self.replicas}

    def running(self, candidate: Candidate) -> int:
        return self.ledger.running(self.service, candidate.site.name, candidate.variant)

    def _open(self, candidate: Candidate) -> bool:
        """One replica more, if the site and the policy bear it."""
        policy, need, name = self.service.policy, candidate.variant.need, candidate.site.name
        have = self.replicas.get(name, 0)
        there = {one.site.failure_domain for one in self.seen.candidates.values()}
        wanted = min(policy.min_failure_domains, len(there))
        missing = max(wanted - len(self.domains() | {candidate.site.failure_domain}), 0)
        held = sum((self.seen.candidates[s].variant.need * n for s, n in self.replicas.items()), need)
        usd = self.usd_per_hour + candidate.replica_usd_per_hour
        if (
            have >= candidate.fit
            or self.total + 1 + missing > policy.replicas_max
            or (policy.max_usd_per_hour is not None and usd > policy.max_usd_per_hour)
            or not all(held.fits_in(limit) for _, limit in self.quotas)
        ):
            return False
        self.replicas[name] = have + 1
        if have >= self.running(candidate):
            self.free[name] -= need
        return True

    def _score(self, zone: ZoneName | None) -> Callable[[Candidate], tuple[float, ...]]:
        """Least is best; then the name, by the order that it sorts."""

        def score(candidate: Candidate) -> tuple[float, ...]:
            arc, name = candidate.arcs[zone] if zone is not None else None, candidate.site.name
            ms = arc.cost_ms if arc else candidate.cost_ms
            if self.way is Way.NEAREST:
                return (ms, candidate.replica_usd_per_hour)
            if self.way is Way.CHEAPEST:
                egress = arc.calls.egress / arc.demand.rate_rps if arc and arc.demand.rate_rps > 0 else 0.0
                return (candidate.replica_usd_per_hour / candidate.replica_rps + egress, ms)
            free, capacity, need = self.free[name], candidate.site.capacity, candidate.variant.need
            memory = (free.memory_bytes - need.memory_bytes) / max(capacity.memory_bytes, 1)
            compute = (free.compute_millis - need.compute_millis) / max(capacity.compute_millis, 1)
            new = self.replicas.get(name, 0) >= self.running(candidate)
            return (float(new), -(memory + compute) / 2)

        return score

    def _able(self, zone: ZoneName) -> list[Candidate]:
        return [one for _, one in sorted(self.seen.candidates.items()) if zone in one.arcs]

    def _serve(self, demand: DemandSpec) -> None:
        left, shut = 1.0, set[SiteName]()
        able, score = self._able(demand.zone), self._score(demand.zone)
        for candidate in sorted((one for one in able if one.site.name in self.replicas), key=score):
            left -= self._send(candidate, demand, left)
        while left > NOTHING and (rest := [one for one in able if one.site.name not in shut]):
            best = min(rest, key=score)
            room = self._room(best, demand, left, best.replica_rps)
            if room <= NOTHING or not self._open(best):
                shut.add(best.site.name)
                continue
            took = self._send(best, demand, left)
            left -= took
            if took <= NOTHING:
                shut.add(best.site.name)
        self.left[demand.zone] = left if left > NOTHING else 0.0

    def _room(self, candidate: Candidate, demand: DemandSpec, left: float, slack_rps: float) -> float:
        """The share of the zone's calls that links, the domain and so much slack bear."""
        policy, arc = self.service.policy, candidate.arcs[demand.zone]
        room_rps = min(self.ledger.links.room_rps(arc.path, demand, policy.wan_bps_per_zone), slack_rps)
        share = min(left, room_rps / demand.rate_rps) if demand.rate_rps > 0 else left
        part = weight(demand, self.service)
        if policy.max_share_per_domain < 1 and part > 0:
            parts = {one.zone: weight(one, self.service) for one in self.service.demands}
            domain = candidate.site.failure_domain
            used = math.fsum(
                given * parts[zone]
                for (zone, site), given in self.shares.items()
                if self.seen.candidates[site].site.failure_domain == domain
            )
            share = min(share, max(policy.max_share_per_domain - used, 0.0) / part)
        return max(share, 0.0)

    def _send(self, candidate: Candidate, demand: DemandSpec, left: float) -> float:
        name = candidate.site.name
        used_rps = self.used_rps.get(name, 0.0)
        share = self._room(candidate, demand, left, self.replicas[name] * candidate.replica_rps - used_rps)
        if share <= NOTHING:
            return 0.0
        share = left if share >= left * (1 - NOTHING) else share
        self.used_rps[name] = used_rps + share * demand.rate_rps
        self.shares[demand.zone, name] = self.shares.get((demand.zone, name), 0.0) + share
        self.ledger.links.send(candidate.arcs[demand.zone].path, demand, share * demand.rate_rps)
        return share

    def _stand_by(self) -> None:
        policy, score = self.service.policy, self._score(None)
        while True:
            domains = self.domains()
            lacking = len(domains) < policy.min_failure_domains
            if self.total >= policy.replicas_min and not lacking:
                return
            able = sorted(self.seen.candidates.values(), key=lambda one: (*score(one), one.site.name))
            apart = [one for one in able if one.site.failure_domain not in domains] if lacking else able
            if not any(self._open(one) for one in apart) and not (
                self.total < policy.replicas_min and any(self._open(one) for one in able)
            ):
                return

    def _double(self) -> None:
        """Replicas for the calls of each site that may be gone."""
        for lost in sorted({site for _, site in self.shares}):
            taken: dict[SiteName, float] = {}
            for demand in sorted(self.service.demands, key=lambda demand: demand.zone):
                need_rps = self.shares.get((demand.zone, lost), 0.0) * demand.rate_rps
                if need_rps > 0:
                    self.unsurvived |= not self._moved(demand.zone, lost, need_rps, taken)

    def _moved(self, zone: ZoneName, lost: SiteName, need_rps: float, taken: dict[SiteName, float]) -> bool:
        score = self._score(zone)
        able = sorted((one for one in self._able(zone) if one.site.name != lost), key=score)
        for opening in (False, True):
            for candidate in able:
                name = candidate.site.name
                while need_rps > NOTHING:
                    busy_rps = self.used_rps.get(name, 0.0) + taken.get(name, 0.0)
                    slack_rps = self.replicas.get(name, 0) * candidate.replica_rps - busy_rps
                    took_rps = max(min(need_rps, slack_rps), 0.0)
                    taken[name] = taken.get(name, 0.0) + took_rps
                    need_rps -= took_rps
                    if need_rps > NOTHING and not (opening and self._open(candidate)):
                        break
        return need_rps <= NOTHING
