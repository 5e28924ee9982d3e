"""Demand given to candidates, one service at a time: greedily, or after an outline made for several together."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal
from orchestrator.model.specs import DemandSpec, ServiceSpec
from orchestrator.placement.candidates import Candidate, Rank
from orchestrator.placement.caps import Cap, Held
from orchestrator.placement.costs import unserved_usd_per_hour, weight
from orchestrator.placement.ledger import Ledger
from orchestrator.placement.outline import Outline
from orchestrator.placement.rules import Objection

# Below this part of a zone's calls nothing is left to place: sums of shares are not exact.
NOTHING = 1e-9


@dataclass(slots=True)
class Filling:
    """Replicas and shares of one service while they are handed out.

    Each zone's calls go to its best site as far as that carries them, and the rest to the next. Sites that only a pin,
    `replicas.min`, `min_failure_domains` or `survive_site_losses` asks for stand by with a share of 0: calls reach them
    when others fail.
    """

    service: ServiceSpec
    candidates: Mapping[SiteName, Candidate]
    ledger: Ledger
    caps: Sequence[Cap]
    replicas: dict[SiteName, int] = field(default_factory=dict)
    used_rps: dict[SiteName, float] = field(default_factory=dict)
    shares: dict[tuple[ZoneName, SiteName], float] = field(default_factory=dict)
    left: dict[ZoneName, float] = field(default_factory=dict)  # share of a zone's calls that nobody took
    stopped: dict[tuple[SiteName, ZoneName | None], Objection] = field(default_factory=dict)
    outlined: Mapping[SiteName, int] = field(default_factory=dict)  # replicas that a solver wishes for
    domains_wanted: int = 0  # as many as the policy asks for and the candidates lie in
    _held: Held | None = None  # of `replicas` as they are
    _parts: dict[ZoneName, float] = field(default_factory=dict)  # of the service's calls
    _order: list[DemandSpec] = field(default_factory=list)
    _ranked: dict[ZoneName, list[Candidate]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        there = {candidate.site.failure_domain for candidate in self.candidates.values()}
        self.domains_wanted = min(self.service.policy.min_failure_domains, len(there))
        self._parts = {demand.zone: weight(demand, self.service) for demand in self.service.demands}
        options = Counter(zone for candidate in self.candidates.values() for zone in candidate.arcs)
        self._order = sorted(self.service.demands, key=lambda d: (options[d.zone], -d.rate_rps, d.zone))

    @property
    def total(self) -> int:
        return sum(self.replicas.values())

    @property
    def usd_per_hour(self) -> float:
        return sum(n * self.candidates[site].replica_usd_per_hour for site, n in sorted(self.replicas.items()))

    @property
    def domains(self) -> frozenset[str]:
        return frozenset(self.candidates[site].site.failure_domain for site in self.replicas)

    def grow(self, site: SiteName, count: int) -> None:
        """To so many replicas there, if it has fewer."""
        more = count - self.replicas.get(site, 0)
        if more <= 0:
            return
        self.replicas[site] = count
        if self._held is not None:
            candidate, held = self.candidates[site], self._held
            self._held = replace(
                held,
                total=held.total + more,
                usd_per_hour=self._limited_usd(),
                domains=held.domains | {candidate.site.failure_domain},
                need=held.need + candidate.variant.need * more,
            )

    def hold(self) -> None:
        """What stands before any demand is looked at: what a freeze keeps, then the policy's pins."""
        for site, candidate in sorted(self.candidates.items()):
            if candidate.held:
                running = self.ledger.running(self.service, site, candidate.variant)
                self.grow(site, min(running, candidate.fit))
        for pin in sorted(self.service.policy.pins, key=lambda pin: pin.site):
            pinned = self.candidates.get(pin.site)
            while pinned and self.replicas.get(pin.site, 0) < pin.replicas and self._open(pinned):
                pass

    def serve(self) -> None:
        """All zones, those with the fewest sites to go to first: they open what others can then share."""
        for demand in self.in_order():
            self._serve_zone(demand)

    def follow(self, outline: Outline) -> None:
        """What was planned for all services together, as far as the caps bear it, and what is left over greedily.

        Calls open replicas. Those of the outline that no call needs are where others stand by first: it does not mind
        a replica that costs nothing.
        """
        self.outlined = outline.replicas
        for demand in self.in_order():
            left = 1.0
            for candidate in self.ranked_for(demand.zone):
                share = min(outline.shares.get((demand.zone, candidate.site.name), 0.0), left)
                if share > NOTHING:
                    left -= self._add(candidate, demand, share, wished=True)
            self._serve_zone(demand, left)

    def account(self) -> None:
        """Why each site that is left out cannot take a call more, where a cap is the reason."""
        for demand in self.in_order():
            for candidate in self.ranked_for(demand.zone):
                site = candidate.site.name
                if site in self.replicas or (site, demand.zone) in self.stopped:
                    continue
                room_rps = self.ledger.links.room_rps(
                    candidate.arcs[demand.zone].path, demand, self.service.policy.wan_bps_per_zone
                )
                if (objection := self.allowed(candidate, 1)[1]) is not None:
                    self.stopped[site, demand.zone] = objection
                elif room_rps <= 0 < demand.rate_rps:
                    self.stopped[site, demand.zone] = _narrow(candidate, demand, demand.rate_rps, room_rps)

    def in_order(self) -> list[DemandSpec]:
        return self._order

    def _serve_zone(self, demand: DemandSpec, left: float = 1.0) -> None:
        for candidate in self.ranked_for(demand.zone):
            if left <= NOTHING:
                break
            left -= self._add(candidate, demand, left)
        self.left[demand.zone] = left if left > NOTHING else 0.0

    def _add(self, candidate: Candidate, demand: DemandSpec, share: float, wished: bool = False) -> float:
        """As much of this share as the candidate takes."""
        took = self._give(candidate, demand, share, wished)
        if took is None:
            return 0.0
        key = demand.zone, candidate.site.name
        self.shares[key] = self.shares.get(key, 0.0) + took
        return took

    def _give(self, candidate: Candidate, demand: DemandSpec, left: float, wished: bool) -> float | None:
        """The share that the candidate takes of what is left; None: nothing, and the reason is noted.

        What an outline wishes for is worth it with other zones' calls, if not for these alone.
        """
        site, arc = candidate.site.name, candidate.arcs[demand.zone]
        room = self._domain_room(candidate, demand)
        if room < left:
            self.stopped[site, demand.zone] = self._uneven(candidate, left, room)
        asked, rate_rps = min(left, room), demand.rate_rps * min(left, room)
        if asked <= NOTHING:
            return None
        room_rps = self.ledger.links.room_rps(arc.path, demand, self.service.policy.wan_bps_per_zone)
        if room_rps < rate_rps:
            self.stopped[site, demand.zone] = _narrow(candidate, demand, rate_rps, room_rps)
        used_rps = self.used_rps.get(site, 0.0)
        goal_rps = used_rps + min(rate_rps, room_rps)
        wanted = max(math.ceil(goal_rps / candidate.replica_rps - NOTHING), 1)
        if room_rps <= 0 < rate_rps:
            return None
        count, objection = self.allowed(candidate, max(wanted, self.replicas.get(site, 0)))
        if objection is not None:
            self.stopped[site, demand.zone] = objection
        took_rps = min(goal_rps, count * candidate.replica_rps) - used_rps
        if count == 0 or (rate_rps > 0 and took_rps <= rate_rps * NOTHING):
            return None
        if not wished and (too_dear := self._not_worth(candidate, demand, count, took_rps)) is not None:
            self.stopped[site, demand.zone] = too_dear
            return None
        self.grow(site, count)
        self.used_rps[site] = used_rps + took_rps
        self.ledger.links.send(arc.path, demand, took_rps)
        return asked if rate_rps <= 0 or took_rps >= rate_rps else asked * took_rps / rate_rps

    def _domain_room(self, candidate: Candidate, demand: DemandSpec) -> float:
        """The part of the zone's calls that the site's failure domain may still take."""
        most, part = self.service.policy.max_share_per_domain, self._parts[demand.zone]
        if most >= 1 or part <= 0:
            return 1.0
        domain = candidate.site.failure_domain
        used = math.fsum(
            share * self._parts[zone]
            for (zone, site), share in self.shares.items()
            if self.candidates[site].site.failure_domain == domain
        )
        return max(most - used, 0.0) / part

    def _uneven(self, candidate: Candidate, left: float, room: float) -> Objection:
        most, domain = self.service.policy.max_share_per_domain, candidate.site.failure_domain
        detail = (
            f"failure domain {domain} carries the {most:.0%} of the service's calls that the policy allows: "
            "raise replicas.max_share_per_domain, or offer sites in another domain"
        )
        return Objection(Refusal.DOMAIN_SHARE, left, room, "of the zone's calls", detail)

    def _not_worth(self, candidate: Candidate, demand: DemandSpec, count: int, took_rps: float) -> Objection | None:
        """Whether not answering these calls costs less. Replicas that `replicas.min` asks for anyway cost nothing."""
        if took_rps <= 0:
            return None
        policy, arc = self.service.policy, candidate.arcs[demand.zone]
        opened = count - self.replicas.get(candidate.site.name, 0)
        paid = max(min(opened, self.total + opened - policy.replicas_min), 0)
        costs = paid * candidate.replica_usd_per_hour + arc.calls.total * took_rps / demand.rate_rps
        saves = unserved_usd_per_hour(took_rps, policy)
        if costs <= saves:
            return None
        detail = (
            f"{took_rps:g} calls/s of zone {demand.zone} cost {costs:.3g} USD/h at {candidate.site.name}, unserved "
            f"they count {saves:.3g}: raise cost.usd_per_unserved_call"
        )
        return Objection(Refusal.COST, costs, saves, "USD/h", detail)

    def stand_by(self) -> None:
        """Replicas that the policy wants beyond those that the demand needs: new failure domains, then new sites."""
        while len(self.domains) < self.domains_wanted:
            elsewhere = (c for c in self.candidates.values() if c.site.failure_domain not in self.domains)
            if not any(self._open(candidate) for candidate in sorted(elsewhere, key=self._to_stand_by)):
                break
        waiting = [(self._to_stand_by(candidate), candidate) for candidate in self.candidates.values()]
        heapify(waiting)
        while waiting and self.held().total < self.service.policy.replicas_min:
            _, candidate = heappop(waiting)
            if self._open(candidate):
                heappush(waiting, (self._to_stand_by(candidate), candidate))

    def _to_stand_by(self, candidate: Candidate) -> tuple[bool, int, Rank]:
        """Where the outline wishes for more, then where there are fewest, then the best. No two are equal."""
        has = self.replicas.get(candidate.site.name, 0)
        return not self.wishes(candidate), has, candidate.rank(self.gain)

    def _open(self, candidate: Candidate) -> bool:
        site = candidate.site.name
        wanted = self.replicas.get(site, 0) + 1
        count, objection = self.allowed(candidate, wanted)
        if count < wanted:
            if objection is not None:
                self.stopped.setdefault((site, None), objection)
            return False
        self.grow(site, count)
        return True

    @property
    def gain(self) -> float:
        """By which another site must be better than a running one."""
        return self.service.policy.min_gain

    def ranked_for(self, zone: ZoneName) -> list[Candidate]:
        if zone not in self._ranked:
            able = [candidate for candidate in self.candidates.values() if zone in candidate.arcs]
            self._ranked[zone] = sorted(able, key=lambda candidate: candidate.rank(self.gain, zone))
        return self._ranked[zone]

    def ranked(self) -> list[Candidate]:
        """By cost over all zones that a site can serve."""
        return sorted(self.candidates.values(), key=lambda candidate: candidate.rank(self.gain))

    def wishes(self, candidate: Candidate) -> bool:
        """Whether the outline has more replicas there."""
        return self.replicas.get(candidate.site.name, 0) < self.outlined.get(candidate.site.name, 0)

    def allowed(self, candidate: Candidate, wanted: int) -> tuple[int, Objection | None]:
        """Of `wanted` replicas in all at a site as many as site and policy bear, and what stands against the rest."""
        have = self.replicas.get(candidate.site.name, 0)
        least, held, narrowest = min(candidate.fit, wanted), self.held(), None
        for cap in self.caps:
            if (most := have + cap.more(held, candidate)) < least:
                least, narrowest = most, cap
        if least == wanted:
            return max(least, have), None
        return max(least, have), narrowest.against(held, candidate) if narrowest else candidate.full.objection()

    def held(self) -> Held:
        if self._held is None:
            needs = (self.candidates[site].variant.need * count for site, count in self.replicas.items())
            self._held = Held(
                policy=self.service.policy,
                total=sum(self.replicas.values()),
                usd_per_hour=self._limited_usd(),
                domains=self.domains,
                domains_wanted=self.domains_wanted,
                need=sum(needs, Resources()),
            )
        return self._held

    def _limited_usd(self) -> float:
        """A sum over all replicas, always in one order: not made where no cap asks for it."""
        return 0.0 if self.service.policy.max_usd_per_hour is None else self.usd_per_hour


def _narrow(candidate: Candidate, demand: DemandSpec, rate_rps: float, room_rps: float) -> Objection:
    call_mbit = 8 * (demand.request_bytes + demand.response_bytes) / 1e6
    wants, has = rate_rps * call_mbit, room_rps * call_mbit
    detail = (
        f"{rate_rps:g} calls/s of zone {demand.zone} need {wants:.3g} Mbit/s, the way to {candidate.site.name} "
        f"has {has:.3g} left: raise bandwidth.wan_mbps_per_zone, or widen the link"
    )
    return Objection(Refusal.BANDWIDTH, wants, has, "Mbit/s", detail)
