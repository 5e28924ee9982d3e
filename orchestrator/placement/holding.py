"""A service that keeps what it was given: whether it still can, and what it then leaves to others."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import ChosenSite, PlacementSettings, Refusal, ServiceDecision
from orchestrator.model.specs import ServiceSpec, SiteSpec, Variant
from orchestrator.placement.candidates import Arc, Candidate, Field, Paths, survey
from orchestrator.placement.changes import Cause, Changes, clearly_slower
from orchestrator.placement.filling import NOTHING, Filling
from orchestrator.placement.ledger import Ledger
from orchestrator.placement.objective import CLEARLY, Tariff, counted_rps, tariff_of
from orchestrator.placement.outline import Outline
from orchestrator.placement.planning import take_places
from orchestrator.placement.reasons import kept_decision
from orchestrator.placement.survival import Survival

# Replicas are planned for `target_utilisation`, which leaves room for bursts: so much more of it is no reason to move.
# Links and quotas are limits and bear no more than they do.
CARRIED_TOLERANCE = 0.05
# Sums of floats are not exact.
EXACT = 1e-6

_CAUSES = {
    Refusal.UNREACHABLE: Cause.SITE,
    Refusal.MEMORY: Cause.ROOM,
    Refusal.COMPUTE: Cause.ROOM,
    Refusal.ANTI_AFFINITY: Cause.RIVAL,
    Refusal.REQUIREMENT: Cause.RULES,
}


@dataclass(frozen=True, slots=True)
class Kept:
    """`usd_per_hour`: what it counts in the objective."""

    decision: ServiceDecision
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Keeper:
    """Lets services keep what `decided` gave them, as far as the world of today bears it."""

    sites: Mapping[SiteName, SiteSpec]
    paths: Paths
    settings: PlacementSettings
    changed: Changes
    decided: Mapping[ServiceRef, ServiceDecision]

    def affected(self, service: ServiceSpec) -> Cause | None:
        return self.changed.of(service, self.decided.get(service.ref))

    def outline(self, service: ServiceSpec) -> Outline:
        """Where it is to be, and what it takes of its quotas; of its room nothing is held back."""
        chosen = self.decided[service.ref].chosen
        needs = (self._need(service, one) * one.replicas for one in chosen)
        return Outline({one.site: one.replicas for one in chosen}, {}, sum(needs, Resources()), {})

    def _need(self, service: ServiceSpec, chosen: ChosenSite) -> Resources:
        """Nothing at a site, or of a variant, that is gone."""
        site = self.sites.get(chosen.site)
        variants = service.version.variants_on(site.hardware_class) if site else ()
        return next((one.need for one in variants if one.variant is chosen.variant), Resources())

    def keep(self, service: ServiceSpec, ledger: Ledger, disturbed: Collection[SiteName]) -> Kept | Cause:
        """Records in the ledger what the service holds, and answers that with the figures of now.

        Or, with the ledger as it was, why it cannot keep that, or could have better. Replicas that fitted are not
        doubted where nothing is `disturbed`: of several packings of the same nodes this may find another.
        """
        before = self.decided[service.ref]
        seen = self._seen(service, before, ledger)
        if isinstance(seen, Cause):
            return seen
        if any(
            seen.candidates[chosen.site].fit < chosen.replicas for chosen in before.chosen if chosen.site in disturbed
        ):
            return Cause.ROOM
        links = ledger.links
        ledger.links = links.copy()
        filled = self._filled(service, before, seen, ledger)
        cause = filled if isinstance(filled, Cause) else self._against(before, seen, filled, ledger)
        if isinstance(filled, Filling) and cause is None:
            tariff = tariff_of(service, self._in_reach(service, seen, ledger), ledger)
            if not self._could_gain(before, seen, filled, ledger, tariff):
                kept = Kept(kept_decision(before, filled), tariff.usd_per_hour(filled))
                take_places(service, seen, filled, ledger)
                return kept
        ledger.links = links
        return cause or Cause.GAIN

    def _seen(self, service: ServiceSpec, before: ServiceDecision, ledger: Ledger) -> Field | Cause:
        """Its sites, each as a candidate with the variant that it has there."""
        seen = Field()
        for form, names in _by_variant(before):
            if any(name not in self.sites for name in names):
                return Cause.SITE
            built = tuple(variant for variant in service.version.variants if variant.variant is form)
            alone = replace(service, version=replace(service.version, variants=built))
            found = survey(alone, self.sites, self.paths, ledger, self.settings, names)
            for name in names:
                if name not in found.candidates:
                    against = found.of_site.get(name)
                    return _CAUSES.get(against.reason, Cause.PATH) if against else Cause.PATH
            seen.candidates |= found.candidates
        return seen

    def _filled(self, service: ServiceSpec, before: ServiceDecision, seen: Field, ledger: Ledger) -> Filling | Cause:
        """Its calls over the best paths of today, as far as all goes well."""
        # No more replicas than it has: what stands in for a lost site must do with those.
        kept = {c.site: replace(seen.candidates[c.site], fit=c.replicas) for c in before.chosen}
        filled = Filling(service, kept, ledger, ())
        filled.replicas = {chosen.site: chosen.replicas for chosen in before.chosen}
        filled.left = {unserved.zone: unserved.share for unserved in before.unserved}
        given = [share for share in before.shares if share.share > 0]
        ways = [(share, kept[share.site].arcs.get(share.zone)) for share in given if share.site in kept]
        arcs = [(share, arc) for share, arc in ways if arc is not None]
        if len(arcs) < len(given):
            return Cause.PATH
        wan_bps = service.policy.wan_bps_per_zone
        # Where two paths say different things of one leg, whoever is told less is planned first, or it never fits.
        for share, arc in sorted(arcs, key=lambda found: _tightest_bps(found[1], ledger, wan_bps)):
            if clearly_slower(share.response_ms.expected, arc.response.expected):
                return Cause.SLOWER
            rate_rps = share.share * arc.demand.rate_rps
            room_rps = ledger.links.room_rps(arc.path, arc.demand, wan_bps)
            if rate_rps > room_rps * (1 + EXACT) + EXACT:
                return Cause.ROOM
            ledger.links.send(arc.path, arc.demand, rate_rps)
            filled.shares[share.zone, share.site] = share.share
            filled.used_rps[share.site] = filled.used_rps.get(share.site, 0.0) + rate_rps
        for site, used_rps in filled.used_rps.items():
            if used_rps > filled.replicas[site] * kept[site].replica_rps * (1 + CARRIED_TOLERANCE):
                return Cause.DEMAND
        return filled

    def _against(self, before: ServiceDecision, seen: Field, filled: Filling, ledger: Ledger) -> Cause | None:
        service = filled.service
        if service.policy.survive_site_losses:
            survival = Survival(filled)
            survival.reserve()
            told = sum(one.wanted - one.actual for one in before.shortfalls if one.rule.endswith("survive_site_losses"))
            if sum(survival.lacking.values()) > told + CARRIED_TOLERANCE:
                return Cause.LOSS
        needs = (seen.candidates[site].variant.need * count for site, count in filled.replicas.items())
        own = sum(needs, Resources())
        if service.freeze is not None or own == Resources():
            return None  # no quota takes away what a freeze keeps, and who has nothing has not too much
        taken = ledger.taken.get(service.ref.namespace, Resources()) + own
        spaces = (quota for quota in ledger.quotas if quota.namespace == service.ref.namespace)
        return Cause.ROOM if any(not taken.fits_in(quota.limit) for quota in spaces) else None

    def _could_gain(
        self, before: ServiceDecision, seen: Field, filled: Filling, ledger: Ledger, tariff: Tariff
    ) -> bool:
        """What it lacks may be had where room became free; or a place that is better than it was saves something.

        A simple test, one site at a time. The next plan of all services finds the rest.
        """
        service, changed = filled.service, self.changed
        lacks = bool(before.unserved or _missed(before))
        if lacks and service.ref.namespace in changed.wider_quotas:
            return True
        better = changed.better_for(service)
        places = (better | changed.freed if lacks else better) & self.sites.keys()
        roomier = [
            seen.candidates[site]
            for site in sorted(places & filled.replicas.keys())
            if seen.candidates[site].fit > filled.replicas[site]
        ]
        if any(_helps(candidate, service, before) for candidate in roomier):
            return True
        others = survey(service, self.sites, self.paths, ledger, self.settings, places - filled.replicas.keys())
        return any(
            _helps(other, service, before) or (other.site.name in better and _saves(other, filled, tariff))
            for other in others.candidates.values()
        )

    def _in_reach(self, service: ServiceSpec, seen: Field, ledger: Ledger) -> Field:
        """What its tariff is made of: all sites where some are preferred, else its own suffice."""
        preferences = {rule.site: rule.preference for rule in service.rules}
        if service.freeze is None and len({preferences.get(site, 0.0) for site in self.sites}) <= 1:
            return seen
        everywhere = survey(service, self.sites, self.paths, ledger, self.settings)
        return Field(candidates=everywhere.candidates | seen.candidates)


def _tightest_bps(arc: Arc, ledger: Ledger, wan_bps: float | None) -> float:
    return min((room.bps for room in ledger.links.rooms(arc.path, arc.demand, wan_bps)), default=math.inf)


def _by_variant(decided: ServiceDecision) -> Iterator[tuple[Variant, list[SiteName]]]:
    for form in sorted({chosen.variant for chosen in decided.chosen}):
        yield form, [chosen.site for chosen in decided.chosen if chosen.variant is form]


def _missed(before: ServiceDecision) -> set[str]:
    return {one.rule for one in before.shortfalls if one.wanted > one.actual}


def _helps(other: Candidate, service: ServiceSpec, before: ServiceDecision) -> bool:
    """Whether it may serve what nobody takes, or keep a rule that is missed."""
    if any(unserved.zone in other.arcs for unserved in before.unserved):
        return True
    missed = _missed(before)
    pinned = any(pin.site == other.site.name for pin in service.policy.pins)
    return bool(missed - {"affinity.pins"}) or (pinned and bool(missed))


def _saves(other: Candidate, filled: Filling, tariff: Tariff) -> bool:
    """Whether calls that cost less there pay for its replicas, with those that they need no more where they go now.

    What is about to run counts as running, so `min_gain` is counted as if the decision was carried out.
    """
    mine = {site: replace(candidate, running=True) for site, candidate in filled.candidates.items()}
    rates = {demand.zone: counted_rps(demand) for demand in filled.service.demands}
    offers = [
        (tariff.call_usd(mine[site], zone) - tariff.call_usd(other, zone), zone, site)
        for zone, site in filled.shares
        if zone in other.arcs
    ]
    left_rps, saved_usd, moved_rps = other.fit * other.replica_rps, 0.0, dict.fromkeys(mine, 0.0)
    for usd, zone, site in sorted(offers, reverse=True):
        rate_rps = min(filled.shares[zone, site] * rates[zone], left_rps)
        if usd > 0:
            saved_usd += usd * rate_rps
            moved_rps[site] += rate_rps
            left_rps -= rate_rps
    opened = math.ceil(sum(moved_rps.values()) / other.replica_rps - NOTHING)
    spare = max(filled.total + opened - filled.service.policy.replicas_min, 0)
    for site, candidate in sorted(mine.items()):
        needed = math.ceil((filled.used_rps.get(site, 0.0) - moved_rps[site]) / candidate.replica_rps - NOTHING)
        freed = min(filled.replicas[site] - max(needed, 0), spare) if moved_rps[site] else 0
        saved_usd += max(freed, 0) * (tariff.kept_usd(candidate) - tariff.stop_usd)
        spare -= max(freed, 0)
    return saved_usd > opened * tariff.added_usd(other) + CLEARLY
